/* SPDX-License-Identifier: MIT */
/* Tells the truth as JSON and for Prometheus, and takes rules. */
#include "slowapi/control.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/prometheus.h"
#include "http/url.h"
#include "slowapi/journal.h"
#include "slowapi/openapi.h"
#include "slowapi/roll.h"
#include "slowapi/rule_list.h"
#include "slowapi/tcp.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

extern const char control_page[], control_page_policy[]; /* control.html, by the build */

#define METRICS_BYTES_MAX (1u << 20)
#define SESSION_BYTES_MAX 512 /* encoded */
#define ETAG_BYTES        40

static const char *const counter_names[] = {
#define NAME_OF(name, NAME, help) #name,
    SLOW_COUNTERS(NAME_OF)
#undef NAME_OF
};

static const char *const counter_helps[] = {
#define HELP_OF(name, NAME, help) help ".",
    SLOW_COUNTERS(HELP_OF)
#undef HELP_OF
};

static const char *const time_names[SLOW_TIMES] = { "planned", "actual", "late" };

/* Too large for the stack. NULL when out of memory. */
static struct slow_stats_sum *sum_up(struct shared *shared) {
    struct slow_stats_sum *sum = mem_alloc(sizeof(*sum));

    if (sum != NULL)
        shared_sum_stats(shared, sum);
    return sum;
}

/* --- /stats ----------------------------------------------------------------------------------- */

/* Milliseconds of a whole number of microseconds. */
static json_t *msec_json(uint64_t usec) {
    return json_real((double)usec / 1e3);
}

static json_t *times_json(const struct hist_shared *times) {
    uint64_t count = hist_shared_count(times);
    double mean = count > 0 ? (double)hist_shared_sum(times) / (double)count : 0;

    return json_pack("{s:I, s:f, s:o, s:o, s:o, s:o, s:o}", "count", (json_int_t)count, "mean_ms",
                     mean / 1e3, "p50_ms", msec_json(hist_shared_quantile(times, .5)), "p95_ms",
                     msec_json(hist_shared_quantile(times, .95)), "p99_ms",
                     msec_json(hist_shared_quantile(times, .99)), "p99.9_ms",
                     msec_json(hist_shared_quantile(times, .999)), "max_ms",
                     msec_json(hist_shared_max(times)));
}

/* The upper bound of the bin that values up to `usec` are in: one of 1, 1.5, 2, 2.5, 3, 4 ... 9
 * times a power of ten, which are ends of buckets. */
static uint64_t bin_of(uint64_t usec) {
    static const uint8_t tenths[] = { 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90 };
    uint64_t power = 1;
    size_t i = 0;

    while (power <= usec / 10)
        power *= 10;
    while (i < ARRAY_LEN(tenths) && power * tenths[i] / 10 < usec)
        i++;
    return i < ARRAY_LEN(tenths) ? power * tenths[i] / 10 : power * 10;
}

static void put_bin(json_t *bins, uint64_t usec, uint64_t count) {
    char name[32];

    snprintf(name, sizeof(name), "%.10g", (double)usec / 1e3);
    if (count > 0)
        json_object_set_new(bins, name, json_integer((json_int_t)count));
}

/* {"UPPER BOUND IN MS": COUNT}, rising, without empty bins. */
static json_t *bins_json(const struct hist_shared *times) {
    uint64_t usec, count, bin = 0, sum = 0;
    json_t *bins = json_object();
    uint32_t cursor = 0;

    while (hist_shared_next(times, &cursor, &usec, &count)) {
        if (bin_of(usec) != bin) {
            put_bin(bins, bin, sum);
            bin = bin_of(usec);
            sum = 0;
        }
        sum += count;
    }
    put_bin(bins, bin, sum);
    return bins;
}

/* Answers by class, whose numbers begin with that of 0xx. */
static json_t *classes_json(const uint64_t *classes) {
    json_t *json = json_object();
    char name[4] = "0xx";

    for (size_t i = 1; i <= 5; i++) {
        name[0] = (char)('0' + i);
        json_object_set_new(json, name, json_integer((json_int_t)classes[i]));
    }
    return json;
}

