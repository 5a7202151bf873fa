/* SPDX-License-Identifier: MIT */
/* Turns results into marks. */
#include "playground/chart.h"
#include "base/alloc.h"
#include "playground/svg.h"
#include <inttypes.h>

#define STRIP_HEIGHT 34
#define BAR_Y        6
#define BAR_HEIGHT   14
#define MIDDLE_Y     (BAR_Y + BAR_HEIGHT / 2)
#define LABEL_Y      31
#define BAR_SPAN     84.0 /* percent; the rest is for the figure at the bar's end */
#define LABEL_BYTES  200
#define HEADROOM     1.1 /* above the highest value of a plot */
#define SLIM_HEIGHT  22  /* of the small charts */
#define SLIM_Y       5
#define SLIM_BAR     12
#define SLIM_SPAN    70.0

static double seconds_of(nsec_t span) {
    return (double)span / NSEC_PER_SEC;
}

static double larger(double a, double b) {
    return a > b ? a : b;
}

/* The name of the row, and the place where its strip goes. */
static void begin_row(const struct play_result *r, FILE *out) {
    fprintf(out, "<div class=\"bar-row%s\"><a class=\"bar-name\" href=\"#",
            r->row->peer_of != NULL ? " peer" : "");
    svg_escape(out, r->row->name);
    fputs("\">", out);
    svg_escape(out, r->row->name);
    fputs("</a>\n", out);
}

/* What a small chart compares. */
struct measure {
    const char *title;
    double (*value)(const struct play_result *);
    const char *unit;
};

static double value_rate(const struct play_result *r) {
    return r->requests_per_second;
}

static double value_threads(const struct play_result *r) {
    return r->threads_during;
}

static double value_memory(const struct play_result *r) {
    return (double)r->memory_peak_bytes / (1024.0 * 1024.0);
}

static void measure_row(const struct play_result *r, double share, const char *figure, FILE *out) {
    char label[LABEL_BYTES];
    snprintf(label, sizeof(label), "%s: %s", r->row->name, figure);
    begin_row(r, out);
    svg_strip_begin(out, SLIM_HEIGHT, label);
    svg_bar(out, 0, share * SLIM_SPAN, SLIM_Y, SLIM_BAR,
            r->row->peer_of != NULL ? "bar-peer" : "bar");
    svg_text(out, share * SLIM_SPAN + 2, SLIM_Y + SLIM_BAR - 1, "figure", "%s", figure);
    svg_strip_end(out);
    fputs("</div>\n", out);
}

static void draw_measure(const struct measure *measure, const struct play_result *results,
                         size_t count, FILE *out) {
    double end = 0;
    for (size_t i = 0; i < count; i++)
        end = larger(end, measure->value(&results[i]));
    fprintf(out, "<div class=\"card slim\"><h3>%s</h3>\n", measure->title);
    for (size_t i = 0; i < count && end > 0; i++) {
        char figure[LABEL_BYTES / 4];
        double value = measure->value(&results[i]);
        if (results[i].skipped[0] != '\0')
            continue;
        snprintf(figure, sizeof(figure), "%.*f %s", value < 10 && value != (int)value ? 1 : 0,
                 value, measure->unit);
        measure_row(&results[i], value / end, figure, out);
    }
    fputs("</div>\n", out);
}

void chart_glance(const struct play_result *results, size_t count, FILE *out) {
    static const struct measure measures[] = {
        { "Requests per second", value_rate, "" },
        { "Threads under load", value_threads, "" },
        { "CPU time per request", result_cpu_usec, "us" },
        { "Memory at the peak", value_memory, "MiB" },
    };
    fputs("<div class=\"glance\">\n", out);
    for (size_t i = 0; i < ARRAY_LEN(measures); i++)
        draw_measure(&measures[i], results, count, out);
    fputs("</div>\n", out);
}

static void time_row(const struct play_result *r, double end, FILE *out) {
    char label[LABEL_BYTES];
    double ideal = seconds_of(r->ideal), tutorial = result_tutorial_seconds(r);
    snprintf(label, sizeof(label), "%s: %.2f s, ideal %.2f s", r->row->name, r->seconds, ideal);
    begin_row(r, out);
    svg_strip_begin(out, STRIP_HEIGHT, label);
    svg_bar(out, 0, r->seconds / end * BAR_SPAN, BAR_Y, BAR_HEIGHT,
            r->row->peer_of != NULL ? "bar-peer" : "bar");
    svg_rule(out, ideal / end * BAR_SPAN, BAR_Y - 4, BAR_Y + BAR_HEIGHT + 4, "ideal");
    if (tutorial > 0)
        svg_dot(out, tutorial / end * BAR_SPAN, MIDDLE_Y, 5, "tutorial");
    svg_text(out, larger(larger(r->seconds, ideal), tutorial) / end * BAR_SPAN + 1.5, MIDDLE_Y + 4,
             "figure", "%.2f s", r->seconds);
    svg_strip_end(out);
    fputs("</div>\n", out);
}

void chart_times(const struct play_result *results, size_t count, FILE *out) {
    double end = 0;
    for (size_t i = 0; i < count; i++) {
        end = larger(end, larger(results[i].seconds, seconds_of(results[i].ideal)));
        end = larger(end, result_tutorial_seconds(&results[i]));
    }
    for (size_t i = 0; i < count && end > 0; i++)
        if (results[i].skipped[0] == '\0')
            time_row(&results[i], end, out);
}

