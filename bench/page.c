/* SPDX-License-Identifier: MIT */
/* Draws and tabulates a report, and two of them side by side. What is drawn is told in words, too:
 * in the labels of the drawings and in the tables. */
#include "bench/page.h"
#include "base/html.h"
#include "base/slice.h"
#include "base/stream.h"
#include "bench/chart.h"
#include "bench/page_knee.h"
#include "bench/page_member.h"
#include "bench/page_piece.h"
#include "bench/page_time.h"
#include "loadgen/counters.h"
#include "loadgen/percentile.h"
#include <errno.h>
#include <math.h>
#include <string.h>

extern const char bench_page[]; /* page.html, made a string by embed.py */

enum { CURVE_STEPS = 160 };

/* --- what came out ---------------------------------------------------------------------------- */

enum figure_kind { FIGURE_RATE, FIGURE_COUNT, FIGURE_SECONDS, FIGURE_USEC };

static const struct figure {
    const char *label, *path;
    enum figure_kind kind;
    double share; /* the percentile it is */
    bool is_bad;  /* unless it is 0 */
} figures[] = {
    { "answers per second", "totals.rps", FIGURE_RATE, 0 },
    { "answers", "totals.succeeded", FIGURE_COUNT, 0 },
    { "errors", "totals.errors", FIGURE_COUNT, 0, true },
    { "seconds", "totals.seconds", FIGURE_SECONDS, 0 },
    { "p50", "latency_us.p50", FIGURE_USEC, 0.5 },
    { "p90", "latency_us.p90", FIGURE_USEC, 0.9 },
    { "p99", "latency_us.p99", FIGURE_USEC, 0.99 },
    { "p99.9", "latency_us.p99_9", FIGURE_USEC, 0.999 },
    { "slowest", "latency_us.max", FIGURE_USEC, 1 },
};

/* Whether a percentile lies beyond what is known of it. */
static bool is_bound(json_t *root, const struct figure *f) {
    return f->kind == FIGURE_USEC && f->share > page_known(page_at(root, "latency_us"));
}

static const char *show_figure(json_t *root, const struct figure *f,
                               char text[static CHART_TEXT_BYTES]) {
    double value = page_number(root, f->path);
    if (isnan(value))
        return strcpy(text, "-");
    switch (f->kind) {
    case FIGURE_RATE:
        return page_rate(value, text);
    case FIGURE_COUNT:
        return page_count(value, text);
    case FIGURE_SECONDS:
        snprintf(text, CHART_TEXT_BYTES, "%.3f", value);
        return text;
    case FIGURE_USEC:
        break;
    }
    return page_usec(value, is_bound(root, f), text);
}

static void put_facts(const struct load_page *p) {
    char text[CHART_TEXT_BYTES];
    page_put(p, "<dl class=\"facts\">\n");
    for (size_t i = 0; i < ARRAY_LEN(figures); i++)
        page_put(p, "<div><dt>%s</dt><dd%s>%s</dd></div>\n", figures[i].label,
                 figures[i].is_bad && page_number(p->runs[0].root, figures[i].path) > 0
                     ? " class=\"bad\""
                     : "",
                 show_figure(p->runs[0].root, &figures[i], text));
    page_put(p, "</dl>\n");
}

static void put_comparison(const struct load_page *p) {
    char text[CHART_TEXT_BYTES];
    static const char *const heads[] = { "", "this run", "other run", "change" };
    page_table(p, "Side by side", "");
    page_heads(p, heads, ARRAY_LEN(heads));
    for (size_t i = 0; i < ARRAY_LEN(figures); i++) {
        const struct figure *f = &figures[i];
        double now = page_number(p->runs[0].root, f->path),
               then = page_number(p->runs[1].root, f->path);
        page_row_head(p, f->label);
        for (size_t r = 0; r < PAGE_RUNS_MAX; r++)
            page_cell(p, show_figure(p->runs[r].root, f, text));
        if (then > 0 && !isnan(now) && !is_bound(p->runs[0].root, f) &&
            !is_bound(p->runs[1].root, f))
            page_put(p, "<td>%+.1f %%</td></tr>\n", (now - then) / then * 100);
        else
            page_put(p, "<td>-</td></tr>\n");
    }
    page_table_end(p);
    page_put(p, "<p class=\"note\">One run of each: a difference may be chance.</p>\n");
}