static json_t *path_json(const struct shared *shared, uint32_t number, const uint64_t *counts) {
    json_t *name = number < PATHS_OTHER ? json_text(paths_name(&shared->paths, number), SIZE_MAX)
                                        : json_null();

    return json_pack("{s:o, s:I, s:I, s:o}", "path", name, "requests",
                     (json_int_t)counts[SLOW_PATH_REQUESTS], "unanswered",
                     (json_int_t)counts[SLOW_PATH_UNANSWERED], "status", classes_json(counts));
}

static bool has_counts(const uint64_t *counts) {
    uint64_t sum = 0;

    for (size_t i = 0; i < SLOW_PATH_COUNTS; i++)
        sum += counts[i];
    return sum > 0;
}

static json_t *paths_json(const struct shared *shared, const struct slow_stats_sum *sum) {
    json_t *list = json_array();

    for (uint32_t i = 0; i <= PATHS_OTHER; i++)
        if (has_counts(sum->paths[i]))
            json_array_append_new(list, path_json(shared, i, sum->paths[i]));
    return list;
}

/* [{"name": ..., "requests": N}], in the order of the rules. */
static json_t *rules_json(struct shared *shared) {
    char *text = shared_rules(shared, NULL);
    json_t *rules = text != NULL ? json_loads(text, 0, NULL) : NULL, *list = json_array(), *rule;
    size_t i;

    mem_free(text);
    json_array_foreach(rules, i, rule) {
        json_t *name = json_object_get(rule, "name");
        uint64_t count = atomic_load(&shared->rule_counts[i]);
        json_array_append_new(
            list, json_pack("{s:O, s:O?, s:I}", "name", name != NULL ? name : json_null(), "path",
                            json_object_get(rule, "path"), "requests", (json_int_t)count));
    }
    json_decref(rules);
    return list;
}

/* The ETag of the rules of that generation; another run of the server has others. */
static const char *format_etag(const struct shared *shared, uint32_t generation,
                               char text[static ETAG_BYTES]) {
    snprintf(text, ETAG_BYTES, "\"%llx-%u\"", (unsigned long long)shared->started_at, generation);
    return text;
}

static json_t *faults_off_json(const struct shared *shared) {
    json_t *list = json_array();

    for (size_t i = 0; i < FAULT_KINDS; i++)
        if (!shared_fault_is_on(shared, (enum fault_kind)i))
            json_array_append_new(list, json_string(fault_infos[i].name.ptr));
    return list;
}

/* Tells what else there is to look at, for who looks again and again. */
static void put_signs(json_t *json, struct shared *shared) {
    char etag[ETAG_BYTES];

    format_etag(shared, atomic_load(&shared->rules_generation), etag);
    json_object_set_new(json, "rules_etag", json_string(etag));
    json_object_set_new(json, "faults_off", faults_off_json(shared));
    json_object_set_new(json, "queues", json_integer((json_int_t)queues_look(shared, 0, NULL, 0)));
}

static json_t *stats_json(const struct slow_stats_sum *sum, struct shared *shared) {
    json_t *json = json_object(), *faults = json_object(), *bins = json_object();

    json_object_set_new(json, "uptime_s",
                        json_real((double)(clock_now() - shared->started_at) / 1e9));
    json_object_set_new(json, "open_connections", json_integer(sum->open));
    json_object_set_new(json, "in_flight", json_integer(sum->in_flight));
    json_object_set_new(json, "in_flight_max", json_integer(sum->in_flight_max));
    for (size_t i = 0; i < SLOW_COUNTERS_MAX; i++)
        json_object_set_new(json, counter_names[i], json_integer((json_int_t)sum->counters[i]));
    json_object_set_new(json, "status", classes_json(sum->classes));
    for (size_t i = 0; i < FAULT_KINDS; i++)
        json_object_set_new(faults, fault_infos[i].name.ptr,
                            json_integer((json_int_t)sum->faults[i]));
    json_object_set_new(json, "faults", faults);
    for (size_t i = 0; i < SLOW_TIMES; i++) {
        json_object_set_new(json, time_names[i], times_json(&sum->times[i]));
        json_object_set_new(bins, time_names[i], bins_json(&sum->times[i]));
    }
    json_object_set_new(json, "distributions", bins);
    json_object_set_new(json, "rules", rules_json(shared));
    json_object_set_new(json, "paths", paths_json(shared, sum));
    put_signs(json, shared);
    if (shared->tcp != NULL)
        json_object_set_new(json, "tcp", relay_table_json(shared->tcp));
    return json;
}

