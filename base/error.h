/* SPDX-License-Identifier: MIT */
/* The one line that a human reads when something could not be done. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include "base/attr.h"

enum {
    EXIT_CANNOT = 1, /* cannot bind, connect, read a file */
    EXIT_USAGE = 2,  /* a bad option; nothing was started */
};

struct error {
    char text[400]; /* NUL-terminated, no newline */
};

/* Writes the line and returns `code`: a failing path is `return error_set(err, -EINVAL, "...")`.
 * `err` may be NULL. Control characters are escaped; what does not fit is cut, ending in "...". */
int error_set(struct error *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
