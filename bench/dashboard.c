/* SPDX-License-Identifier: MIT */
/* Draws the last second, all of the run so far, and how both became what they are. */
#include "bench/dashboard.h"
#include "loadgen/percentile.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

enum {
    LINE_BYTES = 1024,
    CHART_COLUMNS_MAX = 300,
    CHART_ROWS_MAX = 12,
    CHART_ROWS_MIN = 3,
    OTHER_ROWS = 6, /* titles of charts, and the last line */
    GUTTER = 11,    /* columns for the words at an axis */
    BAR_CELLS = 30,
};

#define BOLD   "\033[1m"
#define DIM    "\033[2m"
#define BLUE   "\033[34m"
#define GREEN  "\033[32m"
#define RED    "\033[31m"
#define NORMAL "\033[m"

/* --- lines ------------------------------------------------------------------------------------ */

/* A line in the making; what does not fit is left out. */
struct dashboard_line {
    char text[LINE_BYTES];
    size_t len;
    size_t width; /* columns of the figures in it */
};

PRINTF_LIKE(2, 3)
static void add(struct dashboard_line *l, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(l->text + l->len, sizeof(l->text) - l->len, fmt, args);
    va_end(args);
    if (len > 0 && l->len + (size_t)len < sizeof(l->text))
        l->len += (size_t)len;
    l->text[l->len] = '\0';
}

static void paint(const struct dashboard *d, struct dashboard_line *l, const char *colour) {
    if (d->has_colour)
        add(l, "%s", colour);
}

static void show(struct dashboard *d, struct dashboard_line *l) {
    terminal_view_line(&d->view, l->text);
    *l = (struct dashboard_line){ .len = 0 };
}

/* A figure as a whole: what does not fit the line any more begins the next. */
static void add_figure(struct dashboard *d, struct dashboard_line *l, const char *label,
                       const char *value, const char *colour) {
    size_t width = strlen(label) + 1 + strlen(value);
    if (l->width > 0 && l->width + width >= d->view.columns)
        show(d, l);
    paint(d, l, DIM);
    add(l, "%s ", label);
    paint(d, l, NORMAL);
    paint(d, l, BOLD);
    paint(d, l, colour);
    add(l, "%s", value);
    paint(d, l, NORMAL);
    add(l, "   ");
    l->width += width + 3;
}

static void add_time(struct dashboard *d, struct dashboard_line *l, const char *label, bool any,
                     struct percentile_value value) {
    char text[PERCENTILE_TEXT_BYTES];
    add_figure(d, l, label, any ? percentile_format(value, text) : "-", "");
}

/* --- what is shown ---------------------------------------------------------------------------- */

static void show_title(struct dashboard *d, const struct live *l) {
    struct dashboard_line line = { .len = 0 };
    paint(d, &line, BOLD);
    add(&line, "srv bench");
    paint(d, &line, NORMAL);
    if (l->config->url != NULL)
        add(&line, "  %.512s", l->config->url);
    show(d, &line);
}

/* The share of the run that is over, by its time or by its requests; 0 when it has no end. */
static double share_of_run(const struct live *l, const struct live_row *row) {
    uint64_t budget = loadgen_config_budget(l->config);
    double share = 0;
    if (l->config->time_limit > 0)
        share = row->second * (double)NSEC_PER_SEC / (double)l->config->time_limit;
    if (budget != UINT64_MAX && budget > 0)
        share = fmax(share, (double)(l->so_far.ended + l->row.ended) / (double)budget);
    return fmin(share, 1);
}

static void show_bar(struct dashboard *d, const struct live *l, const struct live_row *row) {
    struct dashboard_line line = { .len = 0 };
    double share = share_of_run(l, row);
    int full = (int)(share * BAR_CELLS);
    add(&line, "%.0f s", row->second);
    if (l->config->time_limit > 0)
        add(&line, " of %.0f s", (double)l->config->time_limit / (double)NSEC_PER_SEC);
    add(&line, "  ");
    paint(d, &line, BLUE);
    for (int i = 0; share > 0 && i < BAR_CELLS; i++)
        add(&line, "%s", i < full ? (d->is_utf8 ? "█" : "#") : (d->is_utf8 ? "░" : "."));
    paint(d, &line, NORMAL);
    if (share > 0)
        add(&line, " %.0f %%", share * 100);
    show(d, &line);
}

static void show_counts(struct dashboard *d, const struct live *l, const struct live_row *row) {
    struct dashboard_line line = { .len = 0 };
    char text[32];
    uint64_t failed = l->so_far.failed + l->row.failed;
    snprintf(text, sizeof(text), "%.0f/s", row->rate);
    add_figure(d, &line, "now", text, "");
    if (l->config->rate > 0) {
        snprintf(text, sizeof(text), "%g/s", l->config->rate);
        add_figure(d, &line, "planned", text, "");
    }
    snprintf(text, sizeof(text), "%" PRIu64, row->in_flight);
    add_figure(d, &line, "in flight", text, "");
    snprintf(text, sizeof(text), "%" PRIu64, l->so_far.ended + l->row.ended - failed);
    add_figure(d, &line, "answers", text, "");
    snprintf(text, sizeof(text), "%" PRIu64, failed);
    add_figure(d, &line, "failed", text, failed > 0 ? RED : "");
    uint64_t others = l->so_far.non_2xx + l->row.non_2xx;
    snprintf(text, sizeof(text), "%" PRIu64, others);
    if (others > 0)
        add_figure(d, &line, "not 2xx", text, RED);
    show(d, &line);
}

