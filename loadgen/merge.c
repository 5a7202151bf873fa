/* SPDX-License-Identifier: MIT */
/* Reads reports of schema "srv-bench/1" back and adds them up. */
#include "loadgen/merge.h"
#include "base/alloc.h"
#include "loadgen/conditions.h"
#include "loadgen/document.h"
#include "loadgen/output.h"
#include "loadgen/request.h"
#include "loadgen/section.h"
#include "loadgen/summary.h"
#include "loadgen/target.h"
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Runs that overlap less were not one load. */
#define OVERLAP_MIN 0.95

struct span {
    double start, end; /* seconds after the first file's start */
};

struct merge {
    struct loadgen_config config;
    struct target target;
    struct request request;
    struct counters counters;
    struct answers answers, of_file;
    struct report report;
    struct load_output output;
    struct summary summary;
    char url[2048], method[64], limit[SELFCHECK_TEXT_BYTES];
    json_t *first;                         /* the first file's "config" */
    struct span spans[OPTION_STRINGS_MAX]; /* one per file */
    double started;                        /* the first one, since 1970 */
};

static uint64_t count_of(const json_t *number) {
    json_int_t value = json_integer_value(number);
    return value > 0 ? (uint64_t)value : 0;
}

static uint64_t count_in(const json_t *object, const char *key) {
    return count_of(json_object_get(object, key));
}

static nsec_t seconds_in(const json_t *object, const char *key) {
    double seconds = json_number_value(json_object_get(object, key));
    return seconds > 0 && seconds < 1e9 ? (nsec_t)(seconds * (double)NSEC_PER_SEC) : 0;
}

static void add_histograms(struct counters *t, const json_t *root) {
    const json_t *ended = json_object_get(root, "histograms");
    const json_t *ages = json_object_get(root, "ages");
    for (size_t i = 0; i < document_time_count; i++) {
        section_add_histogram(t->ended[document_times[i].time],
                              json_object_get(ended, document_times[i].key));
        section_add_histogram(t->ages[document_times[i].time],
                              json_object_get(ages, document_times[i].key));
    }
}

static void copy_text(char *to, size_t cap, const json_t *from) {
    const char *text = json_string_value(from);
    snprintf(to, cap, "%s", text != NULL ? text : "");
}

static void read_tls(struct answers *a, const json_t *root) {
    const json_t *tls = json_object_get(root, "tls");
    const json_t *words = json_object_get(root, "failure_reasons");
    copy_text(a->tls.protocol, sizeof(a->tls.protocol), json_object_get(tls, "protocol"));
    copy_text(a->tls.temp_key, sizeof(a->tls.temp_key), json_object_get(tls, "temp_key"));
    copy_text(a->tls.server_name, sizeof(a->tls.server_name), json_object_get(tls, "server_name"));
    a->tls.handshakes = count_in(tls, "handshakes");
    a->tls.resumed = count_in(tls, "resumed");
    for (int i = 0; i < FAILURE_COUNT; i++)
        copy_text(a->tls.reasons[i], ANSWERS_WORDS_BYTES,
                  json_object_get(words, failure_infos[i].key));
}

/* Reads what a file says about its responses, apart from the addresses. */
static void read_answers(struct answers *a, const json_t *root) {
    json_t *lengths = json_object_get(root, "body_lengths");
    json_t *lenient = json_object_get(root, "lenient");
    json_t *malformed = json_object_get(root, "malformed");
    const char *first = json_string_value(json_object_get(malformed, "first"));
    const char *key;
    json_t *value;
    size_t reasons = 0;
    memset(a, 0, sizeof(*a));
    json_object_foreach(json_object_get(root, "statuses"), key, value) {
        long status = strtol(key, NULL, 10);
        if (status >= 0 && status < ANSWERS_STATUSES)
            a->statuses[status] = count_of(value);
    }
    a->shortest = count_of(json_array_get(lengths, 0));
    a->longest = count_of(json_array_get(lengths, 1));
    a->lenient = count_in(lenient, "responses");
    for (int i = 0; i < HTTP_LENIENCE_COUNT; i++)
        a->leniences[i] = count_in(lenient, answers_leniences[i].key);
    a->overrun = count_in(root, "overrun");
    json_object_foreach(json_object_get(malformed, "reasons"), key, value) {
        struct answers_reason *one = &a->reasons[reasons];
        if (reasons < ANSWERS_REASONS - 1)
            reasons++;
        if (one->count == 0)
            snprintf(one->text, sizeof(one->text), "%s", key);
        one->count += count_of(value);
    }
    read_tls(a, root);
    if (first == NULL)
        return;
    a->first_len = strnlen(first, sizeof(a->first));
    memcpy(a->first, first, a->first_len);
}

