/* SPDX-License-Identifier: MIT */
/* Files that a run reads: whole into memory, or mapped, so that a file of any size costs the pages
 * that are being read. */
#ifndef LOADGEN_INPUT_H
#define LOADGEN_INPUT_H

#include "base/buf.h"
#include "base/error.h"

/* Appends all of a file; "-" is stdin. 0 or -errno with the reason. */
NODISCARD int input_read(const char *path, struct buf *to, struct error *err);

/* The text of a file, without a byte order mark. All zero: none. */
struct input {
    struct slice text, mapped;
    struct buf own; /* text that cannot be mapped: a pipe's, stdin's */
};

#define INPUT_PIPE_BYTES_MAX (256 << 20) /* the most that is read instead of mapped */

/* Maps a file; "-", and what is no regular file, is read into memory. A file that shrinks while it
 * is mapped reads as NULs behind its new end. 0 or -errno with the reason; input_close in any
 * case. */
NODISCARD int input_open(struct input *in, const char *path, struct error *err);
void input_close(struct input *in);

/* Whether a page of any mapped file was gone when it was read. Any thread. */
bool input_has_shrunk(void);

/* Whether a line begins at the offset: not so when somebody has written to the file. */
static inline bool input_begins_line(struct slice text, size_t offset) {
    return offset == 0 || text.ptr[offset - 1] == '\n';
}

/* Cuts the next line at *offset of the text, without its end (LF or CRLF), and moves *offset behind
 * that end; false behind the last one. */
static inline bool input_line(struct slice text, size_t *offset, struct slice *ret) {
    struct slice rest = slice_drop(text, *offset);
    if (rest.len == 0)
        return false;
    size_t len = slice_find(rest, '\n');
    *offset += len + (len < rest.len);
    *ret = slice_take(rest, len > 0 && rest.ptr[len - 1] == '\r' ? len - 1 : len);
    return true;
}

#endif
