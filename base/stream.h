/* SPDX-License-Identifier: MIT */
/* Outputs that were asked for: a file or standard output, and whether it took everything. */
#ifndef BASE_STREAM_H
#define BASE_STREAM_H

#include "base/error.h"
#include <stdio.h>

/* Opens an output: "-" is stdout, any other path a file that is emptied or made. Root is led
 * nowhere by others, as base/safe_path.h says. 0, or -errno with "cannot write PATH: WHY" and
 * *ret NULL. */
NODISCARD int stream_create(FILE **ret, const char *path, struct error *err);

/* Closes what stream_create opened; stdout is only flushed. 0, or the -errno of what could not be
 * written. NULL-safe. */
int stream_close(FILE *out);

/* Sends what is buffered. 0, or the -errno of what could not be written; -EIO when that was so long
 * ago that nobody knows. */
NODISCARD int stream_flush(FILE *out);

#endif