static void show_times(struct dashboard *d, const struct live *l, const struct live_row *row) {
    struct dashboard_line line = { .len = 0 };
    bool any = row->answers > 0;
    add(&line, "%-*s  ", GUTTER, "last second");
    line.width = GUTTER + 2;
    add_time(d, &line, "p50", any, (struct percentile_value){ .usec = row->p50_us });
    add_time(d, &line, "p99", any, (struct percentile_value){ .usec = row->p99_us });
    add_time(d, &line, "slowest", any, (struct percentile_value){ .usec = row->max_us });
    show(d, &line);
    struct times all = { l->so_far.latency, l->so_far.timed_out };
    any = percentile_count(all) > 0;
    add(&line, "%-*s  ", GUTTER, "before");
    line.width = GUTTER + 2;
    add_time(d, &line, "p50", any, percentile_of(all, 0.5));
    add_time(d, &line, "p99", any, percentile_of(all, 0.99));
    add_time(d, &line, "p99.9", any, percentile_of(all, 0.999));
    add_time(d, &line, "slowest", any, percentile_max(all));
    show(d, &line);
}

/* --- charts ----------------------------------------------------------------------------------- */

/* A value of the last rows of the series, a column each. */
struct bars {
    const char *title, *colour;
    void (*format)(double value, char *text, size_t size);
    double (*value)(const struct live_row *row); /* 0: there is none */
};

static void format_rate(double value, char *text, size_t size) {
    snprintf(text, size, "%.4g/s", value);
}

static void format_usec(double value, char *text, size_t size) {
    char number[PERCENTILE_TEXT_BYTES];
    struct percentile_value usec = { .usec = (int64_t)value };
    snprintf(text, size, "%s", percentile_format(usec, number));
}

/* The cell of a bar in a row that shows values from `from` to `to`. */
static const char *cell(const struct dashboard *d, double value, double from, double to) {
    static const char *const blocks[] = { " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
    double share = fmin(fmax((value - from) / (to - from), 0), 1);
    size_t level = (size_t)(share * 8 + 0.5);
    if (from <= 0 && value > 0 && level == 0)
        level = 1; /* a little is not nothing */
    return d->is_utf8 ? blocks[level] : level >= 4 ? "#" : level > 0 ? "." : " ";
}

static double rate_of(const struct live_row *row) {
    return row->rate;
}

static double p99_of(const struct live_row *row) {
    return row->answers > 0 ? (double)row->p99_us : 0;
}

static void show_bars(struct dashboard *d, const struct bars *b, const struct live *l,
                      size_t rows) {
    struct dashboard_line line = { .len = 0 };
    size_t room = d->view.columns > GUTTER + 3 ? d->view.columns - GUTTER - 2 : 1;
    room = room < CHART_COLUMNS_MAX ? room : CHART_COLUMNS_MAX;
    size_t first = l->row_count > room ? l->row_count - room : 0;
    double most = 0;
    for (size_t i = first; i < l->row_count; i++)
        most = fmax(most, b->value(&l->rows[i]));
    show(d, &line);
    paint(d, &line, DIM);
    add(&line, "%s", b->title);
    paint(d, &line, NORMAL);
    show(d, &line);
    most = most > 0 ? most : 1;
    for (size_t row = rows; row > 0; row--) {
        char text[32] = "0";
        double step = most / (double)rows;
        if (row == rows)
            b->format(most, text, sizeof(text));
        add(&line, "%*s ", GUTTER, row == rows || row == 1 ? text : "");
        paint(d, &line, b->colour);
        for (size_t i = first; i < l->row_count; i++)
            add(&line, "%s",
                cell(d, b->value(&l->rows[i]), step * (double)(row - 1), step * (double)row));
        paint(d, &line, NORMAL);
        show(d, &line);
    }
}

static void show_charts(struct dashboard *d, const struct live *l) {
    static const struct bars charts[] = {
        { "per second", BLUE, format_rate, rate_of },
        { "p99", GREEN, format_usec, p99_of },
    };
    size_t others = d->view.lines + OTHER_ROWS;
    size_t left = d->view.rows > others ? d->view.rows - others : 0;
    size_t rows = left / 2 < CHART_ROWS_MAX ? left / 2 : CHART_ROWS_MAX;
    for (size_t i = 0; rows >= CHART_ROWS_MIN && i < ARRAY_LEN(charts); i++)
        show_bars(d, &charts[i], l, rows);
}

/* --- the view --------------------------------------------------------------------------------- */

static void draw(struct dashboard *d, const struct live *l, const struct live_row *row) {
    struct dashboard_line line = { .len = 0 };
    terminal_view_begin(&d->view);
    show_title(d, l);
    show_bar(d, l, row);
    show(d, &line);
    show_counts(d, l, row);
    show_times(d, l, row);
    show_charts(d, l);
    show(d, &line);
    paint(d, &line, DIM);
    add(&line, "Ctrl-C ends the run and prints the report");
    paint(d, &line, NORMAL);
    show(d, &line);
    terminal_view_end(&d->view);
}

static void on_row(struct live_watcher *watcher, const struct live *l, const struct live_row *row) {
    draw(CONTAINER_OF(watcher, struct dashboard, watcher), l, row);
}

void dashboard_open(struct dashboard *d, struct live *l, FILE *out) {
    const struct live_row none = { .second = 0 };
    *d = (struct dashboard){ .watcher = { .on_row = on_row },
                             .is_utf8 = terminal_takes_utf8(),
                             .has_colour = terminal_takes_colour() };
    terminal_view_init(&d->view, out, TERMINAL_FULL);
    live_watch(l, &d->watcher);
    draw(d, l, &none);
}

void dashboard_close(struct dashboard *d) {
    terminal_view_close(&d->view);
}
