/* SPDX-License-Identifier: MIT */
/* Marks for charts as inline SVG, which a page can put between its own text.
 *
 * A strip is as wide as its place: x runs from 0 to 100 percent, y and sizes are pixels, so text
 * keeps its size on a phone. A plot stretches both ways: x and y run from 0 to 1, y upwards.
 * Colours come from the page's style sheet, by class. */
#ifndef PLAYGROUND_SVG_H
#define PLAYGROUND_SVG_H

#include "base/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Text of elements and attributes: & < > " ' become references, control characters blanks. */
void svg_escape(FILE *out, const char *text);

/* `label` is read to those who do not see it. */
void svg_strip_begin(FILE *out, int height, const char *label);
void svg_strip_end(FILE *out);

/* Around marks of a strip that the style sheet shows or hides together. */
void svg_group_begin(FILE *out, const char *class);
void svg_group_end(FILE *out);

void svg_bar(FILE *out, double x, double width, int y, int height, const char *class);
void svg_rule(FILE *out, double x, int y_from, int y_to, const char *class);
void svg_dot(FILE *out, double x, int y, int radius, const char *class);
void svg_text(FILE *out, double x, int y, const char *class, const char *fmt, ...)
    PRINTF_LIKE(5, 6);

struct svg_point {
    double x, y;
};

void svg_plot_begin(FILE *out, const char *label);
void svg_plot_end(FILE *out);

/* From left to right at `y`. */
void svg_level(FILE *out, double y, const char *class);

/* Values hold until the next point: what is sampled is known in steps. A y of NAN is a gap. */
void svg_steps(FILE *out, const struct svg_point *points, size_t count, const char *class);

/* A dot at each point, of the width that the style sheet gives to the line. */
void svg_dots(FILE *out, const struct svg_point *points, size_t count, const char *class);

/* The smallest of 1, 2, 2.5, 5 times a power of ten that is not below `value`; 1 for 0 and less. */
double svg_axis_end(double value);

#endif