/* The value of a condition in the unit that the condition has. */
static const char *show_value(const char *condition, double value,
                              char text[static CHART_TEXT_BYTES]) {
    if (strchr(condition, '%') != NULL)
        snprintf(text, CHART_TEXT_BYTES, "%.4g %%", value * 100);
    else if (strncmp(condition, "rps", 3) == 0 || strpbrk(condition, "smu") == NULL)
        snprintf(text, CHART_TEXT_BYTES, "%.6g", value);
    else
        page_usec(value, false, text);
    return text;
}

static void put_condition(const struct load_page *p, json_t *one) {
    bool failed = json_is_true(page_at(one, "failed")), stops = page_at(one, "abort_if") != NULL;
    const char *condition = page_words(one, stops ? "abort_if" : "fail_if");
    double value = page_number(one, "value");
    char text[CHART_TEXT_BYTES];
    page_put(p, "<li><span class=\"%s\">%s</span> --%s ", failed ? "bad" : "good",
             failed ? "FAILED" : "passed", stops ? "abort-if" : "fail-if");
    html_text(p->out, condition);
    page_put(p, ": %s%s</li>\n", json_is_true(page_at(one, "at_least")) ? "at least " : "",
             isnan(value) ? "not known" : show_value(condition, value, text));
}

static void put_conditions(const struct load_page *p, json_t *root) {
    json_t *conditions = page_at(root, "conditions"), *one;
    size_t i;
    if (json_array_size(conditions) == 0)
        return;
    page_put(p, "<ul class=\"verdicts\">\n");
    json_array_foreach(conditions, i, one) {
        put_condition(p, one);
    }
    page_put(p, "</ul>\n");
}

static void put_verdicts(const struct load_page *p, const struct page_run *run) {
    json_t *root = run->root;
    double planned = page_number_or_0(root, "totals.planned");
    double missed =
        page_number_or_0(root, "totals.late") + page_number_or_0(root, "totals.dropped");
    char text[PAGE_WORDS], count[CHART_TEXT_BYTES], of[CHART_TEXT_BYTES];
    put_conditions(p, root);
    if (page_words(root, "stopped_by")[0] != '\0')
        page_warning(p, "Stopped early by ", page_words(root, "stopped_by"));
    if (page_words(root, "generator.was_the_limit")[0] != '\0')
        page_warning(p, "The generator, not the server, was the limit: ",
                     page_words(root, "generator.was_the_limit"));
    if (missed * 20 > planned) {
        snprintf(text, sizeof(text), "%s of %s requests began late or never.",
                 page_count(missed, count), page_count(planned, of));
        page_warning(p, "The planned rate was not held: ", text);
    }
}

static void put_model(const struct load_page *p, json_t *root) {
    char text[CHART_TEXT_BYTES];
    const char *stages = page_words(root, "config.stages");
    bool has_rate = !isnan(page_number(root, "config.rate"));
    page_count(page_number_or_0(root, "config.concurrency"), text);
    if (stages[0] == '\0' && !has_rate) {
        page_put(p, "%s connections at once", text);
        return;
    }
    if (has_rate)
        page_put(p, "%g/s planned ", page_number(root, "config.rate"));
    else
        page_put(p, "stages ");
    html_text(p->out, has_rate ? page_words(root, "config.arrivals") : stages);
    page_put(p, ", at most %s connections", text);
}

/* Says what was loaded, and how. */
static void put_load(const struct load_page *p, json_t *root) {
    page_put(p, "<p class=\"soft\">");
    html_text(p->out, page_words(root, "config.method"));
    page_put(p, ", ");
    put_model(p, root);
    page_put(p, json_is_true(page_at(root, "config.keep_alive")) ? ", kept alive"
                                                                 : ", a new one for each");
    page_put(p, "; <span class=\"when\">");
    html_text(p->out, page_words(root, "environment.started"));
    page_put(p, "</span>; srv ");
    html_text(p->out, page_words(root, "version"));
    page_put(p, ", ");
    html_text(p->out, page_words(root, "environment.system"));
    page_put(p, " ");
    html_text(p->out, page_words(root, "environment.release"));
    page_put(p, ", %.0f processors.</p>\n", page_number_or_0(root, "environment.processors"));
}

