/* SPDX-License-Identifier: MIT */
/* Asks a terminal for its size, breaks and cuts lines, and draws in the place of what it drew. */
#include "base/terminal.h"
#include "base/slice.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ENTER "\033[?1049h\033[?25l" /* the other screen of xterm(1), without a cursor */
#define LEAVE "\033[?25h\033[?1049l"

enum { FRAME_BYTES_MAX = 64 * 1024 };

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

bool terminal_takes_utf8(void) {
    static const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *locale = getenv(names[i]);
        if (locale != NULL && locale[0] != '\0')
            return strcasestr(locale, "utf-8") != NULL || strcasestr(locale, "utf8") != NULL;
    }
    return false;
}

bool terminal_takes_colour(void) {
    const char *never = getenv("NO_COLOR"), *kind = getenv("TERM");
    return (never == NULL || never[0] == '\0') && kind != NULL && strcmp(kind, "dumb") != 0;
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

/* --- the full screen, and a process that is stopped ------------------------------------------- */

static volatile sig_atomic_t full_fd; /* of the open one */

static void write_all(const char *text, size_t len) {
    while (len > 0) {
        ssize_t n = write(full_fd, text, len);
        if (n < 0 && errno != EINTR)
            return;
        text += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
}

/* Functions that signal-safety(7) lists do all of it. raise(3) returns when the process goes on. */
static void on_stop(int signo) {
    int saved = errno;
    struct sigaction stop = { .sa_handler = SIG_DFL }, ours;
    sigset_t only, before;
    write_all(LEAVE, sizeof(LEAVE) - 1);
    sigaction(signo, &stop, &ours);
    sigemptyset(&only);
    sigaddset(&only, signo);
    raise(signo);
    pthread_sigmask(SIG_UNBLOCK, &only, &before);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    sigaction(signo, &ours, NULL);
    write_all(ENTER, sizeof(ENTER) - 1);
    errno = saved;
}

static void open_full(struct terminal_view *v) {
    const struct sigaction ours = { .sa_handler = on_stop, .sa_flags = SA_RESTART };
    full_fd = fileno(v->out);
    sigaction(SIGTSTP, &ours, NULL);
    write_all(ENTER, sizeof(ENTER) - 1);
    v->is_open = true;
}

static void close_full(struct terminal_view *v) {
    const struct sigaction usual = { .sa_handler = SIG_DFL };
    sigaction(SIGTSTP, &usual, NULL);
    write_all(LEAVE, sizeof(LEAVE) - 1);
    v->is_open = false;
}

/* --- a view ----------------------------------------------------------------------------------- */

/* A window may be made smaller while it shows the view. */
static void measure(struct terminal_view *v) {
    struct terminal_size size = terminal_size(v->out);
    v->columns = size.columns > 1 ? size.columns : TERMINAL_COLUMNS_DEFAULT;
    v->rows = size.rows;
    v->is_live = size.is_live;
}

void terminal_view_init(struct terminal_view *v, FILE *out, enum terminal_place place) {
    *v = (struct terminal_view){ .out = out, .place = place };
    buf_init(&v->frame, FRAME_BYTES_MAX);
    measure(v);
}

/* A frame without memory is shown as far as it goes. */
static void add(struct terminal_view *v, struct slice text) {
    (void)(buf_append(&v->frame, text) == 0);
}

/* Goes back to where the view begins. */
static void rewind_view(struct terminal_view *v) {
    char up[32];
    if (v->place == TERMINAL_FULL) {
        add(v, SLICE("\033[H"));
        return;
    }
    if (v->lines > 1)
        add(v, slice_of(up, (size_t)snprintf(up, sizeof(up), "\033[%zuA", v->lines - 1)));
    add(v, SLICE("\r\033[J"));
}

void terminal_view_begin(struct terminal_view *v) {
    if (v->place == TERMINAL_FULL && !v->is_open)
        open_full(v);
    rewind_view(v);
    measure(v);
    v->lines = 0;
}

/* Bytes of the text that stand before the right margin: a line that wraps could not be taken back.
 * Colours take no place. */
static size_t cut(const char *text, size_t columns) {
    size_t column = 0, at = 0;
    while (text[at] != '\0') {
        if (text[at] == '\033') {
            at += strcspn(text + at, "m");
            at += text[at] == 'm';
            continue;
        }
        if (((unsigned char)text[at] & 0xc0) != 0x80 && ++column >= columns)
            break;
        at++;
    }
    return at;
}

void terminal_view_line(struct terminal_view *v, const char *text) {
    if (v->place == TERMINAL_FULL && v->rows > 0 && v->lines >= v->rows)
        return;
    size_t len = cut(text, v->columns);
    if (v->lines > 0)
        add(v, SLICE("\n"));
    add(v, slice_of(text, len));
    if (text[len] != '\0' && strchr(text, '\033') != NULL)
        add(v, SLICE("\033[m"));
    if (v->place == TERMINAL_FULL)
        add(v, SLICE("\033[K"));
    v->lines++;
}

void terminal_view_end(struct terminal_view *v) {
    struct slice frame;
    if (v->place == TERMINAL_FULL)
        add(v, SLICE("\033[J"));
    frame = buf_unread(&v->frame);
    fwrite(frame.ptr, 1, frame.len, v->out);
    fflush(v->out);
    buf_free(&v->frame);
}

void terminal_view_close(struct terminal_view *v) {
    if (v->is_open)
        close_full(v);
    if (v->place == TERMINAL_INLINE && v->lines > 0) {
        rewind_view(v);
        terminal_view_end(v);
    }
    v->lines = 0;
}
