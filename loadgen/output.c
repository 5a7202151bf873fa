/* SPDX-License-Identifier: MIT */
/* Opens the files of a report and writes its forms for programs: JSON, a line per request, the
 * distribution. */
#include "loadgen/output.h"
#include "base/escape.h"
#include "base/json.h"
#include "base/stream.h"
#include "loadgen/live.h"
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

/* --- JSON ------------------------------------------------------------------------------------- */

/* Values and keys are ours and valid UTF-8, so that the only thing that can fail is memory:
 * json_object_set_new then takes NULL and fails, and `ok` remembers it for the end. */
struct object {
    json_t *json;
    bool *ok;
};

static void put(struct object o, const char *key, json_t *value) {
    if (json_object_set_new(o.json, key, value) != 0)
        *o.ok = false;
}

static void put_count(struct object o, const char *key, uint64_t value) {
    put(o, key, json_integer((json_int_t)value));
}

static void put_real(struct object o, const char *key, double value) {
    put(o, key, json_real(value));
}

static void put_text(struct object o, const char *key, struct slice text) {
    put(o, key, json_text(text, SIZE_MAX));
}

static struct object put_object(struct object o, const char *key) {
    struct object child = { json_object(), o.ok };
    put(o, key, child.json);
    return child;
}

/* The word that was sent; what the files say when reports are merged. */
static struct slice method_of(const struct report *r) {
    struct slice rest = buf_unread(&r->request->bytes);
    return rest.len > 0 ? slice_cut(&rest, ' ') : slice_str(r->config->method);
}

static void put_config(struct object root, const struct report *r) {
    const struct loadgen_config *c = r->config;
    struct object o = put_object(root, "config");
    put_text(o, "url", slice_str(c->url));
    put_text(o, "host", slice_str(r->target->host));
    put_count(o, "port", r->target->url.port);
    put_text(o, "target", r->target->url.target);
    put_text(o, "method", method_of(r));
    put(o, "requests", c->requests > 0 ? json_integer(c->requests) : json_null());
    put_count(o, "concurrency", (uint64_t)c->concurrency);
    put(o, "time_limit_s",
        c->time_limit > 0 ? json_real((double)c->time_limit / (double)NSEC_PER_SEC) : json_null());
    put_real(o, "timeout_s", (double)c->timeout / (double)NSEC_PER_SEC);
    put(o, "keep_alive", json_boolean(!r->request->close));
    put_text(o, "http_version", c->http10 ? SLICE("1.0") : SLICE("1.1"));
    put_count(o, "request_bytes", buf_unread(&r->request->bytes).len);
    put_count(o, "workers", loadgen_config_workers(c));
    put(o, "rate", c->rate > 0 ? json_real(c->rate) : json_null());
    put_text(o, "arrivals",
             c->arrivals == LOADGEN_ARRIVALS_POISSON ? SLICE("poisson") : SLICE("even"));
    put_real(o, "warmup_s", (double)c->warmup / (double)NSEC_PER_SEC);
    put_text(o, "through", slice_str(r->target->peer));
    put(o, "has_body", json_boolean(r->request->has_body));
    put(o, "variable_length", json_boolean(c->variable_length));
}

static void put_totals(struct object root, const struct report *r) {
    const struct counters *t = r->counters;
    const struct summary *s = r->summary;
    struct object o = put_object(root, "totals");
    put_real(o, "started_s", (double)r->started_wall / (double)NSEC_PER_SEC);
    put_real(o, "seconds", s->seconds);
    put_count(o, "requests", s->ended);
    put_count(o, "succeeded", t->succeeded);
    put_count(o, "failed", s->failed);
    put_count(o, "errors", s->errors);
    put_count(o, "non_2xx", t->non_2xx);
    put_count(o, "kept_alive", t->kept_alive);
    put_count(o, "in_flight", t->in_flight);
    put_real(o, "in_flight_age_max_s", (double)t->in_flight_age_max / (double)NSEC_PER_SEC);
    put_count(o, "planned", t->planned);
    put_count(o, "late", t->late);
    put_count(o, "dropped", t->dropped);
    put_count(o, "starved", t->starved);
    put_count(o, "concurrency", s->concurrency);
    put_real(o, "rps", s->rate);
    put_real(o, "received_per_s", s->received_rate);
    put_real(o, "sent_per_s", s->sent_rate);
    put_count(o, "connections", t->connections);
    put_count(o, "reconnects", t->reconnects);
    put_count(o, "bytes_received", t->bytes_received);
    put_count(o, "body_bytes", t->body_bytes);
    put_count(o, "bytes_sent", t->bytes_sent);

    struct object reasons = put_object(root, "failures");
    for (int i = 0; i < FAILURE_COUNT; i++)
        put_count(reasons, failure_infos[i].key, t->failed[i]);
}

