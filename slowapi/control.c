/* SPDX-License-Identifier: MIT */
/* Tells the truth as JSON and for Prometheus, and takes rules. */
#include "slowapi/control.h"
#include "base/alloc.h"
#include "base/buf.h"
#include "slowapi/rule.h"
#include <jansson.h>
#include <stdlib.h>

#define METRICS_BYTES_MAX (1u << 20)

static const char *const counter_names[] = {
#define NAME_OF(name, NAME, help) #name,
    TRUTH_COUNTERS(NAME_OF)
#undef NAME_OF
};

static const char *const counter_helps[] = {
#define HELP_OF(name, NAME, help) help,
    TRUTH_COUNTERS(HELP_OF)
#undef HELP_OF
};

static const char *const time_names[TRUTH_TIMES] = { "planned", "actual", "late" };

/* Too large for the stack. NULL when out of memory. */
static struct truth_sum *sum_up(struct shared *shared) {
    struct truth_sum *sum = mem_alloc(sizeof(*sum));

    if (sum != NULL)
        truth_sum(sum, shared->slots, &shared->total);
    return sum;
}

/* --- /stats ----------------------------------------------------------------------------------- */

static json_t *times_json(const struct truth_times *times) {
    double mean = times->count > 0 ? (double)times->sum_usec / (double)times->count : 0;

    return json_pack("{s:I, s:f, s:f, s:f, s:f, s:f, s:f}", "count", (json_int_t)times->count,
                     "mean_ms", mean / 1e3, "p50_ms", (double)truth_quantile(times, .5) / 1e3,
                     "p95_ms", (double)truth_quantile(times, .95) / 1e3, "p99_ms",
                     (double)truth_quantile(times, .99) / 1e3, "p99.9_ms",
                     (double)truth_quantile(times, .999) / 1e3, "max_ms",
                     (double)times->max_usec / 1e3);
}

static json_t *stats_json(const struct truth_sum *sum, struct shared *shared) {
    json_t *json = json_object(), *faults = json_object(), *classes = json_object();
    char name[4] = "0xx";

    json_object_set_new(json, "uptime_s",
                        json_real((double)(clock_now() - shared->started_at) / 1e9));
    json_object_set_new(json, "open_connections", json_integer(sum->open));
    json_object_set_new(json, "in_flight", json_integer(sum->in_flight));
    json_object_set_new(json, "in_flight_max", json_integer(sum->in_flight_max));
    for (size_t i = 0; i < TRUTH_COUNTERS_MAX; i++)
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
    for (size_t i = 0; i < TRUTH_TIMES; i++)
        json_object_set_new(json, time_names[i], times_json(&sum->times[i]));
    return json;
}

static void reply_stats(void *arg, struct control_request *rq) {
    struct shared *shared = arg;
    struct truth_sum *sum = sum_up(shared);
    json_t *json = sum != NULL ? stats_json(sum, shared) : NULL;
    char *text = json != NULL ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;

    if (text != NULL)
        control_reply(rq, 200, "application/json", slice_str(text));
    else
        control_reply_text(rq, 500, "out of memory");
    free(text);
    json_decref(json);
    mem_free(sum);
}

/* --- /metrics: the text format of Prometheus ---------------------------------------------------
 */

static int put_times(struct buf *out, const char *name, const struct truth_times *times) {
    static const double bounds[] = { .0001, .001, .0025, .005, .01, .025, .05, .1, .25,
                                     .5,    1,    2.5,   5,    10,  30,   60,  300 };
    int rc = buf_printf(out,
                        "# HELP slowapi_%s_seconds Delays: planned, actual, and their "
                        "difference (late).\n# TYPE slowapi_%s_seconds histogram\n",
                        name, name);

    for (size_t i = 0; i < ARRAY_LEN(bounds) && rc == 0; i++)
        rc = buf_printf(out, "slowapi_%s_seconds_bucket{le=\"%g\"} %llu\n", name, bounds[i],
                        (unsigned long long)truth_below(times, (uint64_t)(bounds[i] * 1e6)));
    if (rc == 0)
        rc = buf_printf(out,
                        "slowapi_%s_seconds_bucket{le=\"+Inf\"} %llu\nslowapi_%s_seconds_sum %f\n"
                        "slowapi_%s_seconds_count %llu\n",
                        name, (unsigned long long)times->count, name, (double)times->sum_usec / 1e6,
                        name, (unsigned long long)times->count);
    return rc;
}

