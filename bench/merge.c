/* SPDX-License-Identifier: MIT */
/* Reads reports of schema "srv-bench/1" back, checks that they were one load, and adds them up. */
#include "bench/merge.h"
#include "base/alloc.h"
#include "base/units.h"
#include "bench/conditions.h"
#include "bench/document.h"
#include "bench/harvest.h"
#include "bench/machines.h"
#include "bench/output.h"
#include "bench/summary.h"
#include "loadgen/band.h"
#include "loadgen/live.h"
#include "loadgen/names.h"
#include "loadgen/request.h"
#include "loadgen/section.h"
#include "loadgen/target.h"
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Runs that overlap less were not one load. */
#define OVERLAP_MIN 0.95

/* The most that is believed of a report, in seconds: a sum of spans, and the end of a run since
 * 1970, fit the 64 bits of nanoseconds. */
#define SPAN_MAX  9e5
#define RUN_MAX   1e9
#define SINCE_MAX 8e9
#define RATE_MAX  1e12

enum { MISSING_SHOWN = 8 };

/* A second of one of the runs. */
struct second {
    double middle, length; /* the former since 1970 */
    uint64_t requests, failed, in_flight;
    int64_t max_us; /* -1: there was no answer */
    json_t *bands;  /* the histogram in the report */
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
    json_t *first, *first_shard; /* "config" and "shard" of the first report */
    struct merged_part *parts;   /* one per report */
    size_t parts_cap;
    struct second *seconds; /* all reports' */
    size_t second_count, seconds_cap;
    struct live live;             /* rows alone: their sums */
    struct band bands[BANDS_MAX]; /* the row's that is being summed up */
    double started;               /* the first start, since 1970 */
};

/* A number that is no less than 0; more than `most` counts as that. */
static double real_in(const json_t *object, const char *key, double most) {
    return fmin(fmax(json_number_value(json_object_get(object, key)), 0), most);
}

static nsec_t seconds_in(const json_t *object, const char *key) {
    return (nsec_t)(real_in(object, key, SPAN_MAX) * (double)NSEC_PER_SEC);
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
    a->tls.handshakes = section_count(tls, "handshakes");
    a->tls.resumed = section_count(tls, "resumed");
    for (int i = 0; i < FAILURE_COUNT; i++)
        copy_text(a->tls.reasons[i], ANSWERS_WORDS_BYTES,
                  json_object_get(words, failure_infos[i].key));
}

static void read_users(struct answers_users *u, const json_t *root) {
    const json_t *redirects = json_object_get(root, "redirects");
    const json_t *cookies = json_object_get(root, "cookies");
    u->follows = json_is_object(redirects);
    u->keeps_cookies = json_is_object(cookies);
    u->hops = section_count(redirects, "hops");
    u->elsewhere = section_count(redirects, "elsewhere");
    u->cookies_kept = section_count(cookies, "kept");
    u->cookies_refused = section_count(cookies, "refused");
}

static void read_codings(struct answers_codings *k, const json_t *codings) {
    k->asked = json_is_object(codings);
    for (int i = 0; i < ANSWERS_CODINGS; i++)
        k->responses[i] = section_count(codings, answers_coding_names[i]);
    k->coded_bytes = section_count(codings, "body_bytes");
    k->decoded_bytes = section_count(codings, "decoded_bytes");
    k->spent = seconds_in(codings, "decode_s");
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
            a->statuses[status] = section_count_of(value);
    }
    a->shortest = section_count_of(json_array_get(lengths, 0));
    a->longest = section_count_of(json_array_get(lengths, 1));
    a->lenient = section_count(lenient, "responses");
    for (int i = 0; i < HTTP_LENIENCE_COUNT; i++)
        a->leniences[i] = section_count(lenient, answers_leniences[i].key);
    a->overrun = section_count(root, "overrun");
    read_codings(&a->codings, json_object_get(root, "codings"));
    read_users(&a->users, root);
    json_object_foreach(json_object_get(malformed, "reasons"), key, value) {
        struct answers_reason *one = &a->reasons[reasons];
        if (reasons < ANSWERS_REASONS - 1)
            reasons++;
        if (one->count == 0)
            snprintf(one->text, sizeof(one->text), "%s", key);
        one->count += section_count_of(value);
    }
    read_tls(a, root);
    if (first == NULL)
        return;
    a->first_len = strnlen(first, sizeof(a->first));
    memcpy(a->first, first, a->first_len);
}