static void put_statuses(struct object root, const struct answers *a) {
    struct object o = put_object(root, "statuses");
    for (int i = 0; i < ANSWERS_STATUSES; i++) {
        char key[8];
        if (a->statuses[i] == 0)
            continue;
        snprintf(key, sizeof(key), "%d", i);
        put_count(o, key, a->statuses[i]);
    }
}

static void put_lenient(struct object root, const struct answers *a) {
    struct object o = put_object(root, "lenient");
    put_count(o, "responses", a->lenient);
    for (int i = 0; i < HTTP_LENIENCE_COUNT; i++)
        put_count(o, answers_leniences[i].key, a->leniences[i]);
}

static void put_malformed(struct object root, const struct answers *a) {
    char text[ANSWERS_FIRST_BYTES * 4 + 1];
    if (a->reasons[0].count == 0) {
        put(root, "malformed", json_null());
        return;
    }
    struct object o = put_object(root, "malformed");
    struct object reasons = put_object(o, "reasons");
    for (int i = 0; i < ANSWERS_REASONS; i++)
        if (a->reasons[i].count > 0)
            put_count(reasons, a->reasons[i].text, a->reasons[i].count);
    escape_bytes(text, sizeof(text), slice_of(a->first, a->first_len));
    put(o, "first", json_string(text));
}

static void put_addresses(struct object root, const struct answers *a,
                          const struct resolved *addresses) {
    json_t *list = json_array();
    put(root, "addresses", list);
    for (size_t i = 0; i < addresses->count; i++) {
        const struct answers_address *one = &a->addresses[i];
        char text[ADDRESS_TEXT_BYTES];
        struct object item = { json_object(), root.ok };
        put(item, "address", json_string(address_format(&addresses->addresses[i], text)));
        put_count(item, "connections", one->connections);
        put_count(item, "responses", one->responses);
        put(item, "left_out",
            one->left_out != 0 ? json_string(strerrordesc_np(one->left_out)) : json_null());
        if (json_array_append_new(list, item.json) != 0)
            *root.ok = false;
    }
}

static void put_tls(struct object root, const struct answers_tls *t) {
    struct object words = put_object(root, "failure_reasons");
    for (int i = 0; i < FAILURE_COUNT; i++)
        if (t->reasons[i][0] != '\0')
            put(words, failure_infos[i].key, json_string(t->reasons[i]));
    if (t->handshakes == 0) {
        put(root, "tls", json_null());
        return;
    }
    struct object o = put_object(root, "tls");
    put(o, "protocol", json_string(t->protocol));
    put(o, "temp_key", json_string(t->temp_key));
    put(o, "server_name", json_string(t->server_name));
    put_count(o, "handshakes", t->handshakes);
    put_count(o, "resumed", t->resumed);
}

static void put_answers(struct object root, const struct answers *a,
                        const struct resolved *addresses) {
    bool any = answers_count(a, 200, 299) > 0;
    put_statuses(root, a);
    put(root, "body_lengths",
        any ? json_pack("[I,I]", (json_int_t)a->shortest, (json_int_t)a->longest) : json_null());
    put_lenient(root, a);
    put_count(root, "overrun", a->overrun);
    put_malformed(root, a);
    put_tls(root, &a->tls);
    put_addresses(root, a, addresses);
}

/* A value, or null when nothing was measured: nothing has no minimum. */
static json_t *usec_if(bool any, int64_t usec) {
    return any ? json_integer(usec) : json_null();
}

static void put_latency(struct object root, const char *key, struct times t) {
    static const struct {
        const char *key;
        double q;
    } points[] = {
        { "p50", 0.50 }, { "p66", 0.66 }, { "p75", 0.75 }, { "p80", 0.80 },    { "p90", 0.90 },
        { "p95", 0.95 }, { "p98", 0.98 }, { "p99", 0.99 }, { "p99_9", 0.999 },
    };
    struct object o = put_object(root, key);
    bool any = percentile_count(t) > 0, ended = hist_count(t.ended) > 0;
    put_count(o, "count", percentile_count(t));
    put_count(o, "censored", percentile_censored(t));
    put(o, "known_share", any ? json_real(percentile_known(t)) : json_null());
    put(o, "min", usec_if(ended, hist_min(t.ended)));
    put(o, "mean", ended ? json_real(hist_mean(t.ended)) : json_null());
    put(o, "stddev", ended ? json_real(hist_stddev(t.ended)) : json_null());
    for (size_t i = 0; i < ARRAY_LEN(points); i++)
        put(o, points[i].key, usec_if(any, percentile_of(t, points[i].q).usec));
    put(o, "max", usec_if(any, percentile_max(t).usec));
}

