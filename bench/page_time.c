/* SPDX-License-Identifier: MIT */
/* Draws the rows per second of a report: rates, latencies, and how many answers took how long. */
#include "bench/page_time.h"
#include "base/alloc.h"
#include "bench/chart.h"
#include "loadgen/band.h"
#include <errno.h>
#include <math.h>
#include <string.h>

/* --- charts over time ------------------------------------------------------------------------- */

/* The least and the most of a value over all columns of all runs; 0 when there is none. */
static double extreme(const struct load_page *p, enum page_value value, bool least) {
    double found = NAN;
    for (size_t r = 0; r < p->count; r++)
        for (size_t i = 0; i < p->runs[r].count; i++) {
            double one = p->runs[r].columns[i].values[value];
            if (!isnan(one) && (isnan(found) || (least ? one < found : one > found)))
                found = one;
        }
    return isnan(found) ? 0 : found;
}

static struct chart_axis time_axis(const struct load_page *p) {
    struct chart_axis axis = { .to = 1e-3, .format = chart_seconds };
    for (size_t r = 0; r < p->count; r++)
        if (p->runs[r].count > 0)
            axis.to = fmax(axis.to, p->runs[r].columns[p->runs[r].count - 1].end);
    return axis;
}

/* Draws a value of each column in its middle. */
static void draw(const struct chart *c, const struct page_run *run, enum page_value value,
                 const char *kind, bool is_area) {
    struct chart_point points[PAGE_COLUMNS_MAX + 2];
    size_t count = 0;
    for (size_t i = 0; i < run->count && count < ARRAY_LEN(points); i++) {
        const struct page_column *one = &run->columns[i];
        points[count++] = (struct chart_point){ (one->begin + one->end) / 2, one->values[value] };
    }
    if (is_area)
        chart_area(c, kind, points, count);
    else
        chart_line(c, kind, points, count);
}

static void draw_strips(const struct chart *c, const struct page_run *run) {
    for (size_t i = 0; i < run->count; i++) {
        const struct page_column *one = &run->columns[i];
        char text[PAGE_WORDS], rate[CHART_TEXT_BYTES], p50[CHART_TEXT_BYTES], p99[CHART_TEXT_BYTES],
            max[CHART_TEXT_BYTES];
        snprintf(text, sizeof(text),
                 "%.4g to %.4g s: %s answers/s, %.4g failures/s, p50 %s, p99 %s, slowest %s, %.0f "
                 "in flight at the end",
                 one->begin, one->end, page_rate(one->values[PAGE_RATE], rate),
                 one->values[PAGE_FAILED], page_usec(one->values[PAGE_P50], false, p50),
                 page_usec(one->values[PAGE_P99], false, p99),
                 page_usec(one->values[PAGE_MAX], false, max), one->in_flight);
        chart_strip(c, one->begin, one->end, text);
    }
}

static void put_rate(const struct load_page *p, const struct page_run *run) {
    struct chart c = { .out = p->out, .x = time_axis(p) };
    double planned = 0;
    char label[PAGE_WORDS], least[CHART_TEXT_BYTES], most[CHART_TEXT_BYTES];
    struct load_page alone = { .runs = { *run }, .count = 1 };
    for (size_t i = 0; i < p->count; i++)
        planned = fmax(planned, page_number_or_0(p->runs[i].root, "config.rate"));
    double top = fmax(extreme(p, PAGE_RATE, false), extreme(p, PAGE_FAILED, false));
    c.y = chart_axis_linear(fmax(top, planned));
    c.y.format = chart_number;
    snprintf(label, sizeof(label), "Answers per second over time, from %s to %s",
             page_rate(extreme(&alone, PAGE_RATE, true), least),
             page_rate(extreme(&alone, PAGE_RATE, false), most));
    page_figure(p, run, "Per second");
    page_key(p, "line-a", "answers");
    page_key(p, "line-d", "failures");
    planned = page_number_or_0(run->root, "config.rate");
    if (planned > 0)
        page_key(p, "planned", "planned");
    page_put(p, "</span></figcaption>\n");
    chart_begin(&c, label);
    draw(&c, run, PAGE_RATE, "area-a", true);
    draw(&c, run, PAGE_RATE, "line-a", false);
    draw(&c, run, PAGE_FAILED, "line-d", false);
    if (planned > 0)
        chart_line(&c, "planned",
                   (struct chart_point[]){ { c.x.from, planned }, { c.x.to, planned } }, 2);
    draw_strips(&c, run);
    chart_end(&c);
    page_put(p, "</figure>\n");
}

