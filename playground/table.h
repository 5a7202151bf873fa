/* SPDX-License-Identifier: MIT */
/* The table that `srv play` ends with. */
#ifndef PLAYGROUND_TABLE_H
#define PLAYGROUND_TABLE_H

#include "playground/result.h"

#define TABLE_CELL_BYTES 40

/* A heading of two lines and what stands below it. The first column, the name, is text. */
struct table_column {
    const char *top, *bottom;
    void (*cell)(const struct play_result *, char text[static TABLE_CELL_BYTES]);
};

extern const struct table_column table_columns[];
extern const size_t table_column_count;

/* The most calls that the slow API had at once; "-" when it did not say. */
void table_calls(const struct play_result *r, char text[static TABLE_CELL_BYTES]);

/* Two lines of headings, one line per result, columns as wide as their content. What is wider than
 * `width` (0: nothing is) goes on in a second table below, with the first column once more. */
void table_print(const struct play_result *results, size_t count, size_t width, FILE *out);

/* One sentence per row of ours: what to notice in it; lines are not wider than `width`. */
void table_print_notices(const struct play_result *results, size_t count, size_t width, FILE *out);

#endif