/* Drops the reference; NULL is what is left when memory was short. */
static void reply_json(struct control_request *rq, json_t *json) {
    char *text = json != NULL ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;

    if (text != NULL)
        control_reply(rq, 200, "application/json", slice_str(text));
    else
        control_reply_text(rq, 500, "out of memory");
    free(text);
    json_decref(json);
}

static void reply_stats(struct shared *shared, struct control_request *rq) {
    struct slow_stats_sum *sum = sum_up(shared);

    reply_json(rq, sum != NULL ? stats_json(sum, shared) : NULL);
    mem_free(sum);
}

/* --- /metrics --------------------------------------------------------------------------------- */

static void put_times(struct prometheus *p, const struct slow_stats_sum *sum) {
    static const char *const names[SLOW_TIMES] = { "planned_seconds", "actual_seconds",
                                                   "late_seconds" };
    static const uint64_t bounds[] = { 100,     1000,     2500,     5000,     10000,    25000,
                                       50000,   100000,   250000,   500000,   1000000,  2500000,
                                       5000000, 10000000, 30000000, 60000000, 300000000 };

    for (size_t i = 0; i < SLOW_TIMES; i++) {
        prometheus_family(p, names[i], PROMETHEUS_HISTOGRAM,
                          "Delays: planned, actual, and their difference (late).");
        prometheus_hist(p, NULL, 0, &sum->times[i], bounds, ARRAY_LEN(bounds));
    }
}

static void put_counters(struct prometheus *p, const struct slow_stats_sum *sum) {
    char class[] = "0xx";

    for (size_t i = 0; i < SLOW_COUNTERS_MAX; i++) {
        prometheus_family(p, counter_names[i], PROMETHEUS_COUNTER, counter_helps[i]);
        prometheus_count(p, NULL, 0, (int64_t)sum->counters[i]);
    }
    prometheus_family(p, "responses", PROMETHEUS_COUNTER, "Answers by class.");
    for (size_t i = 1; i < ARRAY_LEN(sum->classes); i++) {
        struct prometheus_label label = { "class", class };
        class[0] = (char)('0' + i);
        prometheus_count(p, &label, 1, (int64_t)sum->classes[i]);
    }
    prometheus_family(p, "faults", PROMETHEUS_COUNTER, "Faults that struck, by kind.");
    for (size_t i = 0; i < FAULT_KINDS; i++) {
        struct prometheus_label label = { "kind", fault_infos[i].name.ptr };
        prometheus_count(p, &label, 1, (int64_t)sum->faults[i]);
    }
}

/* A path or a rule may be any bytes, a label is UTF-8. */
static void put_labelled(struct prometheus *p, const char *name, json_t *value, uint64_t count) {
    struct prometheus_label label = { name, json_string_value(value) };

    if (label.value == NULL)
        label.value = "";
    prometheus_count(p, &label, 1, (int64_t)count);
}

static void put_paths(struct prometheus *p, const struct shared *shared,
                      const struct slow_stats_sum *sum) {
    json_t *list = paths_json(shared, sum), *path;
    size_t i;

    prometheus_family(p, "path_requests", PROMETHEUS_COUNTER,
                      "Requests by path; the empty one is all others.");
    json_array_foreach(list, i, path) {
        json_int_t count = json_integer_value(json_object_get(path, "requests"));
        put_labelled(p, "path", json_object_get(path, "path"), (uint64_t)count);
    }
    json_decref(list);
}

/* Rules without a name, and those of one name, cannot be told apart: they are one. */
static void put_rules(struct prometheus *p, struct shared *shared) {
    json_t *list = rules_json(shared), *sums = json_object(), *rule, *sum;
    const char *name;
    size_t i;

    json_array_foreach(list, i, rule) {
        name = json_string_value(json_object_get(rule, "name"));
        name = name != NULL ? name : "";
        json_int_t count = json_integer_value(json_object_get(rule, "requests"));
        count += json_integer_value(json_object_get(sums, name));
        json_object_set_new(sums, name, json_integer(count));
    }
    prometheus_family(p, "rule_requests", PROMETHEUS_COUNTER, "Requests that a rule changed.");
    json_object_foreach(sums, name, sum) {
        struct prometheus_label label = { "rule", name };
        prometheus_count(p, &label, 1, json_integer_value(sum));
    }
    json_decref(sums);
    json_decref(list);
}

