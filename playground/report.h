/* SPDX-License-Identifier: MIT */
/* The results of a run of srv play: a table, JSON, a page. */
#ifndef PLAYGROUND_REPORT_H
#define PLAYGROUND_REPORT_H

#include "playground/result.h"
#include <stdio.h>

/* Prints two lines of headings, one line per result, columns as wide as their content. Columns
 * beyond `width` (0: there is no limit) stand in a second table below, with the first column once
 * more. Below that stands a line per row, what its threads waited for, and one sentence per row of
 * ours: what to notice in it. */
void report_print(const struct play_result *results, size_t count, size_t width, FILE *out);

enum report_format {
    REPORT_JSON, /* {"playgrounds": [...]}, units in the names */
    REPORT_PAGE, /* one HTML page that needs nothing but itself */
};

/* Writes the results as a file for programs or for a browser. 0 or -errno. */
NODISCARD int report_write(const struct play_result *results, size_t count,
                           enum report_format format, FILE *out);

#endif
