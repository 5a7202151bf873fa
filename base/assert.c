/* SPDX-License-Identifier: MIT */
/* The end of a process that found a bug in itself. */
#include "base/assert.h"
#include <stdio.h>
#include <stdlib.h>

void assert_failed(const char *file, int line, const char *what) {
    dprintf(2, "%s:%d: assertion failed: %s\n", file, line, what); /* stdio's lock may be held */
    abort();
}