static void put_gauges(struct prometheus *p, const struct slow_stats_sum *sum) {
    prometheus_family(p, "open_connections", PROMETHEUS_GAUGE, "Connections that are open.");
    prometheus_count(p, NULL, 0, sum->open);
    prometheus_family(p, "in_flight", PROMETHEUS_GAUGE, "Requests that wait for their answer.");
    prometheus_count(p, NULL, 0, sum->in_flight);
    prometheus_family(p, "in_flight_max", PROMETHEUS_GAUGE, "The most that ever waited at once.");
    prometheus_count(p, NULL, 0, sum->in_flight_max);
}

static void reply_metrics(void *arg, struct control_request *rq) {
    struct shared *shared = arg;
    struct slow_stats_sum *sum = sum_up(shared);
    struct buf out;
    struct prometheus p = { .out = &out, .prefix = "slowapi", .rc = sum != NULL ? 0 : -ENOMEM };

    buf_init(&out, METRICS_BYTES_MAX);
    if (sum != NULL) {
        put_gauges(&p, sum);
        put_counters(&p, sum);
        put_times(&p, sum);
        put_paths(&p, shared, sum);
        put_rules(&p, shared);
        if (shared->tcp != NULL)
            relay_table_put_metrics(shared->tcp, &p);
    }
    if (p.rc == 0)
        control_reply(rq, 200, PROMETHEUS_TYPE, buf_unread(&out));
    else
        control_reply_text(rq, 500, "out of memory");
    buf_free(&out);
    mem_free(sum);
}

/* --- /rules and the rest ---------------------------------------------------------------------- */

/* With an ETag, for who changes a list that others may change, too. */
static void reply_rules(struct shared *shared, struct control_request *rq, bool with_hits) {
    char etag[ETAG_BYTES];
    uint32_t generation = atomic_load(&shared->rules_generation);
    char *text = with_hits ? rules_with_hits(shared) : shared_rules(shared, NULL);

    control_add_header(rq, "ETag", format_etag(shared, generation, etag));
    if (text != NULL)
        control_reply(rq, 200, "application/json", slice_str(text));
    else
        control_reply_text(rq, 500, "out of memory");
    mem_free(text);
}

/* Decodes the `session` of the query into `room`, which has SESSION_BYTES_MAX; none: no pointer. 0,
 * or -EINVAL with a reason. */
static int find_session(const struct control_request *rq, char *room, struct slice *ret,
                        struct error *err) {
    struct slice rest = rq->query, name, value;

    *ret = (struct slice){ .ptr = NULL };
    while (http_query_next(&rest, &name, &value)) {
        if (!slice_eq(name, SLICE("session")) || ret->ptr != NULL)
            return error_set(err, -EINVAL, "the query may hold one session=NAME");
        long len = value.len <= SESSION_BYTES_MAX ? http_percent_decode(value, room) : -EINVAL;
        if (len < 0)
            return error_set(err, -EINVAL, "session: too long, or a bad percent-escape");
        if (len == 0)
            return error_set(err, -EINVAL, "session: empty is a session that no header can name");
        *ret = slice_of(room, (size_t)len);
    }
    return 0;
}

/* The generation that If-Match asks for: *ret_then points to *room, or is NULL. An ETag that was
 * never one of ours does not match (RFC 9110 section 13.1.1). */
static int find_generation(const struct control_request *rq, const struct shared *shared,
                           uint32_t *room, const uint32_t **ret_then, struct error *err) {
    char etag[ETAG_BYTES];
    struct slice value;

    *ret_then = NULL;
    if (!control_header(rq, "If-Match", &value) || slice_eq(value, SLICE("*")))
        return 0;
    *room = atomic_load(&shared->rules_generation);
    *ret_then = room;
    return slice_eq(value, slice_str(format_etag(shared, *room, etag)))
               ? 0
               : error_set(err, -ESTALE, "the rules have changed since; read them again");
}

static int publish(struct shared *shared, const struct control_request *rq, struct slice text,
                   struct error *err) {
    const uint32_t *then;
    struct slice session;
    char room[SESSION_BYTES_MAX];
    uint32_t generation;

    int rc = find_session(rq, room, &session, err);
    if (rc == 0)
        rc = find_generation(rq, shared, &generation, &then, err);
    if (rc == 0 && session.ptr != NULL && then != NULL)
        rc = error_set(err, -EINVAL, "If-Match is of all rules: leave the session out");
    if (rc < 0)
        return rc;
    return session.ptr != NULL ? rules_publish_session(shared, session, text, err)
                               : rules_publish(shared, text, then, err);
}