static void put_top(const struct load_page *p) {
    const char *url = page_words(p->runs[0].root, "config.url");
    page_put(p, "<header>\n<h1>");
    html_text(p->out, url[0] != '\0' ? url : "A run of srv bench");
    page_put(p, "</h1>\n</header>\n<div class=\"pair\">\n");
    for (size_t i = 0; i < p->count; i++) {
        page_put(p, "<div>\n");
        page_name(p, &p->runs[i]);
        if (p->count > 1) {
            page_put(p, "<p>");
            html_text(p->out, page_words(p->runs[i].root, "config.url"));
            page_put(p, "</p>\n");
        }
        put_load(p, p->runs[i].root);
        put_verdicts(p, &p->runs[i]);
        page_put(p, "</div>\n");
    }
    page_put(p, "</div>\n");
    page_put(p, "<div class=\"card\">\n");
    if (p->count == 1)
        put_facts(p);
    else
        put_comparison(p);
    page_put(p, "</div>\n");
}

/* --- the percentile curve --------------------------------------------------------------------- */

/* Draws the known part of a curve, or what lies beyond it. */
static void draw_part(const struct chart *c, struct times t, const char *kind, bool beyond) {
    struct chart_point points[CURVE_STEPS + 1];
    double end = log10((double)percentile_count(t)), known = percentile_known(t);
    for (size_t i = 0; i <= CURVE_STEPS; i++) {
        double nines = end * (double)i / CURVE_STEPS, share = 1 - pow(10, -nines);
        bool is_here = (share > known) == beyond;
        points[i] =
            (struct chart_point){ nines, is_here ? (double)percentile_of(t, share).usec : NAN };
    }
    chart_line(c, kind, points, ARRAY_LEN(points));
}

static void draw_curve(const struct chart *c, struct times t, const char *kind) {
    char dashed[CHART_TEXT_BYTES];
    draw_part(c, t, kind, false);
    snprintf(dashed, sizeof(dashed), "%s dashed", kind);
    if (percentile_known(t) < 1)
        draw_part(c, t, dashed, true);
}

static struct times totals_of(const struct page_run *run) {
    return (struct times){ run->ended, run->ages };
}

static struct times raw_of(const struct page_run *run) {
    return (struct times){ run->raw, run->raw_ages };
}

static void set_curve_axes(const struct load_page *p, struct chart *c) {
    double least = INFINITY, most = 0, count = 10;
    for (size_t i = 0; i < p->count; i++) {
        struct times t = totals_of(&p->runs[i]);
        least = fmin(least, fmax((double)percentile_of(t, 0).usec, 1));
        most = fmax(most, (double)percentile_max(t).usec);
        count = fmax(count, (double)percentile_count(t));
    }
    c->x = (struct chart_axis){ .to = log10(count), .format = chart_nines, .is_whole = true };
    c->y = chart_axis_log(least, most);
    c->y.format = chart_usec;
}

static void put_curve(const struct load_page *p) {
    struct chart c = { .out = p->out };
    struct times raw = raw_of(&p->runs[0]), total = totals_of(&p->runs[0]);
    bool planned = page_number_or_0(p->runs[0].root, "totals.planned") > 0;
    char label[PAGE_WORDS], p50[CHART_TEXT_BYTES], p99[CHART_TEXT_BYTES], max[CHART_TEXT_BYTES];
    struct percentile_value half = percentile_of(total, 0.5), most = percentile_max(total),
                            tail = percentile_of(total, 0.99);
    snprintf(label, sizeof(label), "Latency by percentile: p50 %s, p99 %s, slowest %s",
             percentile_format(half, p50), percentile_format(tail, p99),
             percentile_format(most, max));
    set_curve_axes(p, &c);
    page_put(p, "<figure><figcaption>Latency by percentile <span class=\"legend\">");
    page_key(p, "line-a", planned ? "from the planned start" : "all");
    if (planned)
        page_key(p, "line-b", "uncorrected, from the real start");
    if (p->count > 1)
        page_key(p, "line-e", p->runs[1].name);
    if (percentile_known(total) < 1)
        page_key(p, "line-a dashed", "a lower bound: not all were answered");
    page_put(p, "</span></figcaption>\n<div class=\"tall\">");
    chart_begin(&c, label);
    if (p->count > 1 && percentile_count(totals_of(&p->runs[1])) > 0)
        draw_curve(&c, totals_of(&p->runs[1]), "line-e");
    if (planned && percentile_count(raw) > 0)
        draw_curve(&c, raw, "line-b");
    draw_curve(&c, total, "line-a");
    chart_end(&c);
    page_put(p, "</div></figure>\n");
}

