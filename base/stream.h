/* SPDX-License-Identifier: MIT */
/* Whether all that was written to a FILE has arrived. */
#ifndef BASE_STREAM_H
#define BASE_STREAM_H

#include "base/attr.h"
#include <stdio.h>

/* Sends what is buffered. 0, or the -errno of what could not be written; -EIO when that was so long
 * ago that nobody knows. */
NODISCARD int stream_flush(FILE *out);

#endif