/* Puts what --merge adds up: [the largest value of a bucket, how many values are in it]. */
static void put_histogram(struct object o, const char *key, const struct hist *h) {
    json_t *buckets = json_array();
    uint32_t cursor = 0;
    int64_t usec;
    uint64_t count;
    put(o, key, buckets);
    while (hist_next(h, &cursor, &usec, &count)) {
        json_t *pair = json_pack("[I,I]", (json_int_t)usec, (json_int_t)count);
        if (json_array_append_new(buckets, pair) != 0)
            *o.ok = false;
    }
}

const struct output_time output_times[] = {
    { "latency_us", TIME_TOTAL },   { "connect_us", TIME_CONNECT },
    { "tls_us", TIME_TLS },         { "processing_us", TIME_PROCESSING },
    { "wait_us", TIME_WAIT },       { "send_us", TIME_SEND },
    { "receive_us", TIME_RECEIVE }, { "queue_us", TIME_QUEUE },
    { "uncorrected_us", TIME_RAW }, { "new_us", TIME_NEW },
    { "reused_us", TIME_REUSED },   { "disturbed_us", TIME_DISTURBED },
};
const size_t output_time_count = ARRAY_LEN(output_times);

static void put_latencies(struct object root, const struct summary *s) {
    for (size_t i = 0; i < output_time_count; i++)
        put_latency(root, output_times[i].key, s->times[output_times[i].time]);
    put_latency(root, "undisturbed_us", s->undisturbed);
    struct object histograms = put_object(root, "histograms");
    struct object ages = put_object(root, "ages");
    for (size_t i = 0; i < output_time_count; i++) {
        struct times t = s->times[output_times[i].time];
        put_histogram(histograms, output_times[i].key, t.ended);
        put_histogram(ages, output_times[i].key, t.ages);
    }
}

static void put_percentiles(struct object root, const struct report *r) {
    const struct loadgen_percentiles *p = &r->config->percentiles;
    struct times total = r->summary->times[TIME_TOTAL];
    struct object o = put_object(root, "percentiles_us");
    for (size_t i = 0; i < p->count; i++) {
        char key[32];
        snprintf(key, sizeof(key), "%g", p->values[i]);
        put(o, key,
            usec_if(percentile_count(total) > 0, percentile_of(total, p->values[i] / 100).usec));
    }
}

static void put_series(struct object root, const struct live *live) {
    json_t *series = json_array();
    put(root, "series", series);
    for (size_t i = 0; live != NULL && i < live->row_count; i++) {
        const struct live_row *row = &live->rows[i];
        struct object item = { json_object(), root.ok };
        put_real(item, "second", row->second);
        put_real(item, "seconds", row->length);
        put_count(item, "requests", row->requests);
        put_count(item, "failed", row->failed);
        put_real(item, "rps", row->rate);
        put_count(item, "in_flight", row->in_flight);
        put(item, "p50_us", usec_if(row->answers > 0, row->p50_us));
        put(item, "p99_us", usec_if(row->answers > 0, row->p99_us));
        put(item, "max_us", usec_if(row->answers > 0, row->max_us));
        if (json_array_append_new(series, item.json) != 0)
            *root.ok = false;
    }
}

static void put_conditions(struct object root, const struct report *r) {
    json_t *list = json_array();
    put(root, "conditions", list);
    const struct threshold *t;
    for (size_t i = 0; (t = report_condition(r, i)) != NULL; i++) {
        struct threshold_fact fact = threshold_fact(t, &r->summary->facts);
        struct object item = { json_object(), root.ok };
        put_text(item, i < r->config->fail_if.count ? "fail_if" : "abort_if", slice_str(t->text));
        put(item, "value", fact.is_known ? json_real(fact.value) : json_null());
        put(item, "at_least", json_boolean(fact.at_least));
        put(item, "failed", json_boolean(threshold_holds(t, fact)));
        if (json_array_append_new(list, item.json) != 0)
            *root.ok = false;
    }
}