static int put_counters(struct buf *out, const struct truth_sum *sum) {
    int rc = 0;

    for (size_t i = 0; i < TRUTH_COUNTERS_MAX && rc == 0; i++)
        rc = buf_printf(out,
                        "# HELP slowapi_%s_total %s.\n# TYPE slowapi_%s_total counter\n"
                        "slowapi_%s_total %llu\n",
                        counter_names[i], counter_helps[i], counter_names[i], counter_names[i],
                        (unsigned long long)sum->counters[i]);
    if (rc == 0)
        rc = buf_printf(out, "# HELP slowapi_responses_total Answers by class.\n"
                             "# TYPE slowapi_responses_total counter\n");
    for (size_t i = 2; i < ARRAY_LEN(sum->classes) && rc == 0; i++)
        rc = buf_printf(out, "slowapi_responses_total{class=\"%zuxx\"} %llu\n", i,
                        (unsigned long long)sum->classes[i]);
    if (rc == 0)
        rc = buf_printf(out, "# HELP slowapi_faults_total Faults that struck, by kind.\n"
                             "# TYPE slowapi_faults_total counter\n");
    for (size_t i = 0; i < FAULT_KINDS && rc == 0; i++)
        rc = buf_printf(out, "slowapi_faults_total{kind=\"%s\"} %llu\n", fault_infos[i].name.ptr,
                        (unsigned long long)sum->faults[i]);
    return rc;
}

static int put_gauges(struct buf *out, const struct truth_sum *sum) {
    return buf_printf(out,
                      "# HELP slowapi_open_connections Connections that are open.\n"
                      "# TYPE slowapi_open_connections gauge\nslowapi_open_connections %lld\n"
                      "# HELP slowapi_in_flight Requests that wait for their answer.\n"
                      "# TYPE slowapi_in_flight gauge\nslowapi_in_flight %lld\n"
                      "# HELP slowapi_in_flight_max The most that ever waited at once.\n"
                      "# TYPE slowapi_in_flight_max gauge\nslowapi_in_flight_max %lld\n",
                      (long long)sum->open, (long long)sum->in_flight,
                      (long long)sum->in_flight_max);
}

static void reply_metrics(void *arg, struct control_request *rq) {
    struct truth_sum *sum = sum_up(arg);
    struct buf out;

    buf_init(&out, METRICS_BYTES_MAX);
    int rc = sum != NULL ? put_gauges(&out, sum) : -1;
    if (rc == 0)
        rc = put_counters(&out, sum);
    for (size_t i = 0; i < TRUTH_TIMES && rc == 0; i++)
        rc = put_times(&out, time_names[i], &sum->times[i]);
    if (rc == 0)
        control_reply(rq, 200, "text/plain; version=0.0.4", buf_unread(&out));
    else
        control_reply_text(rq, 500, "out of memory");
    buf_free(&out);
    mem_free(sum);
}

/* --- /rules and the rest ---------------------------------------------------------------------- */

static void reply_rules(struct shared *shared, struct control_request *rq) {
    char *text = rules_text(shared);

    if (text != NULL)
        control_reply(rq, 200, "application/json", slice_str(text));
    else
        control_reply_text(rq, 500, "out of memory");
    mem_free(text);
}

static void handle_rules(void *arg, struct control_request *rq) {
    struct shared *shared = arg;
    struct error err = { .text = "" };
    struct slice text = SLICE("[]");

    if (control_method(rq) == CONTROL_GET) {
        reply_rules(shared, rq);
        return;
    }
    if (control_method(rq) == CONTROL_PUT)
        text = control_body(rq);
    if (rules_publish(shared, text, &err) < 0)
        control_reply_text(rq, 400, err.text);
    else
        reply_rules(shared, rq);
}

static void forget_sequences(void *arg, struct control_request *rq) {
    sequence_forget_all(arg);
    control_reply_text(rq, 200, "forgotten");
}

static void forget_queues(void *arg, struct control_request *rq) {
    queue_forget_all(arg);
    control_reply_text(rq, 200, "forgotten");
}

static void reply_health(void *arg UNUSED, struct control_request *rq) {
    control_reply_text(rq, 200, "ok");
}

static const struct control_route routes[] = {
    { "/stats", CONTROL_GET, reply_stats },
    { "/metrics", CONTROL_GET, reply_metrics },
    { "/rules", CONTROL_GET | CONTROL_PUT | CONTROL_DELETE, handle_rules },
    { "/sequences", CONTROL_DELETE, forget_sequences },
    { "/queues", CONTROL_DELETE, forget_queues },
    { "/healthz", CONTROL_GET, reply_health },
};

struct control *slowapi_control_new(struct loop *loop, int listen_fd, struct shared *shared,
                                    const struct option_strings *hosts, struct error *err) {
    return control_new(loop, listen_fd, routes, ARRAY_LEN(routes), hosts, shared, err);
}