static struct chart_axis latency_axis(const struct load_page *p) {
    struct chart_axis axis =
        chart_axis_log(extreme(p, PAGE_P50, true), extreme(p, PAGE_MAX, false));
    axis.format = chart_usec;
    return axis;
}

static void put_latency(const struct load_page *p, const struct page_run *run) {
    struct chart c = { .out = p->out, .x = time_axis(p), .y = latency_axis(p) };
    char label[PAGE_WORDS], p99[CHART_TEXT_BYTES], max[CHART_TEXT_BYTES];
    struct load_page alone = { .runs = { *run }, .count = 1 };
    snprintf(label, sizeof(label), "Latency over time: p99 of a second at most %s, slowest %s",
             page_usec(extreme(&alone, PAGE_P99, false), false, p99),
             page_usec(extreme(&alone, PAGE_MAX, false), false, max));
    page_figure(p, run, "Latency");
    page_key(p, "line-a", "p50");
    page_key(p, "line-b", "p99");
    page_key(p, "line-d", "slowest");
    page_put(p, "%s</span></figcaption>\n", c.y.is_log ? "<span>logarithmic</span>" : "");
    chart_begin(&c, label);
    draw(&c, run, PAGE_MAX, "line-d", false);
    draw(&c, run, PAGE_P99, "line-b", false);
    draw(&c, run, PAGE_P50, "line-a", false);
    draw_strips(&c, run);
    chart_end(&c);
    page_put(p, "</figure>\n");
}

/* --- the heat map ----------------------------------------------------------------------------- */

enum { HEAT_ROWS_MAX = 48 };

struct heat {
    uint64_t (*counts)[BANDS_MAX]; /* a row for each column of the charts */
    size_t first, last;            /* bands with something in them */
};

static void add_heat(struct heat *h, size_t column, json_t *buckets) {
    json_t *pair;
    size_t i;
    json_array_foreach(buckets, i, pair) {
        size_t band = band_of(json_integer_value(json_array_get(pair, 0)));
        json_int_t count = json_integer_value(json_array_get(pair, 1));
        if (count <= 0)
            continue;
        h->counts[column][band] += (uint64_t)count;
        h->first = band < h->first ? band : h->first;
        h->last = band > h->last ? band : h->last;
    }
}

/* -ENOMEM; or 0, and `counts` is for mem_free. */
static int read_heat(struct heat *h, const struct page_run *run) {
    *h = (struct heat){ .first = BANDS_MAX };
    h->counts = mem_calloc(run->count > 0 ? run->count : 1, sizeof(*h->counts));
    if (h->counts == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < run->count; i++)
        for (size_t row = run->columns[i].first; row <= run->columns[i].last; row++)
            add_heat(h, i, json_object_get(json_array_get(run->series, row), "histogram"));
    return 0;
}

/* The rows of a map: bands from `first` to before `end`, `each` of them in a row. */
struct heat_rows {
    size_t first, end, each;
};

static uint64_t heat_of(const struct heat *h, size_t column, size_t first, size_t each) {
    uint64_t sum = 0;
    for (size_t band = first; band < first + each && band < BANDS_MAX; band++)
        sum += h->counts[column][band];
    return sum;
}

static uint64_t heat_max(const struct heat *h, size_t columns, struct heat_rows rows) {
    uint64_t most = 0;
    for (size_t i = 0; i < columns; i++)
        for (size_t band = rows.first; band < rows.end; band += rows.each) {
            uint64_t count = heat_of(h, i, band, rows.each);
            most = count > most ? count : most;
        }
    return most;
}

static double edge(size_t band) {
    return fmax((double)band_first(band), 0.5);
}

static int draw_heat(const struct chart *c, const struct heat *h, const struct page_run *run,
                     struct heat_rows rows) {
    double most = (double)heat_max(h, run->count, rows);
    size_t count = 0, row_count = (rows.end - rows.first) / rows.each;
    struct chart_cell *cells = mem_calloc(run->count * row_count, sizeof(*cells));
    if (cells == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < run->count; i++)
        for (size_t band = rows.first; band < rows.end; band += rows.each) {
            uint64_t here = heat_of(h, i, band, rows.each);
            if (here > 0)
                cells[count++] = (struct chart_cell){
                    .left = run->columns[i].begin,
                    .right = run->columns[i].end,
                    .bottom = edge(band),
                    .top = edge(band + rows.each),
                    .level = (int)ceil(log1p((double)here) / log1p(most) * CHART_LEVELS),
                };
        }
    chart_cells(c, cells, count);
    mem_free(cells);
    return 0;
}