static void add_totals(struct counters *t, const json_t *totals, const json_t *failures) {
    t->succeeded += section_count(totals, "succeeded");
    t->non_2xx += section_count(totals, "non_2xx");
    t->kept_alive += section_count(totals, "kept_alive");
    t->in_flight += section_count(totals, "in_flight");
    t->connections += section_count(totals, "connections");
    t->reconnects += section_count(totals, "reconnects");
    t->bytes_received += section_count(totals, "bytes_received");
    t->body_bytes += section_count(totals, "body_bytes");
    t->bytes_sent += section_count(totals, "bytes_sent");
    t->planned += section_count(totals, "planned");
    t->late += section_count(totals, "late");
    t->dropped += section_count(totals, "dropped");
    t->starved += section_count(totals, "starved");
    t->busy_max += section_count(totals, "concurrency");
    uint64_t errors = section_count(totals, "errors"), failed = section_count(totals, "failed");
    t->unwelcome += errors > failed ? errors - failed : 0;
    nsec_t age = seconds_in(totals, "in_flight_age_max_s");
    if (age > t->in_flight_age_max)
        t->in_flight_age_max = age;
    for (int i = 0; i < FAILURE_COUNT; i++)
        t->failed[i] += section_count(failures, failure_infos[i].key);
}

/* Moments of the pauses count from the file's own start, as all times of the sum do. */
static void add_generator(struct merge *m, const json_t *root) {
    const json_t *generator = json_object_get(root, "generator");
    const json_t *pauses = json_object_get(generator, "pauses");
    const char *limit = json_string_value(json_object_get(generator, "was_the_limit"));
    struct pauses of_file = {
        .count = section_count(pauses, "count"),
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
    m->first_shard = json_incref(json_object_get(root, "shard"));
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
    m->counters.document_bytes = section_count(root, "document_bytes");
    return target_parse(&m->target, m->url, err);
}

/* A part of one load asks for the same in the same way; how much of it each does may differ. */
static int check_same_load(const struct merge *m, const json_t *root, struct error *err) {
    static const char *const keys[] = {
        "url",     "method",        "keep_alive",  "http_version", "has_body", "arrivals",
        "stages",  "think",         "no_catch_up", "stream",       "stall_s",  "stream_end",
        "through", "requests_file", "replay",      "templates"
    };
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

/* --- parts ------------------------------------------------------------------------------------ */

/* The shards of one load are told the same; only their index differs. */
static int check_same_shards(const struct merge *m, const json_t *root, struct error *err) {
    static const char *const of_shard[] = { "count", "requests", "concurrency", "rate" };
    static const char *const of_config[] = { "time_limit_s", "warmup_s", "seed" };
    const json_t *shard = json_object_get(root, "shard");
    const json_t *config = json_object_get(root, "config");
    if (json_is_object(shard) != json_is_object(m->first_shard))
        return error_set(err, -EINVAL, "it is %s, unlike the first file; --merge-anyway adds up",
                         json_is_object(shard) ? "a shard of a load" : "no shard of a load");
    if (!json_is_object(shard))
        return 0;
    if (section_count(shard, "index") >= section_count(shard, "count") ||
        section_count(shard, "count") > LOADGEN_SHARDS_MAX)
        return error_set(err, -EINVAL, "its shard is none");
    for (size_t i = 0; i < ARRAY_LEN(of_shard); i++)
        if (!json_equal(json_object_get(shard, of_shard[i]),
                        json_object_get(m->first_shard, of_shard[i])))
            return error_set(err, -EINVAL, "the %s of the whole load is not that of the first file",
                             i == 0 ? "number of shards" : of_shard[i]);
    for (size_t i = 0; i < ARRAY_LEN(of_config); i++)
        if (!json_equal(json_object_get(config, of_config[i]),
                        json_object_get(m->first, of_config[i])))
            return error_set(err, -EINVAL, "its %s is not that of the first shard", of_config[i]);
    return 0;
}

static int check_not_doubled(const struct merge *m, const struct merged_part *part,
                             struct error *err) {
    for (uint32_t i = 0; i < m->report.merged && part->shard.count > 0; i++)
        if (m->parts[i].shard.index == part->shard.index)
            return error_set(err, -EINVAL, "shard %u/%u is also in %s", part->shard.index,
                             part->shard.count, m->parts[i].where);
    return 0;
}

/* Names the shards that are not there. */
static int check_complete(const struct merge *m, struct error *err) {
    uint32_t count = m->parts[0].shard.count, shown = 0;
    char text[MISSING_SHOWN * 16] = "";
    size_t len = 0;
    if (count == 0 || m->report.merged == count || m->config.merge_anyway)
        return 0;
    for (uint32_t index = 0; index < count && shown < MISSING_SHOWN; index++) {
        uint32_t i = 0;
        while (i < m->report.merged && m->parts[i].shard.index != index)
            i++;
        if (i < m->report.merged)
            continue;
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%u", shown++ > 0 ? ", " : "",
                                index);
    }
    uint32_t missing = count - m->report.merged;
    return error_set(err, -EINVAL,
                     "cannot merge: %u of %u shards %s missing: %s%s; --merge-anyway adds up the "
                     "others",
                     missing, count, missing == 1 ? "is" : "are", text,
                     missing > shown ? ", ..." : "");
}

static int grow(void **items, size_t *cap, size_t count, size_t size) {
    if (count < *cap)
        return 0;
    size_t more = *cap > 0 ? 2 * *cap : 64;
    void *grown = mem_realloc(*items, more * size);
    if (grown == NULL)
        return -ENOMEM;
    *items = grown;
    *cap = more;
    return 0;
}

static void read_part(struct merged_part *part, const json_t *root, const char *where) {
    const json_t *totals = json_object_get(root, "totals");
    const json_t *shard = json_object_get(root, "shard");
    const json_t *start = json_object_get(root, "start");
    const json_t *p99 = json_object_get(json_object_get(root, "latency_us"), "p99");
    double late = real_in(start, "late_s", SPAN_MAX);
    *part = (struct merged_part){
        .shard = { (uint32_t)section_count(shard, "index"),
                   (uint32_t)section_count(shard, "count") },
        .start = real_in(totals, "started_s", SINCE_MAX) + late,
        .seconds = fmax(real_in(totals, "seconds", RUN_MAX) - late, 0),
        .requests = section_count(totals, "requests"),
        .failed = section_count(totals, "failed"),
        .rate = real_in(totals, "rps", RATE_MAX),
        .p99_us = json_is_integer(p99) ? json_integer_value(p99) : -1,
        .clock_is_wrong = json_is_false(json_object_get(start, "clock_synchronized")),
    };
    copy_text(part->host, sizeof(part->host),
              json_object_get(json_object_get(root, "environment"), "host"));
    snprintf(part->where, sizeof(part->where), "%s", where);
}

/* A file of an earlier version does not say when it began. */
static int add_part(struct merge *m, const json_t *root, const char *where, struct error *err) {
    if (m->report.merged == LOADGEN_SHARDS_MAX ||
        grow((void **)&m->parts, &m->parts_cap, m->report.merged, sizeof(*m->parts)) != 0)
        return error_set(err, -ENOMEM, "there are too many reports, or memory is short");
    struct merged_part *part = &m->parts[m->report.merged];
    read_part(part, root, where);
    if (part->start <= 0 && !m->config.merge_anyway)
        return error_set(err, -EINVAL,
                         "it does not say when it began; --merge-anyway takes it for simultaneous");
    if (m->report.merged == 0)
        m->started = part->start;
    part->start = part->start > 0 ? part->start - m->started : 0;
    return m->config.merge_anyway ? 0 : check_not_doubled(m, part, err);
}

static int by_start(const void *a, const void *b) {
    const struct merged_part *x = a, *y = b;
    if (x->shard.index != y->shard.index && x->start == y->start)
        return x->shard.index < y->shard.index ? -1 : 1;
    return (x->start > y->start) - (x->start < y->start);
}

/* The time in which at least one run was going on: the sum's counts divided by it are a rate that
 * there was. Also finds for how long all of them were. */
static double merge_spans(struct merge *m) {
    struct report *r = &m->report;
    double covered = 0, until = -INFINITY, all_from = -INFINITY, all_until = INFINITY, longest = 0;
    qsort(m->parts, r->merged, sizeof(*m->parts), by_start);
    for (uint32_t i = 0; i < r->merged; i++) {
        const struct merged_part *part = &m->parts[i];
        double end = part->start + part->seconds;
        covered += fmax(end - fmax(part->start, until), 0);
        until = fmax(until, end);
        all_from = fmax(all_from, part->start);
        all_until = fmin(all_until, end);
        longest = fmax(longest, part->seconds);
    }
    r->merge_skew_s = all_from - m->parts[0].start;
    r->merge_overlap = longest > 0 ? fmax(all_until - all_from, 0) / longest : 1;
    double first = m->parts[0].start;
    m->started += first;
    for (uint32_t i = 0; i < r->merged; i++)
        m->parts[i].start -= first;
    return covered;
}

static int check_overlap(struct merge *m, double *ret_covered, struct error *err) {
    char text[UNITS_TEXT_BYTES];
    *ret_covered = merge_spans(m);
    if (m->config.merge_anyway)
        return 0;
    if (m->report.merge_skew_s > (double)m->config.merge_skew / (double)NSEC_PER_SEC)
        return error_set(err, -EINVAL,
                         "cannot merge: the runs began %.3f s apart, and --merge-skew allows %s; "
                         "--merge-anyway counts the time in which any of them ran",
                         m->report.merge_skew_s, units_format_duration(m->config.merge_skew, text));
    if (m->report.merge_overlap >= OVERLAP_MIN)
        return 0;
    return error_set(err, -EINVAL,
                     "cannot merge: the runs overlap for %.1f %% of the longest (they began within "
                     "%.3f s), and their rates add up from %.0f %% on; --merge-anyway counts the "
                     "time in which any of them ran",
                     m->report.merge_overlap * 100, m->report.merge_skew_s, OVERLAP_MIN * 100);
}

/* --- the series ------------------------------------------------------------------------------- */

static int add_series(struct merge *m, const json_t *root, struct error *err) {
    double started = real_in(json_object_get(root, "totals"), "started_s", SINCE_MAX);
    const json_t *row;
    size_t i;
    json_array_foreach(json_object_get(root, "series"), i, row) {
        double length = real_in(row, "seconds", RUN_MAX);
        const json_t *max = json_object_get(row, "max_us");
        if (grow((void **)&m->seconds, &m->seconds_cap, m->second_count, sizeof(*m->seconds)) != 0)
            return error_set(err, -ENOMEM, "out of memory for its series");
        m->seconds[m->second_count++] = (struct second){
            .middle = started + real_in(row, "second", RUN_MAX) - length / 2,
            .length = length,
            .requests = section_count(row, "requests"),
            .failed = section_count(row, "failed"),
            .in_flight = section_count(row, "in_flight"),
            .max_us = json_is_integer(max) ? json_integer_value(max) : -1,
            .bands = json_incref(json_object_get(row, "histogram")),
        };
    }
    return 0;
}

/* Percentiles of seconds do not add up: only their maximum is known. */
static void add_second(struct merge *m, struct live_row *row, const struct second *second) {
    const json_t *pair;
    size_t i;
    row->length = fmax(row->length, second->length);
    row->requests += second->requests;
    row->failed += second->failed;
    row->in_flight += second->in_flight;
    if (second->max_us >= 0) {
        row->answers = row->requests;
        row->max_us = second->max_us > row->max_us ? second->max_us : row->max_us;
    }
    json_array_foreach(second->bands, i, pair) {
        int64_t usec = json_integer_value(json_array_get(pair, 0));
        struct band *band = &m->bands[band_of(usec)];
        band->count += section_count_of(json_array_get(pair, 1));
        band->usec = usec > band->usec ? usec : band->usec;
    }
}

/* Moves the bands that are not empty to the row. */
static int keep_bands(struct merge *m, struct live_row *row) {
    for (size_t i = 0; i < BANDS_MAX; i++)
        row->band_count += m->bands[i].count > 0;
    row->bands = mem_calloc(row->band_count > 0 ? row->band_count : 1, sizeof(*row->bands));
    if (row->bands == NULL)
        return -ENOMEM;
    for (size_t i = 0, at = 0; i < BANDS_MAX; i++)
        if (m->bands[i].count > 0)
            row->bands[at++] = m->bands[i];
    memset(m->bands, 0, sizeof(m->bands));
    return 0;
}

/* The whole second after the first start in which most of a second of a run lies. */
static double place_of(const struct merge *m, const struct second *second) {
    return fmax(floor(second->middle - m->started), 0);
}

static int by_middle(const void *a, const void *b) {
    const struct second *x = a, *y = b;
    return (x->middle > y->middle) - (x->middle < y->middle);
}

/* Sums up the seconds from `*next` on that lie at one place. */
static int sum_row(struct merge *m, struct live_row *row, size_t *next) {
    double place = place_of(m, &m->seconds[*next]);
    while (*next < m->second_count && place_of(m, &m->seconds[*next]) == place)
        add_second(m, row, &m->seconds[(*next)++]);
    bool goes_on = *next < m->second_count && place_of(m, &m->seconds[*next]) == place + 1;
    row->second = place + (goes_on ? 1 : row->length);
    row->rate = row->length > 0 ? (double)row->requests / row->length : 0;
    row->p50_us = row->p99_us = LIVE_UNKNOWN;
    return keep_bands(m, row);
}

/* Makes a row of each second after the first start in which any of them ran. */
static int sum_series(struct merge *m) {
    size_t next = 0;
    if (m->second_count > 0)
        qsort(m->seconds, m->second_count, sizeof(*m->seconds), by_middle);
    m->live.rows = mem_calloc(m->second_count + 1, sizeof(*m->live.rows));
    if (m->live.rows == NULL)
        return -ENOMEM;
    while (next < m->second_count)
        if (sum_row(m, &m->live.rows[m->live.row_count++], &next) != 0)
            return -ENOMEM;
    return 0;
}

/* A shard tells of the bursts of the whole load. Intervals may differ: that of the first one is
 * told. */
static void add_burst(struct load_burst *sum, const json_t *root) {
    const json_t *burst = json_object_get(json_object_get(root, "config"), "burst");
    uint64_t count = section_count(burst, "requests");
    if (count > LOADGEN_BURST_MAX)
        count = LOADGEN_BURST_MAX;
    if (json_is_object(json_object_get(root, "shard")))
        sum->count = (uint32_t)count;
    else
        sum->count += (uint32_t)count;
    if (sum->every == 0)
        sum->every = seconds_in(burst, "every_s");
}

/* --- the sum ---------------------------------------------------------------------------------- */

static int check_report(struct merge *m, const json_t *root, struct error *err) {
    const char *schema = json_string_value(json_object_get(root, "schema"));
    if (schema == NULL || strcmp(schema, "srv-bench/1") != 0 ||
        !json_is_object(json_object_get(root, "histograms")))
        return error_set(err, -EINVAL, "it is no report of srv bench");
    int rc = m->report.merged == 0 ? take_first(m, root, err) : 0;
    if (rc != 0 || m->config.merge_anyway)
        return rc;
    rc = check_same_load(m, root, err);
    return rc == 0 ? check_same_shards(m, root, err) : rc;
}

static int add_report(struct merge *m, const json_t *root, const char *where, struct error *err) {
    const json_t *config = json_object_get(root, "config");
    int rc = check_report(m, root, err);
    if (rc == 0)
        rc = add_part(m, root, where, err);
    if (rc == 0)
        rc = add_series(m, root, err);
    if (rc != 0)
        return rc;
    m->config.concurrency += (int64_t)section_count(config, "concurrency");
    m->config.workers += (int64_t)section_count(config, "workers");
    if (!m->config.merge_anyway)
        m->config.requests = (int64_t)section_count(m->first_shard, "requests");
    m->config.rate += real_in(config, "rate", RATE_MAX);
    add_burst(&m->config.burst, root);
    add_totals(&m->counters, json_object_get(root, "totals"), json_object_get(root, "failures"));
    read_answers(&m->of_file, root);
    answers_merge(&m->answers, &m->of_file);
    add_histograms(&m->counters, root);
    add_generator(m, root);
    m->report.merged++;
    return sections_add(&m->report, &m->counters, root, err);
}

static int add_found(void *arg, const json_t *root, const char *where, struct error *err) {
    struct error reason = { .text = "" };
    int rc = add_report(arg, root, where, &reason);
    return rc == 0 ? 0 : error_set(err, rc, "cannot merge %s: %s", where, reason.text);
}

/* The parts of one process that the sum has none of are left out: samples, self-check. */
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
    r->live = &m->live;
    r->parts = m->parts;
    r->started_wall = (nsec_t)(m->started * (double)NSEC_PER_SEC);
    if (output_open(&m->output, &m->config, err) != 0)
        return EXIT_CANNOT;
    if (sum_series(m) != 0 || summary_init(&m->summary, &m->config, &m->counters, NULL) != 0) {
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
        rc = harvest_reports(paths->items[i], add_found, m, err);
    if (rc == 0)
        rc = check_complete(m, err);
    if (rc == 0)
        rc = check_overlap(m, &covered, err);
    return rc == 0 ? report_sum(m, covered, err) : EXIT_CANNOT;
}

static void free_series(struct merge *m) {
    for (size_t i = 0; i < m->second_count; i++)
        json_decref(m->seconds[i].bands);
    for (size_t i = 0; i < m->live.row_count; i++)
        mem_free(m->live.rows[i].bands);
    mem_free(m->seconds);
    mem_free(m->live.rows);
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
    names_free(m->counters.names);
    counters_free(&m->counters);
    json_decref(m->first);
    json_decref(m->first_shard);
    free_series(m);
    mem_free(m->parts);
    mem_free(m);
    return code;
}
