/* SPDX-License-Identifier: MIT */
/* Makes text from elsewhere safe to print on one line of a terminal or a log. */
#ifndef BASE_ESCAPE_H
#define BASE_ESCAPE_H

#include "base/slice.h"

/* Copies `text` into `out` (`cap` bytes, at least 8), NUL-terminated, with control characters
 * spelled \n, \r, \t or \xHH. Text that does not fit is cut at a whole character and ends in "...".
 * Bytes from 0x80 on pass through (UTF-8). Returns the length without the NUL. */
size_t escape_text(char *out, size_t cap, struct slice text);

#endif
