/* SPDX-License-Identifier: MIT */
/* Places values between two axes, and words at round ones. */
#include "bench/chart.h"
#include "base/clock.h"
#include "base/html.h"
#include <math.h>
#include <string.h>

#define LOG_RATIO 20 /* values that are further apart are shown on a logarithmic axis */

enum { TICKS_MAX = 12, TICKS = 5, XS_NARROW = 4, SIDE = 1000 };

/* --- words ------------------------------------------------------------------------------------ */

void chart_usec(double usec, char text[static CHART_TEXT_BYTES]) {
    if (usec >= 1e6)
        snprintf(text, CHART_TEXT_BYTES, "%.4g s", usec / 1e6);
    else if (usec >= 1000)
        snprintf(text, CHART_TEXT_BYTES, "%.4g ms", usec / 1000);
    else
        snprintf(text, CHART_TEXT_BYTES, usec > 0 ? "%.4g us" : "0", usec);
}

void chart_seconds(double seconds, char text[static CHART_TEXT_BYTES]) {
    if (seconds >= 7200)
        snprintf(text, CHART_TEXT_BYTES, "%.3g h", seconds / 3600);
    else if (seconds >= 600)
        snprintf(text, CHART_TEXT_BYTES, "%.4g min", seconds / 60);
    else
        snprintf(text, CHART_TEXT_BYTES, "%.4g s", seconds);
}

void chart_number(double number, char text[static CHART_TEXT_BYTES]) {
    if (number >= 1e6)
        snprintf(text, CHART_TEXT_BYTES, "%.4gM", number / 1e6);
    else if (number >= 1e4)
        snprintf(text, CHART_TEXT_BYTES, "%.4gk", number / 1e3);
    else
        snprintf(text, CHART_TEXT_BYTES, "%.4g", number);
}

void chart_nines(double nines, char text[static CHART_TEXT_BYTES]) {
    int digits = nines > 2 ? (int)nines - 2 : 0;
    snprintf(text, CHART_TEXT_BYTES, "%.*f %%", digits, 100 * (1 - pow(10, -nines)));
}

/* --- axes ------------------------------------------------------------------------------------- */

static double round_up(double value) {
    static const double steps[] = { 1, 2, 2.5, 5, 10 };
    double power = pow(10, floor(log10(value)));
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        if (value <= steps[i] * power * (1 + 1e-9))
            return steps[i] * power;
    return 10 * power;
}

struct chart_axis chart_axis_linear(double most) {
    if (most <= 0)
        return (struct chart_axis){ .to = 1 };
    double step = round_up(most / (TICKS - 1));
    return (struct chart_axis){ .to = ceil(most / step * (1 - 1e-9)) * step };
}

struct chart_axis chart_axis_log(double least, double most) {
    if (least <= 0 || most < least * LOG_RATIO)
        return chart_axis_linear(most);
    struct chart_axis axis = { .is_log = true };
    double below = pow(10, floor(log10(least)));
    axis.from = least >= 5 * below ? 5 * below : least >= 2 * below ? 2 * below : below;
    double above = pow(10, floor(log10(most)));
    axis.to = most <= above       ? above
              : most <= 2 * above ? 2 * above
              : most <= 5 * above ? 5 * above
                                  : 10 * above;
    return axis;
}

/* The share (0..1) of the axis at which a value stands; one beyond it stands at its end. */
static double place(const struct chart_axis *a, double value) {
    double share = a->is_log ? log(fmax(value, a->from) / a->from) / log(a->to / a->from)
                             : (value - a->from) / (a->to - a->from);
    return fmin(fmax(share, 0), 1);
}

static double across(const struct chart *c, double x) {
    return place(&c->x, x) * SIDE;
}

static double down(const struct chart *c, double y) {
    return (1 - place(&c->y, y)) * SIDE;
}

/* Times are round in seconds, minutes and hours. */
static double time_step(double span) {
    static const double steps[] = { 0.1, 0.2, 0.5, 1,   2,   5,    10,   15,   30,
                                    60,  120, 300, 600, 900, 1800, 3600, 7200, 14400 };
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        if (span / steps[i] <= TICKS + 1)
            return steps[i];
    return round_up(span / TICKS);
}

static size_t log_ticks(const struct chart_axis *a, double *ticks) {
    static const double steps[] = { 1, 2, 5 };
    double decades = log10(a->to / a->from);
    int each = decades > TICKS + 1 ? (int)ceil(decades / TICKS) : 1;
    size_t wanted = decades <= 2 ? 3 : 1, count = 0;
    int first = (int)floor(log10(a->from) + 1e-9), last = (int)ceil(log10(a->to) - 1e-9);
    for (int power = first; power <= last; power += each)
        for (size_t i = 0; i < wanted && count < TICKS_MAX; i++) {
            double value = steps[i] * pow(10, power);
            if (value >= a->from * (1 - 1e-9) && value <= a->to * (1 + 1e-9))
                ticks[count++] = value;
        }
    return count;
}

