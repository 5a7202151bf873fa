/* SPDX-License-Identifier: MIT */
/* Turns results into marks. */
#include "playground/chart.h"
#include "base/alloc.h"
#include "base/units.h"
#include "playground/svg.h"
#include <inttypes.h>
#include <math.h>

#define STRIP_HEIGHT 34
#define BAR_Y        6
#define BAR_HEIGHT   14
#define MIDDLE_Y     (BAR_Y + BAR_HEIGHT / 2)
#define LABEL_Y      31
#define BAR_SPAN     84.0 /* percent */
#define TIME_SPAN    80.0 /* the rest is for the figure at the bar's end */
#define LABEL_BYTES  200
#define HEADROOM     1.1 /* above the highest value of a plot */
#define SLIM_HEIGHT  22  /* of the small charts */
#define SLIM_Y       5
#define SLIM_BAR     12
#define SLIM_SPAN    70.0
#define WAIT_HEIGHT  34 /* of the chart of threads and what is in flight */
#define WAIT_Y       10
#define WAIT_LABEL_Y 30
#define WAIT_SPAN    96.0
#define USEC_PER_SEC 1e6

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
    if (result_tutorial_seconds(r) > 0 && r->row->tutorial_has != NULL)
        fprintf(out, "<small>tutorial: %s</small>", r->row->tutorial_has);
    fputs("</a>\n", out);
}

/* The rows of one load: they share an axis, and rows of another load have another one. */
struct group {
    const struct play_result *results;
    size_t count;
    const struct play_load *load;
    double end; /* the highest value of these rows */
};

typedef double value_fn(const struct play_result *);
typedef void row_fn(const struct play_result *, const struct group *, const void *arg, FILE *out);

static double highest(const struct group *group, value_fn *value) {
    double end = 0;
    for (size_t i = 0; i < group->count; i++)
        if (result_has_load(&group->results[i], group->load))
            end = larger(end, value(&group->results[i]));
    return end;
}

static void group_head(const struct play_load *load, FILE *out) {
    char delay[UNITS_TEXT_BYTES];
    fprintf(out,
            "<h4>%" PRIu32 "&nbsp;request%s by %" PRIu32
            "&nbsp;client%s, a delay of&nbsp;%s</h4>\n",
            load->requests, load->requests == 1 ? "" : "s", load->concurrency,
            load->concurrency == 1 ? "" : "s", units_format_duration(load->delay, delay));
}

/* Calls `draw` for each row, load by load. */
static void draw_groups(const struct play_result *results, size_t count, value_fn *value,
                        row_fn *draw, const void *arg, FILE *out) {
    const struct play_load *load;
    size_t at = 0;
    while ((load = result_next_load(results, count, &at)) != NULL) {
        struct group group = { .results = results, .count = count, .load = load };
        group.end = highest(&group, value);
        group_head(load, out);
        for (size_t i = 0; i < count && group.end > 0; i++)
            if (result_has_load(&results[i], load))
                draw(&results[i], &group, arg, out);
    }
}

/* --- what it holds, and what it needs for that ------------------------------------------------ */

static uint32_t in_flight_of(const struct play_result *r) {
    uint32_t most = r->calls_max;
    for (size_t i = 0; i < r->series.count && !catalogue_has_slow_api(r->row); i++) {
        uint32_t seen = r->series.points[i].in_flight[catalogue_process_count(r->row) - 1];
        most = seen != GAUGE_UNKNOWN && seen > most ? seen : most;
    }
    return most;
}

static double value_wait(const struct play_result *r) {
    return larger(larger(r->threads_during, in_flight_of(r)), 10);
}

/* A logarithmic axis from 1: one thread and two hundred are both to be seen. */
static double wait_position(double value, const struct group *group) {
    return value <= 1 ? 1 : 1 + log(value) / log(group->end) * WAIT_SPAN;
}