static void latency_row(const struct play_result *r, double end, FILE *out) {
    char label[LABEL_BYTES];
    double scale = BAR_SPAN / end;
    snprintf(label, sizeof(label), "%s: p50 %.1f ms, p90 %.1f ms, p99 %.1f ms, slowest %.1f ms",
             r->row->name, (double)r->p50_usec / 1000, (double)r->p90_usec / 1000,
             (double)r->p99_usec / 1000, (double)r->max_usec / 1000);
    begin_row(r, out);
    svg_strip_begin(out, STRIP_HEIGHT, label);
    svg_bar(out, 0, (double)r->max_usec * scale, MIDDLE_Y - 1, 2, "reach");
    svg_bar(out, (double)r->p50_usec * scale, (double)(r->max_usec - r->p50_usec) * scale,
            MIDDLE_Y - 3, 6, "spread");
    svg_dot(out, (double)r->p50_usec * scale, MIDDLE_Y, 5, "p50");
    svg_dot(out, (double)r->p90_usec * scale, MIDDLE_Y, 4, "p90");
    svg_dot(out, (double)r->p99_usec * scale, MIDDLE_Y, 4, "p99");
    svg_text(out, 0, LABEL_Y, "small", "p50 %.1f  p90 %.1f  p99 %.1f  slowest %.1f ms",
             (double)r->p50_usec / 1000, (double)r->p90_usec / 1000, (double)r->p99_usec / 1000,
             (double)r->max_usec / 1000);
    svg_strip_end(out);
    fputs("</div>\n", out);
}

void chart_latencies(const struct play_result *results, size_t count, FILE *out) {
    double end = 0;
    for (size_t i = 0; i < count; i++)
        end = larger(end, (double)results[i].max_usec);
    for (size_t i = 0; i < count && end > 0; i++)
        if (results[i].skipped[0] == '\0')
            latency_row(&results[i], end, out);
}

/* One figure of a point. */
typedef uint32_t figure_fn(const struct play_result *, const struct series_point *);

static uint32_t figure_threads(const struct play_result *r, const struct series_point *point) {
    (void)r;
    return point->total.threads;
}

static uint32_t figure_sleeping(const struct play_result *r, const struct series_point *point) {
    (void)r;
    return point->total.sleeping;
}

static uint32_t figure_clients(const struct play_result *r, const struct series_point *point) {
    return point->connections[catalogue_process_count(r->row) - 1];
}

static uint32_t figure_calls(const struct play_result *r, const struct series_point *point) {
    (void)r;
    return point->connections[0];
}

/* A line of a plot, and what its legend says. */
struct line {
    const char *name, *class;
    figure_fn *figure;
};

static uint32_t peak(const struct play_result *r, const struct line *line) {
    uint32_t most = 0;
    for (size_t i = 0; i < r->series.count; i++) {
        uint32_t value = line->figure(r, &r->series.points[i]);
        most = value > most ? value : most;
    }
    return most;
}

static void draw_line(const struct play_result *r, const struct line *line, double x_end,
                      double y_end, struct svg_point *room, FILE *out) {
    for (size_t i = 0; i < r->series.count; i++) {
        const struct series_point *point = &r->series.points[i];
        room[i].x = seconds_of(point->elapsed) / x_end;
        room[i].y = line->figure(r, point) / y_end;
    }
    svg_steps(out, room, r->series.count, line->class);
}

static void draw_plot(const struct play_result *r, const char *title, const struct line *lines,
                      size_t line_count, FILE *out) {
    char label[LABEL_BYTES];
    size_t count = r->series.count;
    struct svg_point *room = count > 0 ? mem_calloc(count, sizeof(*room)) : NULL;
    if (room == NULL)
        return;
    double x_end = seconds_of(r->series.points[count - 1].elapsed), y_end = 0;
    for (size_t i = 0; i < line_count; i++)
        y_end = larger(y_end, peak(r, &lines[i]));
    y_end = svg_axis_end(y_end * HEADROOM);
    if (!(x_end > 0))
        x_end = 1;

    snprintf(label, sizeof(label), "%s over time: %s at most %" PRIu32, title, lines[0].name,
             peak(r, &lines[0]));
    fprintf(out, "<figure><figcaption>%s<span class=\"legend\">", title);
    for (size_t i = 0; i < line_count; i++)
        fprintf(out, "<span class=\"key %s\">%s</span>", lines[i].class, lines[i].name);
    fprintf(out, "</span></figcaption>\n<div class=\"frame\"><span class=\"y\">%.6g</span>", y_end);
    svg_plot_begin(out, label);
    for (size_t i = 0; i < line_count; i++)
        draw_line(r, &lines[i], x_end, y_end, room, out);
    svg_plot_end(out);
    fprintf(out, "</div><div class=\"x\"><span>0</span><span>%.1f s</span></div></figure>\n",
            x_end);
    mem_free(room);
}

void chart_threads(const struct play_result *result, FILE *out) {
    static const struct line lines[] = {
        { "all", "line-a", figure_threads },
        { "asleep", "line-b", figure_sleeping },
    };
    draw_plot(result, "Threads of the server", lines, ARRAY_LEN(lines), out);
}

void chart_in_flight(const struct play_result *result, FILE *out) {
    static const struct line lines[] = {
        { "from clients", "line-c", figure_clients },
        { "to the slow API", "line-d", figure_calls },
    };
    draw_plot(result, "Open connections", lines, ARRAY_LEN(lines), out);
}
