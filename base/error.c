/* SPDX-License-Identifier: MIT */
/* Writes the one line that says what could not be done. */
#include "base/error.h"
#include "base/escape.h"
#include <stdarg.h>
#include <stdio.h>

int error_set(struct error *err, int code, const char *fmt, ...) {
    if (err == NULL)
        return code;
    char text[sizeof(err->text) * 2]; /* apart: the arguments may point into err->text */
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    escape_text(err->text, sizeof(err->text), slice_str(text));
    return code;
}