static void add_totals(struct counters *t, const json_t *totals, const json_t *failures) {
    t->succeeded += count_in(totals, "succeeded");
    t->non_2xx += count_in(totals, "non_2xx");
    t->kept_alive += count_in(totals, "kept_alive");
    t->in_flight += count_in(totals, "in_flight");
    t->connections += count_in(totals, "connections");
    t->reconnects += count_in(totals, "reconnects");
    t->bytes_received += count_in(totals, "bytes_received");
    t->body_bytes += count_in(totals, "body_bytes");
    t->bytes_sent += count_in(totals, "bytes_sent");
    t->planned += count_in(totals, "planned");
    t->late += count_in(totals, "late");
    t->dropped += count_in(totals, "dropped");
    t->starved += count_in(totals, "starved");
    t->busy_max += count_in(totals, "concurrency");
    uint64_t errors = count_in(totals, "errors"), failed = count_in(totals, "failed");
    t->unwelcome += errors > failed ? errors - failed : 0;
    nsec_t age = seconds_in(totals, "in_flight_age_max_s");
    if (age > t->in_flight_age_max)
        t->in_flight_age_max = age;
    for (int i = 0; i < FAILURE_COUNT; i++)
        t->failed[i] += count_in(failures, failure_infos[i].key);
}

/* Moments of the pauses count from the file's own start, as all times of the sum do. */
static void add_generator(struct merge *m, const json_t *root) {
    const json_t *generator = json_object_get(root, "generator");
    const json_t *pauses = json_object_get(generator, "pauses");
    const char *limit = json_string_value(json_object_get(generator, "was_the_limit"));
    struct pauses of_file = {
        .count = count_in(pauses, "count"),
        .total = seconds_in(pauses, "seconds"),
        .longest = seconds_in(pauses, "longest_s"),
        .longest_at = seconds_in(pauses, "longest_at_s"),
        .longest_cpu = seconds_in(pauses, "longest_cpu_s"),
    };
    counters_merge_pauses(&m->counters.pauses, &of_file);
    if (limit != NULL && m->limit[0] == '\0')
        snprintf(m->limit, sizeof(m->limit), "%s", limit);
}

/* Takes from the first file what is told of all. */
static int take_first(struct merge *m, const json_t *root, struct error *err) {
    json_t *config = json_object_get(root, "config");
    const char *url = json_string_value(json_object_get(config, "url"));
    if (url == NULL || strlen(url) >= sizeof(m->url))
        return error_set(err, -EINVAL, "it names no URL");
    m->first = json_incref(config);
    copy_text(m->url, sizeof(m->url), json_object_get(config, "url"));
    copy_text(m->method, sizeof(m->method), json_object_get(config, "method"));
    copy_text(m->counters.server_software, sizeof(m->counters.server_software),
              json_object_get(root, "server_software"));
    m->config.url = m->url;
    m->config.method = m->method;
    m->config.think_text = json_string_value(json_object_get(config, "think"));
    m->config.no_catch_up = json_is_true(json_object_get(config, "no_catch_up"));
    m->config.keep_alive = json_is_true(json_object_get(config, "keep_alive"));
    m->config.variable_length = json_is_true(json_object_get(config, "variable_length"));
    const char *version = json_string_value(json_object_get(config, "http_version"));
    m->config.http10 = version != NULL && strcmp(version, "1.0") == 0;
    m->request.has_body = json_is_true(json_object_get(config, "has_body"));
    m->counters.document_bytes = count_in(root, "document_bytes");
    return target_parse(&m->target, m->url, err);
}

