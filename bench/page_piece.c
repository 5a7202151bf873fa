/* SPDX-License-Identifier: MIT */
/* Reads what a page tells of a report, and writes pieces of HTML. */
#include "bench/page_piece.h"
#include "base/alloc.h"
#include "base/html.h"
#include "base/slice.h"
#include "loadgen/percentile.h"
#include "loadgen/section.h"
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

/* --- figures of a report ---------------------------------------------------------------------- */

/* The member at a path such as "totals.rps"; NULL when there is none. */
json_t *page_at(json_t *root, const char *path) {
    struct slice rest = slice_str(path);
    while (root != NULL && rest.len > 0) {
        char key[64];
        struct slice one = slice_cut(&rest, '.');
        snprintf(key, sizeof(key), "%.*s", (int)one.len, one.ptr);
        root = json_object_get(root, key);
    }
    return root;
}

double page_number(json_t *root, const char *path) {
    json_t *value = page_at(root, path);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

double page_number_or_0(json_t *root, const char *path) {
    return json_number_value(page_at(root, path));
}

double page_known(json_t *times) {
    double share = page_number(times, "known_share");
    return isnan(share) ? 1 : share;
}

const char *page_words(json_t *root, const char *path) {
    const char *text = json_string_value(page_at(root, path));
    return text != NULL ? text : "";
}

/* "12,345": digits in threes. Returns `text`. */
const char *page_count(double value, char text[static CHART_TEXT_BYTES]) {
    char digits[CHART_TEXT_BYTES];
    int len = snprintf(digits, sizeof(digits), "%.0f", value), used = 0;
    if (len > 18)
        return strcpy(text, digits);
    for (int i = 0; i < len; i++) {
        text[used++] = digits[i];
        if ((len - 1 - i) % 3 == 0 && i < len - 1 && digits[i] != '-')
            text[used++] = ',';
    }
    text[used] = '\0';
    return text;
}

const char *page_rate(double value, char text[static CHART_TEXT_BYTES]) {
    if (value >= 1000)
        return page_count(value, text);
    snprintf(text, CHART_TEXT_BYTES, "%.4g", value);
    return text;
}

const char *page_usec(double usec, bool at_least, char text[static CHART_TEXT_BYTES]) {
    if (isnan(usec))
        return strcpy(text, "-");
    return percentile_format(
        (struct percentile_value){ (int64_t)fmin(fmax(usec, 0), 1e15), at_least }, text);
}

/* --- the rows per second ---------------------------------------------------------------------- */

static void add_row(struct page_column *c, json_t *row) {
    static const struct {
        enum page_value value;
        const char *key;
    } times[] = { { PAGE_P50, "p50_us" }, { PAGE_P99, "p99_us" }, { PAGE_MAX, "max_us" } };
    double so_far = c->end - c->begin, span = so_far + page_number_or_0(row, "seconds");
    double failed = page_number_or_0(row, "failed");
    double answers = page_number_or_0(row, "requests") - failed;
    if (span > 0) {
        c->values[PAGE_RATE] = (c->values[PAGE_RATE] * so_far + answers) / span;
        c->values[PAGE_FAILED] = (c->values[PAGE_FAILED] * so_far + failed) / span;
    }
    c->end = c->begin + span;
    c->in_flight = page_number_or_0(row, "in_flight");
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        double *value = &c->values[times[i].value];
        *value = fmax(*value, page_number(row, times[i].key)); /* a number, if one of them is */
    }
}

static int read_series(struct page_run *run) {
    size_t rows = json_array_size(run->series);
    size_t each = (rows + PAGE_COLUMNS_MAX - 1) / PAGE_COLUMNS_MAX;
    run->columns = mem_calloc(rows > 0 ? rows : 1, sizeof(*run->columns));
    if (run->columns == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < rows; i++) {
        json_t *row = json_array_get(run->series, i);
        struct page_column *c = &run->columns[i / each];
        if (i % each == 0) {
            c->begin = c->end = page_number_or_0(row, "second") - page_number_or_0(row, "seconds");
            c->values[PAGE_P50] = c->values[PAGE_P99] = c->values[PAGE_MAX] = NAN;
            c->first = i;
            run->count++;
        }
        add_row(c, row);
        c->last = i;
    }
    return 0;
}

