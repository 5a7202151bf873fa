/* SPDX-License-Identifier: MIT */
/* The table that `srv play` ends with. */
#ifndef PLAYGROUND_TABLE_H
#define PLAYGROUND_TABLE_H

#include "playground/result.h"

/* Two lines of headings, one line per result, columns as wide as their content. */
void table_print(const struct play_result *results, size_t count, FILE *out);

/* One sentence per result: what to notice in its row. */
void table_print_notices(const struct play_result *results, size_t count, FILE *out);

#endif