static void handle_rules(void *arg, struct control_request *rq) {
    struct shared *shared = arg;
    struct error err = { .text = "" };
    bool with_hits = rq->method == CONTROL_GET && slice_eq(rq->query, SLICE("hits=true"));
    int rc = 0;

    if (rq->method == CONTROL_GET && rq->query.len > 0 && !with_hits)
        rc = error_set(&err, -EINVAL, "the query may hold hits=true");
    if (rq->method != CONTROL_GET)
        rc = publish(shared, rq, rq->method == CONTROL_PUT ? rq->body : SLICE("[]"), &err);
    if (rc < 0)
        control_reply_text(rq, rc == -ESTALE ? 412 : 400, err.text);
    else
        reply_rules(shared, rq, with_hits);
}

/* Whether the request has no query, which would change nothing; else it is refused. */
static bool has_no_query(struct control_request *rq) {
    if (rq->query.len > 0)
        control_reply_text(rq, 400, "no query is taken here");
    return rq->query.len == 0;
}

static void reply_error(struct control_request *rq, int rc, const struct error *err) {
    control_reply_text(rq, rc == -EINVAL ? 400 : 500, err->text);
}

/* Forgets those of a session, or all. */
static void forget_sequences(void *arg, struct control_request *rq) {
    struct shared *shared = arg;
    struct error err = { .text = "" };
    char room[SESSION_BYTES_MAX];
    struct slice session;

    if (find_session(rq, room, &session, &err) < 0) {
        reply_error(rq, -EINVAL, &err);
        return;
    }
    if (session.ptr != NULL)
        roll_forget_session(shared, session);
    else
        shared_forget(shared, &shared->sequences);
    control_reply_text(rq, 200, "forgotten");
}

/* --- /queues and /faults ---------------------------------------------------------------------- */

#define QUEUES_TOLD 64

static json_t *queues_json(struct shared *shared) {
    struct queue_view *views = mem_alloc(QUEUES_TOLD * sizeof(*views));
    size_t count = views != NULL ? queues_look(shared, clock_now(), views, QUEUES_TOLD) : 0;
    json_t *list = views != NULL ? json_array() : NULL;

    for (size_t i = 0; i < count && i < QUEUES_TOLD; i++) {
        const struct queue_view *v = &views[i];
        json_array_append_new(list, json_pack("{s:o, s:i, s:i, s:i, s:i, s:I, s:I}", "path",
                                              json_text(slice_str(v->name), SIZE_MAX), "workers",
                                              (int)v->workers, "busy", (int)v->busy, "queue",
                                              (int)v->limit, "waiting", (int)v->waiting, "requests",
                                              (json_int_t)v->requests, "refused",
                                              (json_int_t)v->refused));
    }
    mem_free(views);
    return list;
}

static void handle_queues(void *arg, struct control_request *rq) {
    struct shared *shared = arg;

    if (!has_no_query(rq))
        return;
    if (rq->method == CONTROL_GET) {
        reply_json(rq, queues_json(shared));
        return;
    }
    shared_forget(shared, &shared->queues);
    control_reply_text(rq, 200, "forgotten");
}

static void reply_faults(struct shared *shared, struct control_request *rq) {
    struct slow_stats_sum *sum = sum_up(shared);
    json_t *list = sum != NULL ? json_array() : NULL;

    for (size_t i = 0; i < FAULT_KINDS && sum != NULL; i++)
        json_array_append_new(list, json_pack("{s:s, s:b, s:I, s:s, s:s}", "kind",
                                              fault_infos[i].name.ptr, "enabled",
                                              shared_fault_is_on(shared, (enum fault_kind)i),
                                              "struck", (json_int_t)sum->faults[i], "rolls",
                                              fault_infos[i].rolls, "help", fault_infos[i].help));
    reply_json(rq, list);
    mem_free(sum);
}

/* The bit of that kind, or 0. */
static uint64_t fault_bit(const char *kind) {
    for (size_t i = 0; i < FAULT_KINDS; i++)
        if (slice_eq(slice_str(kind), fault_infos[i].name))
            return UINT64_C(1) << i;
    return 0;
}

