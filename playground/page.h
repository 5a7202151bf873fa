/* SPDX-License-Identifier: MIT */
/* Results as one HTML page that needs nothing but itself. */
#ifndef PLAYGROUND_PAGE_H
#define PLAYGROUND_PAGE_H

#include "playground/result.h"

/* Writes the page for `count` results, 1 at least. 0 or -errno. */
NODISCARD int page_write(const struct play_result *results, size_t count, FILE *out);

#endif
