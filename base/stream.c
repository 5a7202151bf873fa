/* SPDX-License-Identifier: MIT */
/* Tells whether a FILE took everything. */
#include "base/stream.h"
#include <errno.h>

int stream_flush(FILE *out) {
    if (fflush(out) != 0)
        return -errno;
    return ferror(out) ? -EIO : 0;
}