/* {"rst": false}: all of it or nothing. */
static int switch_faults(struct shared *shared, struct slice text, struct error *err) {
    json_error_t why;
    json_t *json = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &why), *value;
    uint64_t on = 0, off = 0;
    const char *kind;
    int rc = 0;

    if (json == NULL)
        return error_set(err, -EINVAL, "not JSON: line %d: %s", why.line, why.text);
    if (!json_is_object(json))
        rc = error_set(err, -EINVAL, "an object such as {\"rst\": false} is wanted");
    json_object_foreach(json, kind, value) {
        uint64_t bit = fault_bit(kind);
        if (bit == 0 || !json_is_boolean(value))
            rc = error_set(err, -EINVAL, "'%.64s' %s", kind,
                           bit == 0 ? "is no kind of fault" : "is to be true or false");
        *(json_is_true(value) ? &on : &off) |= bit;
    }
    json_decref(json);
    if (rc == 0) {
        atomic_fetch_or(&shared->faults_off, off);
        atomic_fetch_and(&shared->faults_off, ~on);
    }
    return rc;
}

static void handle_faults(void *arg, struct control_request *rq) {
    struct shared *shared = arg;
    struct error err = { .text = "" };

    if (!has_no_query(rq))
        return;
    int rc = rq->method == CONTROL_PUT ? switch_faults(shared, rq->body, &err) : 0;
    if (rc < 0)
        reply_error(rq, rc, &err);
    else
        reply_faults(shared, rq);
}

/* --- /requests -------------------------------------------------------------------------------- */

static struct journal *journal_of(void *arg, struct control_request *rq) {
    struct shared *shared = arg;

    if (shared->journal == NULL)
        control_reply_text(rq, 404, "no requests are kept; start with --journal N");
    return shared->journal;
}

static void list_requests(struct journal *journal, struct control_request *rq) {
    struct error err = { .text = "" };
    json_t *json = NULL;
    int rc = journal_list(journal, rq->query, &json, &err);

    if (rc == 0)
        reply_json(rq, json);
    else
        reply_error(rq, rc, &err);
}

static void handle_requests(void *arg, struct control_request *rq) {
    struct journal *journal = journal_of(arg, rq);
    struct error err = { .text = "" };

    if (journal == NULL)
        return;
    if (rq->method == CONTROL_GET) {
        list_requests(journal, rq);
        return;
    }
    int rc = journal_forget(journal, rq->query, &err);
    if (rc == 0)
        control_reply_text(rq, 200, "forgotten");
    else
        reply_error(rq, rc, &err);
}

/* 417 is for tests that look at the status only: the number is not what was wanted. */
static void count_requests(void *arg, struct control_request *rq) {
    struct journal *journal = journal_of(arg, rq);
    struct error err = { .text = "" };
    struct journal_verdict verdict;

    if (journal == NULL)
        return;
    int rc = journal_count(journal, rq->query, &verdict, &err);
    if (rc < 0) {
        reply_error(rq, rc, &err);
        return;
    }
    char text[192];
    int len =
        snprintf(text, sizeof(text), "{\"count\": %llu%s%s%s}\n", (unsigned long long)verdict.count,
                 verdict.wanted[0] != '\0' ? ", \"wanted\": \"" : "", verdict.wanted,
                 verdict.wanted[0] != '\0' ? "\"" : "");
    control_reply(rq, verdict.holds ? 200 : 417, "application/json", slice_of(text, (size_t)len));
}

static void reset_stats(struct shared *shared) {
    shared_reset_stats(shared);
    if (shared->tcp != NULL)
        relay_table_reset(shared->tcp);
}

static void summarize_requests(struct shared *shared, struct control_request *rq) {
    struct journal *journal = journal_of(shared, rq);
    struct error err = { .text = "" };
    json_t *json;

    if (journal == NULL)
        return;
    int rc = journal_summarize(journal, rq->query, &json, &err);
    if (rc == 0)
        reply_json(rq, json);
    else
        reply_error(rq, rc, &err);
}

/* With a search, such as that of a session, of the requests in the journal. */
static void handle_stats(void *arg, struct control_request *rq) {
    struct shared *shared = arg;

    if (rq->method == CONTROL_GET && rq->query.len == 0) {
        reply_stats(shared, rq);
    } else if (rq->method == CONTROL_GET) {
        summarize_requests(shared, rq);
    } else if (has_no_query(rq)) {
        reset_stats(shared);
        control_reply_text(rq, 200, "reset");
    }
}