static void wait_row(const struct play_result *r, const struct group *group, const void *arg,
                     FILE *out) {
    char figure[LABEL_BYTES / 2], label[LABEL_BYTES];
    uint32_t held = in_flight_of(r), threads = r->threads_during;
    double from = wait_position(threads, group), to = wait_position(held, group);
    (void)arg;
    snprintf(figure, sizeof(figure), "%" PRIu32 " thread%s, %" PRIu32 " in flight", threads,
             threads == 1 ? "" : "s", held);
    snprintf(label, sizeof(label), "%s: %s", r->row->name, figure);
    begin_row(r, out);
    svg_strip_begin(out, WAIT_HEIGHT, label);
    svg_bar(out, from < to ? from : to, fabs(to - from), WAIT_Y - 2, 4, "spread");
    svg_dot(out, to, WAIT_Y, 7, "held");
    svg_dot(out, from, WAIT_Y, 4, r->row->peer_of != NULL ? "threads theirs" : "threads");
    svg_text(out, 0, WAIT_LABEL_Y, "small", "%s", figure);
    svg_strip_end(out);
    fputs("</div>\n", out);
}

void chart_waits(const struct play_result *results, size_t count, FILE *out) {
    fputs("<div class=\"card\">\n", out);
    draw_groups(results, count, value_wait, wait_row, NULL, out);
    fputs("</div>\n", out);
}

/* What a small chart compares. */
struct measure {
    const char *title;
    value_fn *value;
    const char *unit;
    const char *note_of_proxy; /* below the title when a row has one */
};

static double value_memory(const struct play_result *r) {
    return (double)r->memory_peak_bytes / (1024.0 * 1024.0);
}

static void measure_row(const struct play_result *r, const struct group *group, const void *arg,
                        FILE *out) {
    const struct measure *measure = arg;
    char figure[LABEL_BYTES / 4], label[LABEL_BYTES];
    double value = measure->value(r), share = value / group->end;
    snprintf(figure, sizeof(figure), "%.*f %s", value < 10 && value != (int)value ? 1 : 0, value,
             measure->unit);
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
    bool proxy = false;
    for (size_t i = 0; i < count; i++)
        proxy = proxy || (results[i].skipped[0] == '\0' && catalogue_has_proxy(results[i].row));
    fprintf(out, "<div class=\"card slim\"><h3>%s</h3>\n", measure->title);
    if (proxy && measure->note_of_proxy != NULL)
        fprintf(out, "<p class=\"note\">%s</p>\n", measure->note_of_proxy);
    draw_groups(results, count, measure->value, measure_row, measure, out);
    fputs("</div>\n", out);
}

void chart_costs(const struct play_result *results, size_t count, FILE *out) {
    static const struct measure measures[] = {
        { "CPU time per request", result_cpu_usec, "us", "A proxy in front is not counted." },
        { "Memory at the peak", value_memory, "MiB", NULL },
    };
    fputs("<div class=\"glance\">\n", out);
    for (size_t i = 0; i < ARRAY_LEN(measures); i++)
        draw_measure(&measures[i], results, count, out);
    fputs("</div>\n", out);
}

/* --- times and response times ----------------------------------------------------------------- */

/* Percent of a strip that labels need, on the smallest screen that shows them. */
static const struct screen {
    const char *class;
    double figure, both;
} screens[] = { { "wide", 10, 26 }, { "narrow", 22, 55 } };

/* Our figure at the end of our bar and the tutorial's beside its ring, each with room before the
 * next mark; without it one label that names both, right of the marks or below them. `bar` and
 * `ring` are percent. */
