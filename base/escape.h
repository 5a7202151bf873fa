/* SPDX-License-Identifier: MIT */
/* Makes text from elsewhere safe to print on one line of a terminal or a log. */
#ifndef BASE_ESCAPE_H
#define BASE_ESCAPE_H

#include "base/buf.h"
#include "base/slice.h"

/* Copies `text` into `out` (`cap` bytes, at least 8), NUL-terminated, with control characters
 * (C0, DEL, C1, U+2028, U+2029) and what is no UTF-8 spelled \n, \r, \t or byte by byte \xHH. Text
 * that does not fit is cut at a whole character and ends in "...". Returns the length without the
 * NUL. */
size_t escape_text(char *out, size_t cap, struct slice text);

/* Like escape_text for what need not be text: bytes from 0x80 on are spelled, too. */
size_t escape_bytes(char *out, size_t cap, struct slice bytes);

/* Like escape_text for a value that stands among others, between quotes or spaces: '"' is \x22,
 * too, and '\' is \x5c. So nothing in it ends the value, and every backslash is an escape, that can
 * be undone. */
size_t escape_quoted(char *out, size_t cap, struct slice text);

/* Appends a word as a shell takes it: in single quotes unless it needs none. 0, or as
 * buf_append. */
NODISCARD int escape_word(struct buf *out, struct slice word);

/* Appends such a value, whole. 0, or as buf_append: then part of it may stand there. */
NODISCARD int escape_append(struct buf *out, struct slice text);

/* At most `len` bytes of a line with such values, none of whose escapes and characters is torn. */
size_t escape_cut(struct slice line, size_t len);

#endif