static const struct {
    const char *label, *key;
} distributions[] = {
    { "all", "latency_us" },
    { "undisturbed by a pause of ours", "undisturbed_us" },
    { "uncorrected", "uncorrected_us" },
    { "on a new connection", "new_us" },
    { "on a reused one", "reused_us" },
    { "queue of the generator", "queue_us" },
    { "connect", "connect_us" },
    { "of it TLS", "tls_us" },
    { "send", "send_us" },
    { "first byte", "wait_us" },
    { "receive", "receive_us" },
};

static void put_distribution(const struct load_page *p, const char *label, json_t *times) {
    static const struct {
        const char *key;
        double share;
    } points[] = {
        { "p50", 0.5 }, { "p90", 0.9 }, { "p99", 0.99 }, { "p99_9", 0.999 }, { "max", 1 }
    };
    char text[CHART_TEXT_BYTES];
    double known = page_known(times);
    page_row_head(p, label);
    for (size_t i = 0; i < ARRAY_LEN(points); i++)
        page_cell(p, page_usec(page_number(times, points[i].key), points[i].share > known, text));
    page_cell(p, page_usec(page_number(times, "mean"), false, text));
    page_cell(p, page_usec(page_number(times, "min"), false, text));
    page_cell(p, page_count(page_number_or_0(times, "count"), text));
    page_put(p, "</tr>\n");
}

/* Rows that say nothing, such as phases that took no time, are left out as in the text. */
static void put_distributions(const struct load_page *p, const struct page_run *run) {
    static const char *const heads[] = { "",        "p50",     "p90",     "p99",     "p99.9",
                                         "slowest", "average", "fastest", "requests" };
    char title[PAGE_WORDS];
    page_table(p, page_title(p, run, "Times", title), "");
    page_heads(p, heads, ARRAY_LEN(heads));
    for (size_t i = 0; i < ARRAY_LEN(distributions); i++) {
        json_t *times = page_at(run->root, distributions[i].key);
        if (page_number_or_0(times, "max") > 0)
            put_distribution(p, distributions[i].label, times);
    }
    page_table_end(p);
}

static void put_latencies(const struct load_page *p) {
    page_put(p, "<h2>Latency</h2>\n");
    if (percentile_count(totals_of(&p->runs[0])) == 0) {
        page_put(p, "<p class=\"note\">Nothing was answered.</p>\n");
        return;
    }
    page_put(p, "<div class=\"card\">\n");
    put_curve(p);
    page_put(p, "</div>\n");
    for (size_t i = 0; i < p->count; i++) {
        page_put(p, "<div class=\"card\">\n");
        put_distributions(p, &p->runs[i]);
        page_put(p, "</div>\n");
    }
    page_put(p,
             "<p class=\"note\">&gt; is a lower bound: so many had no answer that the percentile "
             "is not known.</p>\n");
}

/* --- statuses and failures -------------------------------------------------------------------- */

static void put_bar(const struct load_page *p, const char *label, double count, double whole,
                    bool bad) {
    char text[CHART_TEXT_BYTES];
    page_row_head(p, label);
    page_cell(p, page_count(count, text));
    page_put(p,
             "<td>%.4g %%</td><td class=\"bar-cell\"><span class=\"bar%s\" style=\"width:%.2f%%\">"
             "</span></td></tr>\n",
             count / whole * 100, bad ? " bad" : "", fmax(count / whole * 100, 0.5));
}

static const char *failure_words(const char *key) {
    for (int i = 0; i < FAILURE_COUNT; i++)
        if (strcmp(failure_infos[i].key, key) == 0)
            return failure_infos[i].text;
    return key;
}

static void put_outcomes_of(const struct load_page *p, const struct page_run *run) {
    static const char *const heads[] = { "", "requests", "share", "" };
    double whole = fmax(page_number_or_0(run->root, "totals.requests"), 1);
    const char *key;
    json_t *count;
    char title[PAGE_WORDS];
    page_table(p, page_title(p, run, "Ends of the requests", title), "");
    page_heads(p, heads, ARRAY_LEN(heads));
    json_object_foreach(page_at(run->root, "statuses"), key, count) {
        char label[CHART_TEXT_BYTES];
        snprintf(label, sizeof(label), "status %.8s", key);
        put_bar(p, label, json_number_value(count), whole, key[0] != '2');
    }
    json_object_foreach(page_at(run->root, "failures"), key, count) {
        if (json_number_value(count) > 0)
            put_bar(p, failure_words(key), json_number_value(count), whole, true);
    }
    page_table_end(p);
}