static void label_both(const struct screen *screen, const struct play_result *r, double bar,
                       double ring, FILE *out) {
    double last = larger(bar, ring), tutorial = result_tutorial_seconds(r);
    svg_group_begin(out, screen->class);
    if (ring - bar > screen->figure) {
        svg_text(out, bar, MIDDLE_Y + 4, "after", "%.2f s", r->seconds);
        svg_text(out, ring, MIDDLE_Y + 4, "after theirs", "%.2f s", tutorial);
    } else if (last + screen->both <= 100)
        svg_text(out, last, MIDDLE_Y + 4, "after", "%.2f s, tutorial %.2f", r->seconds, tutorial);
    else
        svg_text(out, larger(last, screen->both), LABEL_Y + 5, "below", "%.2f s, tutorial %.2f",
                 r->seconds, tutorial);
    svg_group_end(out);
}

static double value_time(const struct play_result *r) {
    return larger(larger(r->seconds, seconds_of(r->ideal)), result_tutorial_seconds(r));
}

static void time_row(const struct play_result *r, const struct group *group, const void *arg,
                     FILE *out) {
    char label[LABEL_BYTES], theirs[LABEL_BYTES / 4] = "";
    double ideal = seconds_of(r->ideal), tutorial = result_tutorial_seconds(r);
    double scale = TIME_SPAN / group->end, bar = larger(r->seconds, ideal) * scale;
    (void)arg;
    if (tutorial > 0)
        snprintf(theirs, sizeof(theirs), ", tutorial %.2f s", tutorial);
    snprintf(label, sizeof(label), "%s: %.2f s, ideal %.2f s%s", r->row->name, r->seconds, ideal,
             theirs);
    begin_row(r, out);
    svg_strip_begin(out, STRIP_HEIGHT, label);
    svg_bar(out, 0, r->seconds * scale, BAR_Y, BAR_HEIGHT,
            r->row->peer_of != NULL ? "bar-peer" : "bar");
    svg_rule(out, ideal * scale, BAR_Y - 4, BAR_Y + BAR_HEIGHT + 4, "ideal");
    if (tutorial > 0)
        svg_dot(out, tutorial * scale, MIDDLE_Y, 5, "tutorial");
    else
        svg_text(out, bar, MIDDLE_Y + 4, "after", "%.2f s", r->seconds);
    for (size_t i = 0; i < ARRAY_LEN(screens) && tutorial > 0; i++)
        label_both(&screens[i], r, bar, tutorial * scale, out);
    svg_strip_end(out);
    fputs("</div>\n", out);
}

void chart_times(const struct play_result *results, size_t count, FILE *out) {
    draw_groups(results, count, value_time, time_row, NULL, out);
}

static double value_slowest(const struct play_result *r) {
    return (double)r->max_usec;
}

static void latency_row(const struct play_result *r, const struct group *group, const void *arg,
                        FILE *out) {
    char label[LABEL_BYTES];
    double scale = BAR_SPAN / group->end;
    (void)arg;
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
    svg_text(out, 0, LABEL_Y, "small", "p50 %.1f, p90 %.1f, p99 %.1f, slowest %.1f ms",
             (double)r->p50_usec / 1000, (double)r->p90_usec / 1000, (double)r->p99_usec / 1000,
             (double)r->max_usec / 1000);
    svg_strip_end(out);
    fputs("</div>\n", out);
}

void chart_latencies(const struct play_result *results, size_t count, FILE *out) {
    draw_groups(results, count, value_slowest, latency_row, NULL, out);
}

/* --- one row, over time ----------------------------------------------------------------------- */

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

static uint32_t figure_requests(const struct play_result *r, const struct series_point *point) {
    return point->in_flight[catalogue_process_count(r->row) - 1];
}

static uint32_t figure_calls(const struct play_result *r, const struct series_point *point) {
    (void)r;
    return point->in_flight[0];
}

static uint32_t figure_to_api(const struct play_result *r, const struct series_point *point) {
    (void)r;
    return point->connections[0];
}

/* Of the process before the last one: the server behind a proxy. */
static uint32_t figure_to_server(const struct play_result *r, const struct series_point *point) {
    return point->connections[catalogue_process_count(r->row) - 2];
}

/* A line of a plot, and what its legend says. */
struct chart_line {
    const char *name, *class;
    figure_fn *figure;
};

