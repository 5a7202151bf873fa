/* SPDX-License-Identifier: MIT */
/* The base of the parts of a page: the reports that it tells of, and pieces of HTML. */
#ifndef BENCH_PAGE_PIECE_H
#define BENCH_PAGE_PIECE_H

#include "base/attr.h"
#include "base/hist.h"
#include "bench/chart.h"
#include <jansson.h>
#include <stdio.h>

enum {
    PAGE_RUNS_MAX = 2,
    PAGE_COLUMNS_MAX = 200, /* a longer run has several seconds in each */
    PAGE_WORDS = 256,
};

/* Rates per second; microseconds, the largest of its rows, NAN when nothing was answered. */
enum page_value { PAGE_RATE, PAGE_FAILED, PAGE_P50, PAGE_P99, PAGE_MAX, PAGE_VALUES };

/* A column of the charts over time: one row of the series, or several. */
struct page_column {
    double begin, end; /* seconds */
    double values[PAGE_VALUES];
    double in_flight;
    size_t first, last; /* rows */
};

struct page_run {
    json_t *root, *series;
    const char *name;
    struct page_column *columns;
    size_t count;
    struct hist *ended, *ages, *raw, *raw_ages; /* totals; those from the real start */
};

struct load_page {
    FILE *out;
    struct page_run runs[PAGE_RUNS_MAX];
    size_t count;
};

/* Takes what is drawn out of a report, which stays. 0 or -ENOMEM; for page_run_free either way. */
NODISCARD int page_run_read(struct page_run *run, json_t *root, const char *name);
void page_run_free(struct page_run *run);

/* --- figures of a report ---------------------------------------------------------------------- */

/* The member at a path such as "totals.rps"; NULL when there is none. */
json_t *page_at(json_t *root, const char *path);

/* Numbers, NAN or 0 when there is none; a text, or "". */
double page_number(json_t *root, const char *path);
double page_number_or_0(json_t *root, const char *path);
const char *page_words(json_t *root, const char *path);

/* The share up to which the percentiles of a distribution are known; all, when it does not say. */
double page_known(json_t *times);

/* "12,345"; with four digits below 1,000; "1.21 ms", or "-" for NAN. Return `text`. */
const char *page_count(double value, char text[static CHART_TEXT_BYTES]);
const char *page_rate(double value, char text[static CHART_TEXT_BYTES]);
const char *page_usec(double usec, bool at_least, char text[static CHART_TEXT_BYTES]);

/* --- pieces of HTML; plain texts are escaped, formats are markup ------------------------------ */

PRINTF_LIKE(2, 3)
void page_put(const struct load_page *p, const char *fmt, ...);

/* A table that scrolls when it is wider than the window; its column heads, with which the body
 * begins; its end. `kind` is a class of the style sheet. */
void page_table(const struct load_page *p, const char *caption, const char *kind);
void page_heads(const struct load_page *p, const char *const *heads, size_t count);
void page_table_end(const struct load_page *p);

/* The beginning of a row, which the caller closes, and a cell. */
void page_row_head(const struct load_page *p, const char *text);
void page_cell(const struct load_page *p, const char *text);

/* The title of something that is there for each run: no two are the same. Returns `text`. */
const char *page_title(const struct load_page *p, const struct page_run *run, const char *what,
                       char text[static PAGE_WORDS]);

/* The name of a run above its part of a page that shows two. */
void page_name(const struct load_page *p, const struct page_run *run);

/* A figure, up to where its keys go. */
void page_figure(const struct load_page *p, const struct page_run *run, const char *caption);
void page_key(const struct load_page *p, const char *kind, const char *text);

/* A sentence that stands out. */
void page_warning(const struct load_page *p, const char *before, const char *text);

#endif