/* A part of one load asks for the same in the same way; how much of it each does may differ. */
static int check_same_load(const struct merge *m, const json_t *root, struct error *err) {
    static const char *const keys[] = { "url",         "method",   "keep_alive", "http_version",
                                        "has_body",    "arrivals", "stages",     "think",
                                        "no_catch_up", "stream",   "stall_s",    "stream_end" };
    const json_t *config = json_object_get(root, "config");
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const json_t *first = json_object_get(m->first, keys[i]);
        const json_t *here = json_object_get(config, keys[i]);
        if (first != here && !json_equal(first, here))
            return error_set(err, -EINVAL,
                             "its %s is not that of the first file; --merge-anyway adds them up "
                             "all the same",
                             keys[i]);
    }
    if (json_is_null(json_object_get(m->first, "rate")) !=
        json_is_null(json_object_get(config, "rate")))
        return error_set(err, -EINVAL,
                         "one has a planned --rate and the other has none; --merge-anyway adds "
                         "them up all the same");
    return 0;
}

/* A file of an earlier version does not say when it began. */
static int add_span(struct merge *m, const json_t *totals, struct error *err) {
    double start = json_number_value(json_object_get(totals, "started_s"));
    double seconds = json_number_value(json_object_get(totals, "seconds"));
    if (start <= 0 && !m->config.merge_anyway)
        return error_set(err, -EINVAL,
                         "it does not say when it began; --merge-anyway takes it for simultaneous");
    if (m->report.merged == 0)
        m->started = start;
    start = start > 0 ? start - m->started : 0;
    m->spans[m->report.merged] = (struct span){ start, start + fmax(seconds, 0) };
    return 0;
}

/* A shard tells of the bursts of the whole load. Intervals may differ: that of the first one is
 * told. */
static void add_burst(struct load_burst *sum, const json_t *root) {
    const json_t *burst = json_object_get(json_object_get(root, "config"), "burst");
    uint64_t count = count_in(burst, "requests");
    if (count > LOADGEN_BURST_MAX)
        count = LOADGEN_BURST_MAX;
    if (json_is_object(json_object_get(root, "shard")))
        sum->count = (uint32_t)count;
    else
        sum->count += (uint32_t)count;
    if (sum->every == 0)
        sum->every = seconds_in(burst, "every_s");
}

static int add_report(struct merge *m, const json_t *root, struct error *err) {
    const char *schema = json_string_value(json_object_get(root, "schema"));
    const json_t *config = json_object_get(root, "config");
    const json_t *totals = json_object_get(root, "totals");
    if (schema == NULL || strcmp(schema, "srv-bench/1") != 0 ||
        !json_is_object(json_object_get(root, "histograms")))
        return error_set(err, -EINVAL, "it is no report of srv bench");
    int rc = m->report.merged == 0 ? take_first(m, root, err) : 0;
    if (rc == 0 && !m->config.merge_anyway)
        rc = check_same_load(m, root, err);
    if (rc == 0)
        rc = add_span(m, totals, err);
    if (rc != 0)
        return rc;
    m->config.concurrency += (int64_t)count_in(config, "concurrency");
    m->config.workers += (int64_t)count_in(config, "workers");
    m->config.rate += json_number_value(json_object_get(config, "rate"));
    add_burst(&m->config.burst, root);
    add_totals(&m->counters, totals, json_object_get(root, "failures"));
    read_answers(&m->of_file, root);
    answers_merge(&m->answers, &m->of_file);
    add_histograms(&m->counters, root);
    add_generator(m, root);
    m->report.merged++;
    return sections_add(&m->report, &m->counters, root, err);
}

static int add_file(struct merge *m, const char *path, struct error *err) {
    json_error_t why;
    struct error reason = { .text = "" };
    json_t *root = json_load_file(path, 0, &why);
    if (root == NULL)
        return error_set(err, -EIO, "cannot read %s: %s", path, why.text);
    int rc = add_report(m, root, &reason);
    json_decref(root);
    if (rc != 0)
        return error_set(err, rc, "cannot merge %s: %s", path, reason.text);
    return 0;
}