static void put_shades(const struct load_page *p, uint64_t most) {
    char text[CHART_TEXT_BYTES];
    page_put(p,
             "<span class=\"shades\">1 <svg viewBox=\"0 0 %d 1\" preserveAspectRatio=\"none\" "
             "aria-hidden=\"true\">",
             CHART_LEVELS);
    for (int i = 1; i <= CHART_LEVELS; i++)
        page_put(p, "<rect class=\"heat-%d\" x=\"%d\" width=\"1\" height=\"1\"/>", i, i - 1);
    page_put(p, "</svg> %s answers</span>", page_count((double)most, text));
}

/* Both runs have their own scale of shades, and one axis. */
static int put_heat(const struct load_page *p, const struct page_run *run, const struct heat *h,
                    struct heat_rows rows) {
    struct chart c = { .out = p->out,
                       .x = time_axis(p),
                       .y = { edge(rows.first), edge(rows.end), chart_usec, .is_log = true } };
    char label[PAGE_WORDS], least[CHART_TEXT_BYTES], most[CHART_TEXT_BYTES];
    snprintf(label, sizeof(label),
             "Number of answers by time and latency, between %s and %s; the table of all seconds "
             "tells p50, p99 and the slowest",
             page_usec(c.y.from, false, least), page_usec(c.y.to, false, most));
    page_figure(p, run, "How many answers took how long");
    put_shades(p, heat_max(h, run->count, rows));
    page_put(p, "</span></figcaption>\n<div class=\"tall\">");
    chart_begin(&c, label);
    int rc = draw_heat(&c, h, run, rows);
    draw_strips(&c, run);
    chart_end(&c);
    page_put(p, "</div></figure>\n");
    return rc;
}

static int put_heats(const struct load_page *p) {
    struct heat heats[PAGE_RUNS_MAX] = { { .counts = NULL } };
    struct heat_rows rows = { BANDS_MAX, 0, 1 };
    int rc = 0;
    for (size_t i = 0; i < p->count && rc == 0; i++) {
        rc = read_heat(&heats[i], &p->runs[i]);
        rows.first = heats[i].first < rows.first ? heats[i].first : rows.first;
        rows.end = heats[i].last + 1 > rows.end ? heats[i].last + 1 : rows.end;
    }
    while (rows.end > rows.first && (rows.end - rows.first) / rows.each > HEAT_ROWS_MAX)
        rows.each *= 2;
    rows.first -= rows.first % rows.each;
    rows.end += (rows.each - rows.end % rows.each) % rows.each;
    page_put(p, "<div class=\"card pair\">\n");
    for (size_t i = 0; i < p->count && rc == 0; i++) {
        if (heats[i].first <= heats[i].last)
            rc = put_heat(p, &p->runs[i], &heats[i], rows);
        else
            page_put(p, "<p class=\"note\">No histogram per second was recorded%s.</p>\n",
                     p->count > 1 ? " there" : "");
    }
    page_put(p, "</div>\n");
    for (size_t i = 0; i < p->count; i++)
        mem_free(heats[i].counts);
    return rc;
}

int page_times(const struct load_page *p) {
    page_put(p, "<h2>Over time</h2>\n");
    if (p->runs[0].count == 0) {
        page_put(p, "<p class=\"note\">The report has no rows per second.</p>\n");
        return 0;
    }
    if (json_array_size(p->runs[0].series) > PAGE_COLUMNS_MAX)
        page_put(
            p, "<p class=\"note\">Each point stands for several seconds: for their mean rate, and "
               "for the largest of their percentiles.</p>\n");
    page_put(p, "<div class=\"card pair\">\n");
    for (size_t i = 0; i < p->count; i++)
        put_rate(p, &p->runs[i]);
    for (size_t i = 0; i < p->count; i++)
        put_latency(p, &p->runs[i]);
    page_put(p, "</div>\n");
    return put_heats(p);
}