static void put_outcomes(const struct load_page *p) {
    page_put(p, "<h2>Statuses and failures</h2>\n<div class=\"card pair\">\n");
    for (size_t i = 0; i < p->count; i++)
        put_outcomes_of(p, &p->runs[i]);
    page_put(p, "</div>\n");
}

/* --- what features add ------------------------------------------------------------------------ */

/* Members that the page tells elsewhere, in its own way. */
static bool is_told(const char *key) {
    static const char *const told[] = {
        "schema",         "version",       "environment",  "config",   "server_software",
        "document_bytes", "stopped_by",    "totals",       "failures", "statuses",
        "body_lengths",   "histograms",    "ages",         "series",   "conditions",
        "generator",      "processing_us", "disturbed_us", "overrun",
    };
    for (size_t i = 0; i < ARRAY_LEN(told); i++)
        if (strcmp(told[i], key) == 0)
            return true;
    for (size_t i = 0; i < ARRAY_LEN(distributions); i++)
        if (strcmp(distributions[i].key, key) == 0)
            return true;
    return false;
}

static void put_section(const struct load_page *p, const char *key) {
    char text[PAGE_WORDS], title[PAGE_WORDS];
    page_key_words(key, text);
    if (text[0] >= 'a' && text[0] <= 'z')
        text[0] = (char)(text[0] - 'a' + 'A');
    page_put(p, "<h2>");
    html_text(p->out, text);
    page_put(p, "</h2>\n");
    for (size_t i = 0; i < p->count; i++) {
        json_t *value = json_object_get(p->runs[i].root, key);
        if (!page_has_words(value))
            continue;
        page_put(p, "<div class=\"card\">\n");
        page_member(p, page_title(p, &p->runs[i], text, title), value);
        page_put(p, "</div>\n");
    }
}

/* The parts that features add to a report, in its order; then those of the other report alone. */
static void put_sections(const struct load_page *p) {
    const char *key;
    json_t *value;
    for (size_t i = 0; i < p->count; i++)
        json_object_foreach(p->runs[i].root, key, value) {
            bool was_there = i > 0 && page_has_words(json_object_get(p->runs[0].root, key));
            if (page_has_words(value) && !is_told(key) && !was_there &&
                (strcmp(key, "addresses") != 0 || json_array_size(value) > 1))
                put_section(p, key);
        }
}

/* --- the generator, and how it was told to -------------------------------------------------- */

static void put_generator_of(const struct load_page *p, const struct page_run *run) {
    json_t *g = page_at(run->root, "generator");
    char text[CHART_TEXT_BYTES];
    double seconds = page_number_or_0(run->root, "totals.seconds");
    if (!json_is_object(g)) {
        page_put(p, "<p class=\"note\">The report tells nothing of it.</p>\n");
        return;
    }
    char title[PAGE_WORDS];
    page_table(p, page_title(p, run, "Health of the generator", title), "plain");
    page_put(p, "<tbody>\n<tr><th scope=\"row\">processor</th><td>%.1f %% of one</td></tr>\n",
             seconds > 0 ? page_number_or_0(g, "cpu_s") / seconds * 100 : 0);
    page_put(p, "<tr><th scope=\"row\">busiest worker</th><td>%.1f %% of a processor</td></tr>\n",
             page_number_or_0(g, "busiest_worker") * 100);
    page_put(p, "<tr><th scope=\"row\">lateness of its loop</th><td>p50 %s, ",
             page_usec(page_number(g, "lag_us.p50"), false, text));
    page_put(p, "p99 %s, ", page_usec(page_number(g, "lag_us.p99"), false, text));
    page_put(p, "most %s</td></tr>\n", page_usec(page_number(g, "lag_us.max"), false, text));
    page_put(p, "<tr><th scope=\"row\">pauses</th><td>%s, ",
             page_count(page_number_or_0(g, "pauses.count"), text));
    page_put(p, "%.3f s together, the longest %.3f s</td></tr>\n",
             page_number_or_0(g, "pauses.seconds"), page_number_or_0(g, "pauses.longest_s"));
    page_put(p, "<tr><th scope=\"row\">local ports that wait</th><td>%s",
             page_count(page_number_or_0(g, "ports_waiting"), text));
    page_put(p, " of %s</td></tr>\n", page_count(page_number_or_0(g, "ports"), text));
    page_put(p, "<tr><th scope=\"row\">listen queues that overflowed</th><td>%s</td></tr>\n",
             page_count(page_number_or_0(g, "listen_overflows"), text));
    page_table_end(p);
}

