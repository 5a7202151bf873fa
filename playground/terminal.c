/* SPDX-License-Identifier: MIT */
/* Asks a terminal for its size, and breaks lines. */
#include "playground/terminal.h"
#include "base/slice.h"
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

struct terminal_size terminal_size(FILE *out) {
    struct winsize size = { 0 };
    const char *kind = getenv("TERM");
    if (fileno(out) < 0 || ioctl(fileno(out), TIOCGWINSZ, &size) != 0)
        return (struct terminal_size){ 0 };
    return (struct terminal_size){
        .columns = size.ws_col,
        .rows = size.ws_row,
        .is_live = kind == NULL || strcmp(kind, "dumb") != 0,
    };
}

void terminal_wrap(FILE *out, const char *text, size_t indent, size_t width) {
    size_t column = 0;
    struct slice rest = slice_str(text);
    while (rest.len > 0) {
        struct slice word = slice_cut(&rest, ' ');
        if (column > 0 && width > 0 && column + 1 + word.len > width) {
            fputc('\n', out);
            column = 0;
        }
        size_t gap = column > 0 ? 1 : indent;
        fprintf(out, "%*s%.*s", (int)gap, "", (int)word.len, word.ptr);
        column += gap + word.len;
    }
    fputc('\n', out);
}