struct plot {
    const char *title;
    struct chart_line lines[2];
    size_t line_count;
    uint32_t level; /* a rule from left to right; 0: none */
    const char *level_name;
};

static uint32_t peak(const struct play_result *r, const struct chart_line *line) {
    uint32_t most = 0;
    for (size_t i = 0; i < r->series.count; i++) {
        uint32_t value = line->figure(r, &r->series.points[i]);
        most = value > most && value != GAUGE_UNKNOWN ? value : most;
    }
    return most;
}

static void draw_line(const struct play_result *r, const struct chart_line *line, double x_end,
                      double y_end, struct svg_point *room, FILE *out) {
    for (size_t i = 0; i < r->series.count; i++) {
        const struct series_point *point = &r->series.points[i];
        uint32_t value = line->figure(r, point);
        room[i].x = seconds_of(point->elapsed) / x_end;
        room[i].y = value == GAUGE_UNKNOWN ? (double)NAN : value / y_end;
    }
    svg_steps(out, room, r->series.count, line->class);
}

/* What the colours mean, and the highest value of each line. */
static void write_caption(const struct play_result *r, const struct plot *plot, FILE *out) {
    fprintf(out, "<figure><figcaption>%s<span class=\"legend\">", plot->title);
    for (size_t i = 0; i < plot->line_count; i++)
        fprintf(out, "<span class=\"key %s\">%s, at most %" PRIu32 "</span>", plot->lines[i].class,
                plot->lines[i].name, peak(r, &plot->lines[i]));
    if (plot->level > 0)
        fprintf(out, "<span class=\"key level\">%s %" PRIu32 "</span>", plot->level_name,
                plot->level);
    fputs("</span></figcaption>\n", out);
}

static void draw_plot(const struct play_result *r, const struct plot *plot, FILE *out) {
    char label[LABEL_BYTES];
    size_t count = r->series.count;
    struct svg_point *room = count > 0 ? mem_calloc(count, sizeof(*room)) : NULL;
    if (room == NULL)
        return;
    double x_end = seconds_of(r->series.points[count - 1].elapsed), y_end = plot->level;
    for (size_t i = 0; i < plot->line_count; i++)
        y_end = larger(y_end, peak(r, &plot->lines[i]));
    y_end = svg_axis_end(y_end * HEADROOM);
    if (!(x_end > 0))
        x_end = 1;

    snprintf(label, sizeof(label), "%s over time: %s, at most %" PRIu32, plot->title,
             plot->lines[0].name, peak(r, &plot->lines[0]));
    write_caption(r, plot, out);
    fprintf(out, "<div class=\"frame\"><span class=\"y\">%.6g</span>", y_end);
    svg_plot_begin(out, label);
    if (plot->level > 0)
        svg_level(out, plot->level / y_end, "level");
    for (size_t i = 0; i < plot->line_count; i++)
        draw_line(r, &plot->lines[i], x_end, y_end, room, out);
    svg_plot_end(out);
    fprintf(out, "</div><div class=\"x\"><span>0</span><span>%.1f s</span></div></figure>\n",
            x_end);
    mem_free(room);
}

/* A frame with the value at its top, and what stands below its left and right ends. */
static void begin_frame(const char *caption, const char *top, const char *label, FILE *out) {
    fprintf(out,
            "<figure><figcaption>%s</figcaption>\n<div class=\"frame\"><span class=\"y\">%s</span>",
            caption, top);
    svg_plot_begin(out, label);
}

static void end_frame(const char *right, FILE *out) {
    svg_plot_end(out);
    fprintf(out, "</div><div class=\"x\"><span>0</span><span>%s</span></div></figure>\n", right);
}