static void put_generator(const struct load_page *p) {
    page_put(p, "<h2>The generator itself</h2>\n<p>A figure is the server's only while the "
                "generator has time left.</p>\n<div class=\"card pair\">\n");
    for (size_t i = 0; i < p->count; i++)
        put_generator_of(p, &p->runs[i]);
    page_put(p, "</div>\n");
}

static void put_seconds_of(const struct load_page *p, const struct page_run *run) {
    static const char *const heads[] = { "until second", "answers/s", "failures/s", "p50",
                                         "p99",          "slowest",   "in flight" };
    static const enum page_value times[] = { PAGE_P50, PAGE_P99, PAGE_MAX };
    char text[CHART_TEXT_BYTES], title[PAGE_WORDS];
    page_put(p, "<details><summary>The figures of the charts over time");
    if (p->count > 1) {
        page_put(p, ": ");
        html_text(p->out, run->name);
    }
    page_put(p, "</summary>\n");
    page_table(p, page_title(p, run, "Second by second", title), "");
    page_heads(p, heads, ARRAY_LEN(heads));
    for (size_t i = 0; i < run->count; i++) {
        const struct page_column *c = &run->columns[i];
        page_put(p, "<tr><th scope=\"row\">%.4g</th>", c->end);
        page_cell(p, page_rate(c->values[PAGE_RATE], text));
        page_cell(p, page_rate(c->values[PAGE_FAILED], text));
        for (size_t j = 0; j < ARRAY_LEN(times); j++)
            page_cell(p, page_usec(c->values[times[j]], false, text));
        page_cell(p, page_count(c->in_flight, text));
        page_put(p, "</tr>\n");
    }
    page_table_end(p);
    page_put(p, "</details>\n");
}

static void put_setup(const struct load_page *p) {
    char title[PAGE_WORDS];
    page_put(p, "<h2>How it was run</h2>\n");
    for (size_t i = 0; i < p->count; i++) {
        const struct page_run *run = &p->runs[i];
        page_put(p, "<div class=\"card\">\n");
        page_name(p, run);
        if (page_words(run->root, "config.command")[0] != '\0') {
            page_put(p, "<pre tabindex=\"0\">");
            html_text(p->out, page_words(run->root, "config.command"));
            page_put(p, "</pre>\n");
        }
        page_put(p, "<details><summary>Configuration and environment</summary>\n");
        page_members(p, page_title(p, run, "Configuration", title), page_at(run->root, "config"));
        page_members(p, page_title(p, run, "Environment", title),
                     page_at(run->root, "environment"));
        page_put(p, "</details>\n");
        put_seconds_of(p, run);
        page_put(p, "</div>\n");
    }
}

/* --- the page --------------------------------------------------------------------------------- */

static int put_body(const struct load_page *p) {
    if (strcmp(page_words(p->runs[0].root, "schema"), "srv-bench-max/1") == 0) {
        page_knee(p, p->runs[0].root);
        return 0;
    }
    put_top(p);
    int rc = page_times(p);
    put_latencies(p);
    put_outcomes(p);
    put_sections(p);
    put_generator(p);
    put_setup(p);
    return rc;
}

static int put_page(const struct load_page *p) {
    const char *rest = bench_page;
    html_template(&rest, "<!--title-->", p->out);
    page_put(p, "srv bench: ");
    html_text(p->out, page_words(p->runs[0].root, "config.url"));
    html_template(&rest, "/*style*/", p->out);
    fputs(html_style, p->out);
    html_template(&rest, "<!--body-->", p->out);
    int rc = put_body(p);
    fputs(rest, p->out);
    return rc;
}

int page_write(FILE *out, json_t *report, json_t *against) {
    struct load_page p = { .out = out, .count = against != NULL ? 2 : 1 };
    int rc = page_run_read(&p.runs[0], report, "this run");
    if (rc == 0 && against != NULL)
        rc = page_run_read(&p.runs[1], against, "other run");
    errno = 0;
    if (rc == 0)
        rc = put_page(&p);
    for (size_t i = 0; i < p.count; i++)
        page_run_free(&p.runs[i]);
    return rc == 0 ? stream_flush(out) : rc;
}
