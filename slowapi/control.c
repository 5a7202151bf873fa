/* SPDX-License-Identifier: MIT */
/* Tells the truth as JSON and for Prometheus, and takes rules. */
#include "slowapi/control.h"
#include "base/alloc.h"
#include "base/prometheus.h"
#include "http/url.h"
#include "slowapi/journal.h"
#include "slowapi/rule.h"
#include "slowapi/tcp.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define METRICS_BYTES_MAX (1u << 20)
#define SESSION_BYTES_MAX 512 /* encoded */

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

/* [{"name": ..., "requests": N}], in the order of the rules. */
static json_t *rules_json(struct shared *shared) {
    char *text = shared_rules(shared);
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

static json_t *stats_json(const struct slow_stats_sum *sum, struct shared *shared) {
    json_t *json = json_object(), *faults = json_object(), *classes = json_object();
    char name[4] = "0xx";

    json_object_set_new(json, "uptime_s",
                        json_real((double)(clock_now() - shared->started_at) / 1e9));
    json_object_set_new(json, "open_connections", json_integer(sum->open));
    json_object_set_new(json, "in_flight", json_integer(sum->in_flight));
    json_object_set_new(json, "in_flight_max", json_integer(sum->in_flight_max));
    for (size_t i = 0; i < SLOW_COUNTERS_MAX; i++)
        json_object_set_new(json, counter_names[i], json_integer((json_int_t)sum->counters[i]));
    for (size_t i = 2; i < ARRAY_LEN(sum->classes); i++) {
        name[0] = (char)('0' + i);
        json_object_set_new(classes, name, json_integer((json_int_t)sum->classes[i]));
    }
    json_object_set_new(json, "status", classes);
    for (size_t i = 0; i < FAULT_KINDS; i++)
        json_object_set_new(faults, fault_infos[i].name.ptr,
                            json_integer((json_int_t)sum->faults[i]));
    json_object_set_new(json, "faults", faults);
    for (size_t i = 0; i < SLOW_TIMES; i++)
        json_object_set_new(json, time_names[i], times_json(&sum->times[i]));
    json_object_set_new(json, "rules", rules_json(shared));
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

static void reply_stats(void *arg, struct control_request *rq) {
    struct shared *shared = arg;
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
    for (size_t i = 2; i < ARRAY_LEN(sum->classes); i++) {
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

static void put_gauges(struct prometheus *p, const struct slow_stats_sum *sum) {
    prometheus_family(p, "open_connections", PROMETHEUS_GAUGE, "Connections that are open.");
    prometheus_count(p, NULL, 0, sum->open);
    prometheus_family(p, "in_flight", PROMETHEUS_GAUGE, "Requests that wait for their answer.");
    prometheus_count(p, NULL, 0, sum->in_flight);
    prometheus_family(p, "in_flight_max", PROMETHEUS_GAUGE, "The most that ever waited at once.");
    prometheus_count(p, NULL, 0, sum->in_flight_max);
}

static void reply_metrics(void *arg, struct control_request *rq) {
    struct slow_stats_sum *sum = sum_up(arg);
    struct buf out;
    struct prometheus p = { .out = &out, .prefix = "slowapi", .rc = sum != NULL ? 0 : -ENOMEM };

    buf_init(&out, METRICS_BYTES_MAX);
    if (sum != NULL) {
        put_gauges(&p, sum);
        put_counters(&p, sum);
        put_times(&p, sum);
        if (((struct shared *)arg)->tcp != NULL)
            relay_table_put_metrics(((struct shared *)arg)->tcp, &p);
    }
    if (p.rc == 0)
        control_reply(rq, 200, PROMETHEUS_TYPE, buf_unread(&out));
    else
        control_reply_text(rq, 500, "out of memory");
    buf_free(&out);
    mem_free(sum);
}

/* --- /rules and the rest ---------------------------------------------------------------------- */

#define ETAG_BYTES 40

/* The ETag of the rules of that generation; another run of the server has others. */
static const char *format_etag(const struct shared *shared, uint32_t generation,
                               char text[static ETAG_BYTES]) {
    snprintf(text, ETAG_BYTES, "\"%llx-%u\"", (unsigned long long)shared->started_at, generation);
    return text;
}

/* With an ETag, for who changes a list that others may change, too. */
static void reply_rules(struct shared *shared, struct control_request *rq) {
    char etag[ETAG_BYTES];
    uint32_t generation = atomic_load(&shared->rules_generation);
    char *text = shared_rules(shared);

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
    int rc = 0;

    if (rq->method != CONTROL_GET)
        rc = publish(shared, rq, rq->method == CONTROL_PUT ? rq->body : SLICE("[]"), &err);
    if (rc < 0)
        control_reply_text(rq, rc == -ESTALE ? 412 : 400, err.text);
    else
        reply_rules(shared, rq);
}

static void forget_sequences(void *arg, struct control_request *rq) {
    struct shared *shared = arg;

    shared_forget(shared, &shared->sequences);
    control_reply_text(rq, 200, "forgotten");
}

static void forget_queues(void *arg, struct control_request *rq) {
    struct shared *shared = arg;

    shared_forget(shared, &shared->queues);
    control_reply_text(rq, 200, "forgotten");
}

/* --- /requests -------------------------------------------------------------------------------- */

static struct journal *journal_of(void *arg, struct control_request *rq) {
    struct shared *shared = arg;

    if (shared->journal == NULL)
        control_reply_text(rq, 404, "no requests are kept; start with --journal N");
    return shared->journal;
}

static void reply_error(struct control_request *rq, int rc, const struct error *err) {
    control_reply_text(rq, rc == -EINVAL ? 400 : 500, err->text);
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

static void handle_stats(void *arg, struct control_request *rq) {
    if (rq->method == CONTROL_GET) {
        reply_stats(arg, rq);
        return;
    }
    reset_stats(arg);
    control_reply_text(rq, 200, "reset");
}

/* All that requests have left behind; rules are no trace of theirs. */
static void reset_all(void *arg, struct control_request *rq) {
    struct shared *shared = arg;
    struct error err = { .text = "" };

    shared_forget(shared, &shared->sequences);
    shared_forget(shared, &shared->queues);
    reset_stats(shared);
    int rc = shared->journal != NULL ? journal_forget(shared->journal, SLICE(""), &err) : 0;
    if (rc == 0)
        control_reply_text(rq, 200, "reset");
    else
        reply_error(rq, rc, &err);
}

static void handle_tcp(void *arg, struct control_request *rq) {
    slow_tcp_control(((struct shared *)arg)->tcp, rq);
}

static void reply_health(void *arg UNUSED, struct control_request *rq) {
    control_reply_text(rq, 200, "ok");
}

static const struct control_route routes[] = {
    { "/stats", CONTROL_GET | CONTROL_DELETE, handle_stats },
    { "/metrics", CONTROL_GET, reply_metrics },
    { "/requests", CONTROL_GET | CONTROL_DELETE, handle_requests },
    { "/requests/count", CONTROL_GET, count_requests },
    { "/rules", CONTROL_GET | CONTROL_PUT | CONTROL_DELETE, handle_rules },
    { "/sequences", CONTROL_DELETE, forget_sequences },
    { "/queues", CONTROL_DELETE, forget_queues },
    { "/reset", CONTROL_POST, reset_all },
    { "/tcp", CONTROL_GET | CONTROL_PUT | CONTROL_PATCH | CONTROL_DELETE, handle_tcp },
    { "/healthz", CONTROL_GET, reply_health },
};

struct control *slow_control_new(struct loop *loop, int listen_fd, struct shared *shared,
                                 const struct option_strings *hosts, struct error *err) {
    return control_new(loop, listen_fd, routes, ARRAY_LEN(routes), hosts, shared, err);
}