/* A dot for each request where it ended: how high is how long it took. */
static void draw_requests(const struct play_result *r, double y_end, bool failed,
                          struct svg_point *room, FILE *out) {
    const struct latencies *l = &r->latencies;
    double x_end = larger(r->seconds, 1e-6) * USEC_PER_SEC;
    size_t used = 0;
    for (size_t i = 0; i < l->count; i++) {
        if (l->points[i].failed != failed)
            continue;
        room[used].x = (double)l->points[i].end_usec / x_end;
        room[used++].y = (double)l->points[i].total_usec / y_end;
    }
    svg_dots(out, room, used, failed ? "dots bad" : "dots");
}

static void draw_latencies(const struct play_result *r, FILE *out) {
    const struct latencies *l = &r->latencies;
    struct svg_point *room = mem_calloc(LATENCIES_POINTS_MAX, sizeof(*room));
    char top[32], right[32], label[LABEL_BYTES];
    double y_end = svg_axis_end((double)l->slowest_usec * HEADROOM);
    if (room == NULL)
        return;
    snprintf(top, sizeof(top), "%.6g ms", y_end / 1000);
    snprintf(right, sizeof(right), "%.1f s", r->seconds);
    snprintf(label, sizeof(label), "Response times over time: p50 %.1f ms, slowest %.1f ms",
             (double)r->p50_usec / 1000, (double)r->max_usec / 1000);
    begin_frame("Response times<span class=\"legend\">a dot where a request ended</span>", top,
                label, out);
    draw_requests(r, y_end, false, room, out);
    draw_requests(r, y_end, true, room, out);
    end_frame(right, out);
    mem_free(room);
}

/* Steps from 0 to the slowest: how many of the requests took so long. */
static void draw_distribution(const struct play_result *r, FILE *out) {
    const struct latencies *l = &r->latencies;
    struct svg_point points[LATENCIES_BINS + 1];
    char top[32], right[32], label[LABEL_BYTES];
    uint64_t most = 1;
    for (size_t i = 0; i < LATENCIES_BINS; i++)
        most = l->bins[i] > most ? l->bins[i] : most;
    for (size_t i = 0; i <= LATENCIES_BINS; i++) {
        points[i].x = (double)i / LATENCIES_BINS;
        points[i].y = i < LATENCIES_BINS ? (double)l->bins[i] / ((double)most * HEADROOM) : 0;
    }
    snprintf(top, sizeof(top), "%.0f %% of them",
             100 * HEADROOM * (double)most / (double)l->requests);
    snprintf(right, sizeof(right), "%.1f ms", (double)l->slowest_usec / 1000);
    snprintf(label, sizeof(label), "Distribution of response times from 0 to %s", right);
    begin_frame("Distribution<span class=\"legend\">how many requests took how long</span>", top,
                label, out);
    svg_steps(out, points, LATENCIES_BINS + 1, "line-a area");
    end_frame(right, out);
}

void chart_over_time(const struct play_result *result, FILE *out) {
    bool has_api = catalogue_has_slow_api(result->row);
    const struct plot plots[] = {
        { .title = "Threads of the server",
          .lines = { { "all", "line-a", figure_threads }, { "asleep", "line-b", figure_sleeping } },
          .line_count = 2 },
        { .title = "In flight",
          .lines = { { "requests of the clients", "line-c", figure_requests },
                     { "calls in the slow API", "line-d", figure_calls } },
          .line_count = has_api ? 2 : 1,
          .level = result->load.concurrency,
          .level_name = "all clients" },
        { .title = "Open TCP connections",
          .lines = { { "from server to slow API", "line-d", figure_to_api },
                     { "from proxy to server", "line-c", figure_to_server } },
          .line_count = catalogue_has_proxy(result->row) ? 2 : 1 },
    };
    fputs("<div class=\"plots\">", out);
    if (result->latencies.requests > 0) {
        draw_latencies(result, out);
        draw_distribution(result, out);
    }
    for (size_t i = 0; i < ARRAY_LEN(plots) - !has_api; i++)
        draw_plot(result, &plots[i], out);
    fputs("</div>\n", out);
}