static void put_pauses(struct object root, const struct report *r) {
    const struct pauses *p = &r->counters->pauses;
    struct object o = put_object(root, "pauses");
    put_count(o, "count", p->count);
    put_real(o, "seconds", (double)p->total / (double)NSEC_PER_SEC);
    put_real(o, "longest_s", (double)p->longest / (double)NSEC_PER_SEC);
    put(o, "longest_at_s",
        p->count > 0 ? json_real((double)(p->longest_at - r->started_mono) / (double)NSEC_PER_SEC)
                     : json_null());
    put_real(o, "longest_cpu_s", (double)p->longest_cpu / (double)NSEC_PER_SEC);
}

static void put_generator(struct object root, const struct report *r) {
    const struct selfcheck *s = r->check;
    if (s == NULL) {
        put(root, "generator", json_null());
        return;
    }
    struct object o = put_object(root, "generator");
    put_real(o, "cpu_s", (double)s->cpu / (double)NSEC_PER_SEC);
    put_real(o, "busiest_worker", s->busiest);
    put_latency(o, "lag_us", (struct times){ .ended = s->lag });
    put_pauses(o, r);
    put_count(o, "descriptors_max", s->descriptors_max);
    put_count(o, "ports", s->ports);
    put_count(o, "ports_waiting", s->ports_waiting);
    put_count(o, "listen_overflows", s->overflows);
    put_count(o, "listen_drops", s->drops);
    put(o, "was_the_limit", r->summary->is_limited ? json_string(r->summary->limit) : json_null());
}

static void put_merged(struct object root, const struct report *r) {
    if (r->merged == 0) {
        put(root, "merged", json_null());
        return;
    }
    struct object o = put_object(root, "merged");
    put_count(o, "files", r->merged);
    put_real(o, "start_skew_s", r->merge_skew_s);
    put_real(o, "overlap", r->merge_overlap);
}

static void put_environment(struct object root, const struct report *r) {
    struct object o = put_object(root, "environment");
    struct utsname name;
    char text[CLOCK_TEXT_BYTES];
    if (uname(&name) == 0) {
        put_text(o, "system", slice_str(name.sysname));
        put_text(o, "release", slice_str(name.release));
        put_text(o, "machine", slice_str(name.machine));
    }
    put_count(o, "processors", (uint64_t)sysconf(_SC_NPROCESSORS_ONLN));
    put_text(o, "started", slice_str(clock_format(r->started_wall, text)));
    put_real(o, "resolve_ms", (double)r->target->resolve_span / (double)NSEC_PER_MSEC);
}

/* Schema "srv-bench/1", described in docs/bench-output.md: one object and a newline. Members are
 * only ever added. 0, -ENOMEM, or -EIO. */
static int write_json(FILE *out, const struct report *r) {
    bool ok = true;
    struct object root = { json_object(), &ok };
    put_text(root, "schema", SLICE("srv-bench/1"));
    put_text(root, "version", SLICE(SRV_VERSION));
    put_environment(root, r);
    put_config(root, r);
    put_text(root, "server_software", slice_str(r->counters->server_software));
    put_count(root, "document_bytes", r->counters->document_bytes);
    put(root, "stopped_by", r->stopped_by != NULL ? json_string(r->stopped_by) : json_null());
    put_totals(root, r);
    if (r->answers != NULL)
        put_answers(root, r->answers, &r->target->addresses);
    put_latencies(root, r->summary);
    put_percentiles(root, r);
    put_series(root, r->live);
    put_conditions(root, r);
    put_generator(root, r);
    put_merged(root, r);

    int rc = ok ? 0 : -ENOMEM;
    errno = 0;
    if (ok && (json_dumpf(root.json, out, JSON_INDENT(2)) != 0 || fputc('\n', out) == EOF))
        rc = errno != 0 ? -errno : -EIO;
    if (rc == 0)
        rc = stream_flush(out);
    json_decref(root.json);
    return rc;
}

/* --- a line per request ----------------------------------------------------------------------- */

static int64_t usec_of(const struct report *r, const struct sample *s) {
    return (s->start - r->started_mono) / NSEC_PER_USEC;
}

static const char *outcome_text(const struct sample *s) {
    if (s->outcome == OUTCOME_OK)
        return "ok";
    if (s->outcome == OUTCOME_DROPPED)
        return "dropped";
    return s->outcome == OUTCOME_UNFINISHED ? "in_flight" : failure_infos[s->outcome].key;
}

