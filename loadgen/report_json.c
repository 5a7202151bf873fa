/* SPDX-License-Identifier: MIT */
/* The report for programs: schema "srv-bench/1", described in docs/bench.md. Members are only ever
 * added. */
#include "loadgen/report.h"
#include <errno.h>
#include <jansson.h>

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

/* User's bytes need not be UTF-8; those that are not are left out. */
static void put_text(struct object o, const char *key, struct slice text) {
    json_t *value = json_stringn(text.ptr, text.len);
    put(o, key, value != NULL ? value : json_null());
}

static struct object put_object(struct object o, const char *key) {
    struct object child = { json_object(), o.ok };
    put(o, key, child.json);
    return child;
}

static void put_config(struct object root, const struct report *r) {
    const struct loadgen_config *c = r->config;
    struct object o = put_object(root, "config");
    put_text(o, "url", slice_str(c->url));
    put_text(o, "host", slice_str(r->target->host));
    put_count(o, "port", r->target->url.port);
    put_text(o, "target", r->target->url.target);
    put(o, "requests", c->requests > 0 ? json_integer(c->requests) : json_null());
    put_count(o, "concurrency", (uint64_t)c->concurrency);
    put(o, "time_limit_s",
        c->time_limit > 0 ? json_real((double)c->time_limit / (double)NSEC_PER_SEC) : json_null());
    put_real(o, "timeout_s", (double)c->timeout / (double)NSEC_PER_SEC);
    put(o, "keep_alive", json_boolean(!r->request->close));
    put_text(o, "http_version", c->http10 ? SLICE("1.0") : SLICE("1.1"));
    put_count(o, "request_bytes", buf_unread(&r->request->bytes).len);
}

static void put_totals(struct object root, const struct report *r) {
    const struct tally *t = r->tally;
    struct object o = put_object(root, "totals");
    put_real(o, "seconds", report_seconds(r));
    put_count(o, "requests", tally_ended(t));
    put_count(o, "succeeded", t->succeeded);
    put_count(o, "failed", tally_failures(t));
    put_count(o, "non_2xx", t->non_2xx);
    put_count(o, "kept_alive", t->kept_alive);
    put_count(o, "in_flight", t->in_flight);
    put_real(o, "rps", report_rate(r));
    put_count(o, "connections", t->connections);
    put_count(o, "reconnects", t->reconnects);
    put_count(o, "bytes_received", t->bytes_received);
    put_count(o, "body_bytes", t->body_bytes);
    put_count(o, "bytes_sent", t->bytes_sent);

    struct object reasons = put_object(root, "failures");
    for (int i = 0; i < FAILURE_COUNT; i++)
        put_count(reasons, failure_infos[i].key, t->failed[i]);
}

static void put_latency(struct object root, const char *key, const struct hist *h) {
    static const struct {
        const char *key;
        double q;
    } points[] = {
        { "p50", 0.50 }, { "p66", 0.66 }, { "p75", 0.75 }, { "p80", 0.80 },    { "p90", 0.90 },
        { "p95", 0.95 }, { "p98", 0.98 }, { "p99", 0.99 }, { "p99_9", 0.999 },
    };
    struct object o = put_object(root, key);
    put_count(o, "count", hist_count(h));
    put_count(o, "min", (uint64_t)hist_min(h));
    put_real(o, "mean", hist_mean(h));
    put_real(o, "stddev", hist_stddev(h));
    for (size_t i = 0; i < ARRAY_LEN(points); i++)
        put_count(o, points[i].key, (uint64_t)hist_quantile(h, points[i].q));
    put_count(o, "max", (uint64_t)hist_max(h));
}

int report_json(FILE *out, const struct report *r) {
    bool ok = true;
    struct object root = { json_object(), &ok };
    put_text(root, "schema", SLICE("srv-bench/1"));
    put_text(root, "version", SLICE(SRV_VERSION));
    put_config(root, r);
    put_text(root, "server_software", slice_str(r->tally->server_software));
    put_count(root, "document_bytes", r->tally->document_bytes);
    put(root, "stopped_by", r->stopped_by != NULL ? json_string(r->stopped_by) : json_null());
    put_totals(root, r);
    put_latency(root, "latency_us", r->tally->total);
    put_latency(root, "connect_us", r->tally->connect);
    put_latency(root, "processing_us", r->tally->processing);
    put_latency(root, "wait_us", r->tally->waiting);

    int rc = ok ? 0 : -ENOMEM;
    if (ok && json_dumpf(root.json, out, JSON_INDENT(2)) != 0)
        rc = -EIO;
    if (rc == 0 && (fputc('\n', out) == EOF || fflush(out) != 0))
        rc = -EIO;
    json_decref(root.json);
    return rc;
}