/* Counts the rules of the session from zero. */
static void reset_rule_counts(struct shared *shared, struct slice session) {
    char *text = shared_rules(shared, NULL);
    json_t *rules = text != NULL ? json_loads(text, 0, NULL) : NULL, *rule;
    size_t i;

    mem_free(text);
    json_array_foreach(rules, i, rule) {
        const char *name = json_string_value(json_object_get(rule, "session"));
        if (name != NULL && slice_eq(slice_str(name), session))
            atomic_store(&shared->rule_counts[i], 0);
    }
    json_decref(rules);
}

/* All that requests have left behind, or those of a session; rules are no trace of theirs. */
static void reset_all(void *arg, struct control_request *rq) {
    struct shared *shared = arg;
    struct error err = { .text = "" };
    char room[SESSION_BYTES_MAX];
    struct slice session;

    int rc = find_session(rq, room, &session, &err);
    if (rc == 0 && session.ptr != NULL) {
        roll_forget_session(shared, session);
        reset_rule_counts(shared, session);
    } else if (rc == 0) {
        shared_forget(shared, &shared->sequences);
        shared_forget(shared, &shared->queues);
        reset_stats(shared);
    }
    if (rc == 0 && shared->journal != NULL)
        rc = journal_forget(shared->journal, rq->query, &err);
    if (rc == 0)
        control_reply_text(rq, 200, "reset");
    else
        reply_error(rq, rc, &err);
}

static void handle_tcp(void *arg, struct control_request *rq) {
    struct relay_table *table = ((struct shared *)arg)->tcp;
    struct error err = { .text = "" };

    if (table == NULL) {
        control_reply_text(rq, 404, "there is no proxy; start with --tcp LISTEN=TARGET");
        return;
    }
    int rc = rq->method == CONTROL_GET ? 0 : slow_tcp_edit(table, rq, &err);
    if (rc == 0)
        reply_json(rq, relay_table_json(table));
    else
        control_reply_text(rq, rc == -EINVAL ? 400 : rc == -ENOENT ? 404 : 503, err.text);
}

/* A page of another site cannot frame it, and so have its buttons pressed. */
static void reply_page(void *arg UNUSED, struct control_request *rq) {
    if (!has_no_query(rq))
        return;
    control_add_header(rq, "Content-Security-Policy", control_page_policy);
    control_add_header(rq, "X-Frame-Options", "DENY");
    control_add_header(rq, "X-Content-Type-Options", "nosniff");
    control_add_header(rq, "Referrer-Policy", "no-referrer");
    control_add_header(rq, "Cache-Control", "no-cache");
    control_reply(rq, 200, "text/html; charset=utf-8", slice_str(control_page));
}

static void reply_openapi(void *arg UNUSED, struct control_request *rq) {
    reply_json(rq, openapi_json());
}

static void reply_health(void *arg UNUSED, struct control_request *rq) {
    control_reply_text(rq, 200, "ok");
}

/* openapi.json describes each, which a test compares. */
static const struct control_route routes[] = {
    { "/", CONTROL_GET, reply_page },
    { "/stats", CONTROL_GET | CONTROL_DELETE, handle_stats },
    { "/metrics", CONTROL_GET, reply_metrics },
    { "/requests", CONTROL_GET | CONTROL_DELETE, handle_requests },
    { "/requests/count", CONTROL_GET, count_requests },
    { "/rules", CONTROL_GET | CONTROL_PUT | CONTROL_DELETE, handle_rules },
    { "/faults", CONTROL_GET | CONTROL_PUT, handle_faults },
    { "/sequences", CONTROL_DELETE, forget_sequences },
    { "/queues", CONTROL_GET | CONTROL_DELETE, handle_queues },
    { "/reset", CONTROL_POST, reset_all },
    { "/tcp", CONTROL_GET | CONTROL_PUT | CONTROL_PATCH | CONTROL_DELETE, handle_tcp },
    { "/openapi.json", CONTROL_GET, reply_openapi },
    { "/healthz", CONTROL_GET, reply_health },
};

const struct control_route *slow_control_routes(size_t *ret_count) {
    *ret_count = ARRAY_LEN(routes);
    return routes;
}

struct control *slow_control_new(struct loop *loop, int listen_fd, struct shared *shared,
                                 const struct option_strings *hosts, struct error *err) {
    return control_new(loop, listen_fd, routes, ARRAY_LEN(routes), hosts, shared, err);
}