static uint32_t whole_msec(uint32_t usec) {
    return (usec + 500) / 1000;
}

/* ab records complete responses only. */
static int write_gnuplot(FILE *out, const struct report *r) {
    counters_sort_samples(r->samples, r->config->ab_strict); /* ab sorts by duration */
    fprintf(out, "starttime\tseconds\tctime\tdtime\tttime\twait\n");
    for (size_t i = 0; i < r->samples->count; i++) {
        const struct sample *s = &r->samples->items[i];
        if (s->status == 0)
            continue;
        nsec_t wall = r->started_wall + (s->start - r->started_mono);
        time_t seconds = (time_t)(wall / NSEC_PER_SEC);
        struct tm parts;
        char text[64] = "";
        if (localtime_r(&seconds, &parts) != NULL)
            strftime(text, sizeof(text), "%a %b %e %H:%M:%S %Y", &parts);
        uint32_t total = whole_msec(s->total_us), connect = whole_msec(s->connect_us);
        fprintf(out, "%s\t%lld\t%" PRIu32 "\t%" PRIu32 "\t%" PRIu32 "\t%" PRIu32 "\n", text,
                (long long)seconds, connect, total - connect, total, whole_msec(s->wait_us));
    }
    return 0;
}

static int write_csv(FILE *out, const struct report *r) {
    counters_sort_samples(r->samples, false);
    fprintf(out, "start_us,outcome,status,total_us,queue_us,connect_us,send_us,wait_us,receive_us,"
                 "reused,body_bytes,disturbed,tls_us\n");
    for (size_t i = 0; i < r->samples->count; i++) {
        const struct sample *s = &r->samples->items[i];
        fprintf(out,
                "%" PRId64 ",%s,%u,%" PRIu32 ",%" PRIu32 ",%" PRIu32 ",%" PRIu32 ",%" PRIu32
                ",%" PRIu32 ",%d,%" PRIu64 ",%d,%" PRIu32 "\n",
                usec_of(r, s), outcome_text(s), s->status, s->total_us, s->queue_us, s->connect_us,
                s->send_us, s->wait_us, s->receive_us, s->reused, s->body_bytes, s->disturbed,
                s->tls_us);
    }
    return 0;
}

static int write_ndjson(FILE *out, const struct report *r) {
    counters_sort_samples(r->samples, false);
    for (size_t i = 0; i < r->samples->count; i++) {
        const struct sample *s = &r->samples->items[i];
        fprintf(out,
                "{\"start_us\":%" PRId64 ",\"outcome\":\"%s\",\"status\":%u,\"total_us\":%" PRIu32
                ",\"queue_us\":%" PRIu32 ",\"connect_us\":%" PRIu32 ",\"send_us\":%" PRIu32
                ",\"wait_us\":%" PRIu32 ",\"receive_us\":%" PRIu32
                ",\"reused\":%s,\"body_bytes\":%" PRIu64 ",\"disturbed\":%s,\"tls_us\":%" PRIu32
                "}\n",
                usec_of(r, s), outcome_text(s), s->status, s->total_us, s->queue_us, s->connect_us,
                s->send_us, s->wait_us, s->receive_us, s->reused ? "true" : "false", s->body_bytes,
                s->disturbed ? "true" : "false", s->tls_us);
    }
    return 0;
}

/* --- the distribution as columns -------------------------------------------------------------- */

static double msec(int64_t usec) {
    return (double)usec / 1000;
}

/* Rows as in ab: 0 is the fastest, 100 the slowest. In between are percentiles as everywhere;
 * with --ab-strict the value of rank n * i / 100, rounded; unlike ab's, never one past the last. */
static int64_t percentage(const struct report *r, unsigned percent) {
    struct times t = r->summary->times[TIME_TOTAL];
    uint64_t n = hist_count(t.ended);
    if (!r->config->ab_strict)
        return percentile_of(t, percent / 100.0).usec;
    if (percent == 0 || percent == 100)
        return percent == 0 ? hist_min(t.ended) : hist_max(t.ended);
    uint64_t rank = (uint64_t)(0.5 + (double)n * percent / 100);
    return hist_quantile(t.ended, rank < n ? ((double)rank + 0.5) / (double)n : 1);
}

static int write_percentages(FILE *out, const struct report *r) {
    bool any = percentile_count(r->summary->times[TIME_TOTAL]) > 0;
    fprintf(out, "Percentage served,Time in ms\n");
    for (unsigned i = 0; i <= 100 && any; i++)
        fprintf(out, "%u,%.3f\n", i, msec(percentage(r, i)));
    return 0;
}

