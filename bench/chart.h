/* SPDX-License-Identifier: MIT */
/* Charts for a page, as SVG that stretches with the window: the drawing is 1000 by 1000 units of
 * any shape, the words around it are HTML and keep their size.
 *
 *     struct chart c = { .out = out, .x = { 0, 60, .format = chart_seconds }, .y = ... };
 *     chart_begin(&c, "Answers per second, from 950 to 1,010", true);
 *     chart_line(&c, "line-a", points, count);
 *     chart_end(&c);
 */
#ifndef BENCH_CHART_H
#define BENCH_CHART_H

#include "base/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CHART_TEXT_BYTES 32
#define CHART_LEVELS     8 /* shades of a heat map */

/* An axis from `from` to `to`, which is larger; both above 0 when it is logarithmic. */
struct chart_axis {
    double from, to;
    void (*format)(double value, char text[static CHART_TEXT_BYTES]); /* the words at a tick */
    bool is_log;
    bool is_whole; /* ticks at whole numbers only */
};

struct chart {
    FILE *out;
    struct chart_axis x, y;
};

struct chart_point {
    double x, y; /* NAN: a gap */
};

/* A cell of a heat map, in the units of the axes; `level` is 1 to CHART_LEVELS. */
struct chart_cell {
    double left, right, bottom, top;
    int level;
};

/* Values in microseconds; of a duration in seconds; counts; nines: 2 is 99 %. */
void chart_usec(double usec, char text[static CHART_TEXT_BYTES]);
void chart_seconds(double seconds, char text[static CHART_TEXT_BYTES]);
void chart_number(double number, char text[static CHART_TEXT_BYTES]);
void chart_nines(double nines, char text[static CHART_TEXT_BYTES]);

/* An axis that has room for `least` to `most` and ends at round numbers; logarithmic when they are
 * that far apart, and `least` is above 0. */
struct chart_axis chart_axis_log(double least, double most);
struct chart_axis chart_axis_linear(double most); /* from 0 */

/* Opens the drawing; `label` is read to those who do not see it. */
void chart_begin(const struct chart *c, const char *label);

/* Draws points in the order of x with a class of the style sheet; an area down to the axis. */
void chart_line(const struct chart *c, const char *kind, const struct chart_point *points,
                size_t count);
void chart_area(const struct chart *c, const char *kind, const struct chart_point *points,
                size_t count);

void chart_cells(const struct chart *c, const struct chart_cell *cells, size_t count);

/* A strip from top to bottom that tells `words` while the pointer is over it. */
void chart_strip(const struct chart *c, double left, double right, const char *words);

/* Closes the drawing, and writes the words of the axes. */
void chart_end(const struct chart *c);

#endif