/* --- the distributions ------------------------------------------------------------------------ */

static struct hist *read_histogram(json_t *root, const char *path) {
    struct hist *h = hist_new();
    if (h != NULL)
        section_add_histogram(h, page_at(root, path));
    return h;
}

int page_run_read(struct page_run *run, json_t *root, const char *name) {
    *run = (struct page_run){ .root = root, .name = name, .series = page_at(root, "series") };
    run->ended = read_histogram(root, "histograms.latency_us");
    run->ages = read_histogram(root, "ages.latency_us");
    run->raw = read_histogram(root, "histograms.uncorrected_us");
    run->raw_ages = read_histogram(root, "ages.uncorrected_us");
    if (run->ended == NULL || run->ages == NULL || run->raw == NULL || run->raw_ages == NULL)
        return -ENOMEM;
    return read_series(run);
}

void page_run_free(struct page_run *run) {
    hist_free(run->ended);
    hist_free(run->ages);
    hist_free(run->raw);
    hist_free(run->raw_ages);
    mem_free(run->columns);
}

/* --- pieces of the page ----------------------------------------------------------------------- */

void page_put(const struct load_page *p, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vfprintf(p->out, fmt, args);
    va_end(args);
}

void page_cell(const struct load_page *p, const char *text) {
    page_put(p, "<td>");
    html_text(p->out, text);
    page_put(p, "</td>");
}

void page_row_head(const struct load_page *p, const char *text) {
    page_put(p, "<tr><th scope=\"row\">");
    html_text(p->out, text);
    page_put(p, "</th>");
}

/* A table may be wider than the window: then the part that holds it scrolls, by keys as well. */
void page_table(const struct load_page *p, const char *caption, const char *kind) {
    page_put(p, "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"");
    html_text(p->out, caption);
    page_put(p, "\"><table class=\"%s\"><caption>", kind);
    html_text(p->out, caption);
    page_put(p, "</caption>\n");
}

void page_heads(const struct load_page *p, const char *const *heads, size_t count) {
    page_put(p, "<thead><tr>");
    for (size_t i = 0; i < count; i++)
        page_put(p, heads[i][0] == '\0' ? "<td></td>" : "<th scope=\"col\">%s</th>", heads[i]);
    page_put(p, "</tr></thead>\n<tbody>\n");
}

void page_table_end(const struct load_page *p) {
    page_put(p, "</tbody></table></div>\n");
}

const char *page_title(const struct load_page *p, const struct page_run *run, const char *what,
                       char text[static PAGE_WORDS]) {
    snprintf(text, PAGE_WORDS, p->count > 1 ? "%s: %s" : "%s", what, run->name);
    return text;
}

/* The name of a run above its part of a page that shows two. */
void page_name(const struct load_page *p, const struct page_run *run) {
    if (p->count == 1)
        return;
    page_put(p, "<p class=\"name\">");
    html_text(p->out, run->name);
    page_put(p, "</p>\n");
}

void page_figure(const struct load_page *p, const struct page_run *run, const char *caption) {
    page_put(p, "<figure><figcaption>%s", caption);
    if (p->count > 1) {
        page_put(p, ": ");
        html_text(p->out, run->name);
    }
    page_put(p, " <span class=\"legend\">");
}

void page_key(const struct load_page *p, const char *kind, const char *text) {
    page_put(p, "<span class=\"key %s\">%s</span>", kind, text);
}

void page_warning(const struct load_page *p, const char *before, const char *text) {
    page_put(p, "<p class=\"notice warning\">%s", before);
    html_text(p->out, text);
    page_put(p, "</p>\n");
}