static void print_row(FILE *out, struct times t, double quantile) {
    int64_t value = percentile_of(t, quantile).usec;
    double below = hist_share_below(t.ended, value) * (double)hist_count(t.ended);
    uint64_t count = quantile < 1 ? (uint64_t)(below + 0.5) : percentile_count(t);
    fprintf(out, "%12.3f %2.12f %10" PRIu64, msec(value), quantile, count);
    if (quantile < 1)
        fprintf(out, " %14.2f", 1 / (1 - quantile));
    fputc('\n', out);
}

/* Five steps for every halving of what is left, down to the last request. */
static int write_spectrum(FILE *out, const struct report *r) {
    enum { STEPS = 5 };
    struct times t = r->summary->times[TIME_TOTAL];
    uint64_t count = percentile_count(t);
    double left = 1, least = count > 0 ? 1 / (double)count : 1;
    fprintf(out, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount",
            "1/(1-Percentile)");
    for (; count > 0 && left > least; left /= 2)
        for (int step = 0; step < STEPS; step++)
            print_row(out, t, 1 - left + left / 2 * step / STEPS);
    if (count > 0)
        print_row(out, t, 1);
    fprintf(out, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", hist_mean(t.ended) / 1000,
            hist_stddev(t.ended) / 1000);
    fprintf(out, "#[Max     = %12.3f, Total count    = %12" PRIu64 "]\n",
            msec(percentile_max(t).usec), count);
    return 0;
}

/* --- where they go ---------------------------------------------------------------------------- */

static const struct output_form {
    size_t path; /* offset in the configuration */
    int (*write)(FILE *, const struct report *);
    bool needs_samples;
} forms[OUTPUT_FILES] = {
    { offsetof(struct loadgen_config, json_path), write_json, false },
    { offsetof(struct loadgen_config, percentiles_path), write_percentages, false },
    { offsetof(struct loadgen_config, spectrum_path), write_spectrum, false },
    { offsetof(struct loadgen_config, gnuplot_path), write_gnuplot, true },
    { offsetof(struct loadgen_config, csv_path), write_csv, true },
    { offsetof(struct loadgen_config, ndjson_path), write_ndjson, true },
};

static const char *path_of(const struct loadgen_config *c, int form) {
    const char *path;
    memcpy(&path, (const char *)c + forms[form].path, sizeof(path));
    return path;
}

int output_open(struct load_output *o, const struct loadgen_config *c, struct error *err) {
    *o = (struct load_output){ .files = { NULL } };
    for (int i = 0; i < OUTPUT_FILES; i++) {
        const char *path = path_of(c, i);
        if (path == NULL)
            continue;
        int rc = stream_create(&o->files[i], path, err);
        if (rc == 0)
            continue;
        output_close(o);
        return rc;
    }
    return 0;
}

void output_close(struct load_output *o) {
    for (int i = 0; i < OUTPUT_FILES; i++) {
        (void)stream_close(o->files[i]);
        o->files[i] = NULL;
    }
}

static int write_file(struct load_output *o, int form, const struct report *r, struct error *err) {
    int rc = forms[form].write(o->files[form], r);
    int closed = stream_close(o->files[form]);
    o->files[form] = NULL;
    rc = rc != 0 ? rc : closed;
    if (rc == 0)
        return 0;
    return error_set(err, rc, "cannot write %s: %s", path_of(r->config, form),
                     strerrordesc_np(-rc));
}

static FILE *text_stream(const struct loadgen_config *c) {
    return loadgen_config_takes_stdout(c) ? stderr : stdout;
}

void output_start(const struct loadgen_config *c, const struct target *t) {
    if (!c->html)
        report_start(text_stream(c), c, t);
}

int output_report(struct load_output *o, const struct report *r, struct error *err) {
    int rc = 0;
    report_text(text_stream(r->config), r);
    for (int i = 0; i < OUTPUT_FILES; i++) {
        if (o->files[i] == NULL || (forms[i].needs_samples && r->samples == NULL))
            continue;
        int failed = write_file(o, i, r, err);
        rc = rc != 0 ? rc : failed;
    }
    output_close(o);
    if (rc == 0 && r->samples != NULL && r->samples->incomplete)
        rc = error_set(err, -ENOMEM,
                       "out of memory for the record of every request: the files "
                       "lack some");
    return rc;
}