static size_t find_ticks(const struct chart_axis *a, double *ticks) {
    double span = a->to - a->from, step;
    size_t count = 0;
    if (a->is_log)
        return log_ticks(a, ticks);
    if (a->is_whole)
        step = ceil(span / (TICKS + 1));
    else if (a->format == chart_seconds)
        step = time_step(span);
    else
        step = round_up(span / (TICKS - 1));
    for (double value = a->from; count < TICKS_MAX && value <= a->to + span * 1e-9; value += step)
        ticks[count++] = value;
    return count;
}

/* --- the drawing ------------------------------------------------------------------------------ */

void chart_begin(const struct chart *c, const char *label) {
    double ticks[TICKS_MAX];
    char text[CHART_TEXT_BYTES];
    size_t count = find_ticks(&c->y, ticks);
    fputs("<div class=\"axes\"><div class=\"ys\" aria-hidden=\"true\">", c->out);
    for (size_t i = 0; i < count; i++) {
        c->y.format(ticks[i], text);
        fprintf(c->out, "<span style=\"top:%.1f%%\">%s</span>", down(c, ticks[i]) / SIDE * 100,
                text);
    }
    fprintf(c->out,
            "</div>\n<svg viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" role=\"img\" "
            "aria-label=\"",
            SIDE, SIDE);
    html_text(c->out, label);
    fputs("\">\n<path class=\"grid\" d=\"", c->out);
    for (size_t i = 0; i < count; i++)
        fprintf(c->out, "M0 %.1fH%d", down(c, ticks[i]), SIDE);
    fputs("\"/>\n", c->out);
}

/* A point between two gaps would be a line without length: round ends make it a dot. */
void chart_line(const struct chart *c, const char *kind, const struct chart_point *points,
                size_t count) {
    bool drawing = false;
    fprintf(c->out, "<path class=\"%s\" d=\"", kind);
    for (size_t i = 0; i < count; i++) {
        if (isnan(points[i].y)) {
            drawing = false;
            continue;
        }
        double x = across(c, points[i].x), y = down(c, points[i].y);
        fprintf(c->out, drawing ? "L%.1f %.1f" : "M%.1f %.1fh0", x, y);
        drawing = true;
    }
    fputs("\"/>\n", c->out);
}

void chart_area(const struct chart *c, const char *kind, const struct chart_point *points,
                size_t count) {
    if (count == 0)
        return;
    fprintf(c->out, "<path class=\"%s\" d=\"M%.1f %d", kind, across(c, points[0].x), SIDE);
    for (size_t i = 0; i < count; i++)
        fprintf(c->out, "L%.1f %.1f", across(c, points[i].x),
                isnan(points[i].y) ? (double)SIDE : down(c, points[i].y));
    fprintf(c->out, "L%.1f %dz\"/>\n", across(c, points[count - 1].x), SIDE);
}

void chart_cells(const struct chart *c, const struct chart_cell *cells, size_t count) {
    for (int level = 1; level <= CHART_LEVELS; level++) {
        fprintf(c->out, "<path class=\"heat-%d\" d=\"", level);
        for (size_t i = 0; i < count; i++) {
            if (cells[i].level != level)
                continue;
            double left = across(c, cells[i].left), top = down(c, cells[i].top);
            fprintf(c->out, "M%.1f %.1fH%.1fV%.1fH%.1fz", left, top, across(c, cells[i].right),
                    down(c, cells[i].bottom), left);
        }
        fputs("\"/>\n", c->out);
    }
}

void chart_strip(const struct chart *c, double left, double right, const char *words) {
    double x = across(c, left);
    fprintf(c->out, "<rect class=\"strip\" x=\"%.1f\" width=\"%.1f\" height=\"%d\"><title>", x,
            across(c, right) - x, SIDE);
    html_text(c->out, words);
    fputs("</title></rect>\n", c->out);
}

void chart_end(const struct chart *c) {
    double ticks[TICKS_MAX];
    char text[CHART_TEXT_BYTES];
    size_t count = find_ticks(&c->x, ticks);
    fprintf(c->out, "</svg>\n<div class=\"xs%s\" aria-hidden=\"true\">",
            count > XS_NARROW ? " many" : "");
    for (size_t i = 0; i < count; i++) {
        c->x.format(ticks[i], text);
        fprintf(c->out, "<span style=\"left:%.1f%%\">%s</span>", across(c, ticks[i]) / SIDE * 100,
                text);
    }
    fputs("</div></div>\n", c->out);
}