static int by_start(const void *a, const void *b) {
    const struct span *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

/* The time in which at least one run was going on: the sum's counts divided by it are a rate that
 * there was. Also finds for how long all of them were. */
static double merge_spans(struct merge *m) {
    struct report *r = &m->report;
    double covered = 0, until = -INFINITY, all_from = -INFINITY, all_until = INFINITY, longest = 0;
    qsort(m->spans, r->merged, sizeof(*m->spans), by_start);
    for (uint32_t i = 0; i < r->merged; i++) {
        struct span span = m->spans[i];
        covered += fmax(span.end - fmax(span.start, until), 0);
        until = fmax(until, span.end);
        all_from = fmax(all_from, span.start);
        all_until = fmin(all_until, span.end);
        longest = fmax(longest, span.end - span.start);
    }
    r->merge_skew_s = all_from - m->spans[0].start;
    r->merge_overlap = longest > 0 ? fmax(all_until - all_from, 0) / longest : 1;
    return covered;
}

static int check_overlap(struct merge *m, double *ret_covered, struct error *err) {
    *ret_covered = merge_spans(m);
    if (m->report.merge_overlap >= OVERLAP_MIN || m->config.merge_anyway)
        return 0;
    return error_set(err, -EINVAL,
                     "cannot merge: the runs overlap for %.1f %% of the longest (they began within "
                     "%.3f s), and their rates add up from %.0f %% on; --merge-anyway counts the "
                     "time in which any of them ran",
                     m->report.merge_overlap * 100, m->report.merge_skew_s, OVERLAP_MIN * 100);
}

/* The parts of one process that the sum has none of are left out: series, samples, self-check. */
static int report_sum(struct merge *m, double covered, struct error *err) {
    struct report *r = &m->report;
    m->counters.first_start = 0;
    m->counters.last_end = (nsec_t)(covered * (double)NSEC_PER_SEC);
    m->request.close = !m->config.keep_alive;
    r->config = &m->config;
    r->target = &m->target;
    r->request = &m->request;
    r->counters = &m->counters;
    r->answers = &m->answers;
    r->summary = &m->summary;
    r->started_wall = (nsec_t)((m->started + m->spans[0].start) * (double)NSEC_PER_SEC);
    if (output_open(&m->output, &m->config, err) != 0)
        return EXIT_CANNOT;
    if (summary_init(&m->summary, &m->config, &m->counters, NULL) != 0) {
        error_set(err, -ENOMEM, "out of memory for the report");
        return EXIT_CANNOT;
    }
    m->summary.is_limited = m->limit[0] != '\0';
    memcpy(m->summary.limit, m->limit, sizeof(m->limit));
    if (output_report(&m->output, r, err) != 0)
        return EXIT_CANNOT;
    if (conditions_hold(r))
        return LOADGEN_EXIT_THRESHOLD;
    return m->counters.succeeded > 0 ? 0 : LOADGEN_EXIT_NO_SUCCESS;
}

static int merge_all(struct merge *m, const struct option_strings *paths, struct error *err) {
    double covered;
    m->config.concurrency = m->config.workers = 0;
    m->config.rate = 0;
    m->config.burst = (struct load_burst){ .count = 0 };
    int rc = 0;
    for (size_t i = 0; i < paths->count && rc == 0; i++)
        rc = add_file(m, paths->items[i], err);
    if (rc == 0)
        rc = check_overlap(m, &covered, err);
    return rc == 0 ? report_sum(m, covered, err) : EXIT_CANNOT;
}

int loadgen_merge(const struct loadgen_config *config, const struct option_strings *paths,
                  struct error *err) {
    struct merge *m = mem_calloc(1, sizeof(*m));
    if (m == NULL || counters_init(&m->counters) != 0) {
        mem_free(m);
        error_set(err, -ENOMEM, "out of memory");
        return EXIT_CANNOT;
    }
    m->config = *config;
    m->report.sections = output_sections;
    buf_init(&m->request.bytes, 1);
    int code = merge_all(m, paths, err);
    output_close(&m->output);
    summary_free(&m->summary);
    counters_free(&m->counters);
    json_decref(m->first);
    mem_free(m);
    return code;
}
