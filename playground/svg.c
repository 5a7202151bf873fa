/* SPDX-License-Identifier: MIT */
/* Writes SVG elements, and nothing that needs a script, a font or another file. */
#include "playground/svg.h"
#include <math.h>
#include <stdarg.h>

#define PLOT_WIDTH  1000.0 /* user units; the page stretches them */
#define PLOT_HEIGHT 100.0
#define TEXT_BYTES  160

void svg_escape(FILE *out, const char *text) {
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '&')
            fputs("&amp;", out);
        else if (*c == '<')
            fputs("&lt;", out);
        else if (*c == '>')
            fputs("&gt;", out);
        else if (*c == '"')
            fputs("&quot;", out);
        else if (*c == '\'')
            fputs("&#39;", out);
        else
            fputc((unsigned char)*c < ' ' && *c != '\n' ? ' ' : *c, out);
    }
}

static void begin(FILE *out, const char *label) {
    fputs("<svg role=\"img\" aria-label=\"", out);
    svg_escape(out, label);
    fputs("\" ", out);
}

void svg_strip_begin(FILE *out, int height, const char *label) {
    begin(out, label);
    fprintf(out, "class=\"strip\" width=\"100%%\" height=\"%d\">\n", height);
}

void svg_strip_end(FILE *out) {
    fputs("</svg>\n", out);
}

void svg_group_begin(FILE *out, const char *class) {
    fprintf(out, "<g class=\"%s\">", class);
}

void svg_group_end(FILE *out) {
    fputs("</g>\n", out);
}

void svg_bar(FILE *out, double x, double width, int y, int height, const char *class) {
    fprintf(out,
            "<rect class=\"%s\" x=\"%.3f%%\" y=\"%d\" width=\"%.3f%%\" height=\"%d\" rx=\"2\"/>\n",
            class, x, y, width, height);
}

void svg_rule(FILE *out, double x, int y_from, int y_to, const char *class) {
    fprintf(out, "<line class=\"%s\" x1=\"%.3f%%\" x2=\"%.3f%%\" y1=\"%d\" y2=\"%d\"/>\n", class, x,
            x, y_from, y_to);
}

void svg_dot(FILE *out, double x, int y, int radius, const char *class) {
    fprintf(out, "<circle class=\"%s\" cx=\"%.3f%%\" cy=\"%d\" r=\"%d\"/>\n", class, x, y, radius);
}

void svg_text(FILE *out, double x, int y, const char *class, const char *fmt, ...) {
    char text[TEXT_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    fprintf(out, "<text class=\"%s\" x=\"%.3f%%\" y=\"%d\">", class, x, y);
    svg_escape(out, text);
    fputs("</text>\n", out);
}

void svg_plot_begin(FILE *out, const char *label) {
    begin(out, label);
    fprintf(out, "class=\"plot\" viewBox=\"0 0 %.0f %.0f\" preserveAspectRatio=\"none\">\n",
            PLOT_WIDTH, PLOT_HEIGHT);
}

void svg_plot_end(FILE *out) {
    fputs("</svg>\n", out);
}

void svg_level(FILE *out, double y, const char *class) {
    fprintf(out, "<path class=\"%s\" d=\"M0 %.1fH%.0f\"/>\n", class, (1 - y) * PLOT_HEIGHT,
            PLOT_WIDTH);
}

/* One piece of a path, of points that have a value. */
static void put_steps(FILE *out, const struct svg_point *points, size_t count) {
    fprintf(out, "M%.1f %.1f", points[0].x * PLOT_WIDTH, (1 - points[0].y) * PLOT_HEIGHT);
    for (size_t i = 1; i < count; i++) {
        bool flat = points[i].y == points[i - 1].y;
        if (flat && i + 1 < count)
            continue; /* the next step draws it */
        fprintf(out, "H%.1f", points[i].x * PLOT_WIDTH);
        if (!flat)
            fprintf(out, "V%.1f", (1 - points[i].y) * PLOT_HEIGHT);
    }
}

void svg_steps(FILE *out, const struct svg_point *points, size_t count, const char *class) {
    size_t begin = 0;
    fprintf(out, "<path class=\"%s\" d=\"", class);
    for (size_t i = 0; i <= count; i++) {
        if (i < count && !isnan(points[i].y))
            continue;
        if (i > begin)
            put_steps(out, &points[begin], i - begin);
        begin = i + 1;
    }
    fputs("\"/>\n", out);
}

void svg_dots(FILE *out, const struct svg_point *points, size_t count, const char *class) {
    fprintf(out, "<path class=\"%s\" d=\"", class);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "M%.1f %.1fh0", points[i].x * PLOT_WIDTH, (1 - points[i].y) * PLOT_HEIGHT);
    fputs("\"/>\n", out);
}

double svg_axis_end(double value) {
    static const double steps[] = { 1, 2, 2.5, 5, 10 };
    if (!(value > 0))
        return 1;
    double power = pow(10, floor(log10(value)));
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        if (value <= steps[i] * power * (1 + 1e-9))
            return steps[i] * power;
    return 10 * power;
}
