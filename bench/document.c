/* SPDX-License-Identifier: MIT */
/* Puts all figures of a run under the names of schema "srv-bench/1". */
#include "bench/document.h"
#include "base/escape.h"
#include "base/stream.h"
#include "bench/summary.h"
#include "loadgen/answers.h"
#include "loadgen/live.h"
#include "loadgen/request.h"
#include "loadgen/section.h"
#include "loadgen/target.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* The word that was sent; what the files say when reports are merged. */
static struct slice method_of(const struct report *r) {
    struct slice rest = buf_unread(&r->request->bytes);
    return rest.len > 0 ? slice_cut(&rest, ' ') : slice_str(r->config->method);
}

static json_t *text_or_null(const char *text) {
    return text != NULL ? json_text(slice_str(text), SIZE_MAX) : json_null();
}

static void put_config(struct json_draft root, const struct report *r) {
    static const char *const streams[] = { "off", "sse", "json-lines", "auto" };
    const struct loadgen_config *c = r->config;
    struct json_draft o = json_put_object(root, "config");
    json_put_text(o, "url", slice_str(c->url));
    json_put_text(o, "host", slice_str(r->target->host));
    json_put_count(o, "port", r->target->url.port);
    json_put_text(o, "target", r->target->url.target);
    json_put(o, "requests_file", text_or_null(c->requests_file));
    json_put(o, "replay", text_or_null(c->replay));
    json_put(o, "templates", json_boolean(c->templates));
    json_put_text(o, "method", method_of(r));
    json_put(o, "requests", c->requests > 0 ? json_integer(c->requests) : json_null());
    json_put_count(o, "concurrency", (uint64_t)c->concurrency);
    json_put(o, "time_limit_s",
             c->time_limit > 0 ? json_real((double)c->time_limit / (double)NSEC_PER_SEC)
                               : json_null());
    json_put_real(o, "timeout_s", (double)c->timeout / (double)NSEC_PER_SEC);
    json_put(o, "keep_alive", json_boolean(!r->request->close));
    json_put_text(o, "http_version", c->http10 ? SLICE("1.0") : SLICE("1.1"));
    json_put_count(o, "request_bytes", request_length(r->request));
    json_put_count(o, "workers", loadgen_config_workers(c));
    json_put(o, "rate", c->rate > 0 ? json_real(c->rate) : json_null());
    json_put(o, "stages", c->stages.count > 0 ? json_string(c->stages.text) : json_null());
    json_put(o, "burst",
             c->burst.count > 0
                 ? json_pack("{s:I,s:f}", "requests", (json_int_t)c->burst.count, "every_s",
                             (double)c->burst.every / (double)NSEC_PER_SEC)
                 : json_null());
    json_put(o, "think", c->think_text != NULL ? json_string(c->think_text) : json_null());
    json_put(o, "no_catch_up", json_boolean(c->no_catch_up));
    json_put_text(o, "arrivals",
                  c->arrivals == LOADGEN_ARRIVALS_POISSON ? SLICE("poisson") : SLICE("even"));
    json_put_real(o, "warmup_s", (double)c->warmup / (double)NSEC_PER_SEC);
    json_put_text(o, "through", slice_str(r->target->peer));
    json_put(o, "has_body", json_boolean(r->request->has_body));
    json_put(o, "variable_length", json_boolean(c->variable_length));
    json_put_count(o, "seed", (uint64_t)c->seed);
    json_put(o, "command",
             c->look.command != NULL ? json_text(slice_str(c->look.command), SIZE_MAX)
                                     : json_null());
    json_put_text(o, "stream", slice_str(streams[c->stream]));
    json_put_real(o, "stall_s", (double)c->stall / (double)NSEC_PER_SEC);
    json_put(o, "stream_end", c->stream_end != NULL ? json_string(c->stream_end) : json_null());
}

static void put_totals(struct json_draft root, const struct report *r) {
    const struct counters *t = r->counters;
    const struct summary *s = r->summary;
    struct json_draft o = json_put_object(root, "totals");
    json_put_real(o, "started_s", (double)r->started_wall / (double)NSEC_PER_SEC);
    json_put_real(o, "seconds", s->seconds);
    json_put_count(o, "requests", s->ended);
    json_put_count(o, "succeeded", t->succeeded);
    json_put_count(o, "failed", s->failed);
    json_put_count(o, "errors", s->errors);
    json_put_count(o, "non_2xx", t->non_2xx);
    json_put_count(o, "kept_alive", t->kept_alive);
    json_put_count(o, "in_flight", t->in_flight);
    json_put_real(o, "in_flight_age_max_s", (double)t->in_flight_age_max / (double)NSEC_PER_SEC);
    json_put_count(o, "planned", t->planned);
    json_put_count(o, "late", t->late);
    json_put_count(o, "dropped", t->dropped);
    json_put_count(o, "starved", t->starved);
    json_put_count(o, "concurrency", s->concurrency);
    json_put_real(o, "rps", s->rate);
    json_put_real(o, "received_per_s", s->received_rate);
    json_put_real(o, "sent_per_s", s->sent_rate);
    json_put_count(o, "connections", t->connections);
    json_put_count(o, "reconnects", t->reconnects);
    json_put_count(o, "bytes_received", t->bytes_received);
    json_put_count(o, "body_bytes", t->body_bytes);
    json_put_count(o, "bytes_sent", t->bytes_sent);

    struct json_draft reasons = json_put_object(root, "failures");
    for (int i = 0; i < FAILURE_COUNT; i++)
        json_put_count(reasons, failure_infos[i].key, t->failed[i]);
}

static void put_statuses(struct json_draft root, const struct answers *a) {
    struct json_draft o = json_put_object(root, "statuses");
    for (int i = 0; i < ANSWERS_STATUSES; i++) {
        char key[8];
        if (a->statuses[i] == 0)
            continue;
        snprintf(key, sizeof(key), "%d", i);
        json_put_count(o, key, a->statuses[i]);
    }
}

static void put_lenient(struct json_draft root, const struct answers *a) {
    struct json_draft o = json_put_object(root, "lenient");
    json_put_count(o, "responses", a->lenient);
    for (int i = 0; i < HTTP_LENIENCE_COUNT; i++)
        json_put_count(o, answers_leniences[i].key, a->leniences[i]);
}

static void put_malformed(struct json_draft root, const struct answers *a) {
    char text[ANSWERS_FIRST_BYTES * 4 + 1];
    if (a->reasons[0].count == 0) {
        json_put(root, "malformed", json_null());
        return;
    }
    struct json_draft o = json_put_object(root, "malformed");
    struct json_draft reasons = json_put_object(o, "reasons");
    for (int i = 0; i < ANSWERS_REASONS; i++)
        if (a->reasons[i].count > 0)
            json_put_count(reasons, a->reasons[i].text, a->reasons[i].count);
    escape_bytes(text, sizeof(text), slice_of(a->first, a->first_len));
    json_put(o, "first", json_string(text));
}

static void put_addresses(struct json_draft root, const struct answers *a,
                          const struct resolved *addresses) {
    json_t *list = json_array();
    json_put(root, "addresses", list);
    for (size_t i = 0; i < addresses->count; i++) {
        const struct answers_address *one = &a->addresses[i];
        char text[ADDRESS_TEXT_BYTES];
        struct json_draft item = { json_object(), root.ok };
        json_put(item, "address", json_string(address_format(&addresses->addresses[i], text)));
        json_put_count(item, "connections", one->connections);
        json_put_count(item, "responses", one->responses);
        json_put(item, "left_out",
                 one->left_out != 0 ? json_string(strerrordesc_np(one->left_out)) : json_null());
        json_append(root, list, item.json);
    }
}

static void put_tls(struct json_draft root, const struct answers_tls *t) {
    struct json_draft words = json_put_object(root, "failure_reasons");
    for (int i = 0; i < FAILURE_COUNT; i++)
        if (t->reasons[i][0] != '\0')
            json_put(words, failure_infos[i].key, json_string(t->reasons[i]));
    if (t->handshakes == 0) {
        json_put(root, "tls", json_null());
        return;
    }
    struct json_draft o = json_put_object(root, "tls");
    json_put(o, "protocol", json_string(t->protocol));
    json_put(o, "temp_key", json_string(t->temp_key));
    json_put(o, "server_name", json_string(t->server_name));
    json_put_count(o, "handshakes", t->handshakes);
    json_put_count(o, "resumed", t->resumed);
}

static void put_codings(struct json_draft root, const struct answers_codings *k) {
    if (!k->asked) {
        json_put(root, "codings", json_null());
        return;
    }
    struct json_draft o = json_put_object(root, "codings");
    for (int i = 0; i < ANSWERS_CODINGS; i++)
        json_put_count(o, answers_coding_names[i], k->responses[i]);
    json_put_count(o, "body_bytes", k->coded_bytes);
    json_put_count(o, "decoded_bytes", k->decoded_bytes);
    json_put_real(o, "decode_s", (double)k->spent / (double)NSEC_PER_SEC);
}

static void put_users(struct json_draft root, const struct answers_users *u) {
    json_put(root, "redirects",
             u->follows ? json_pack("{s:I,s:I}", "hops", (json_int_t)u->hops, "elsewhere",
                                    (json_int_t)u->elsewhere)
                        : json_null());
    json_put(root, "cookies",
             u->keeps_cookies ? json_pack("{s:I,s:I}", "kept", (json_int_t)u->cookies_kept,
                                          "refused", (json_int_t)u->cookies_refused)
                              : json_null());
}

static void put_answers(struct json_draft root, const struct answers *a,
                        const struct resolved *addresses) {
    bool any = answers_count(a, 200, 299) > 0;
    put_statuses(root, a);
    json_put(root, "body_lengths",
             any ? json_pack("[I,I]", (json_int_t)a->shortest, (json_int_t)a->longest)
                 : json_null());
    put_lenient(root, a);
    json_put_count(root, "overrun", a->overrun);
    put_codings(root, &a->codings);
    put_users(root, &a->users);
    put_malformed(root, a);
    put_tls(root, &a->tls);
    put_addresses(root, a, addresses);
}

const struct document_time document_times[] = {
    { "latency_us", TIME_TOTAL },
    { "connect_us", TIME_CONNECT },
    { "tls_us", TIME_TLS },
    { "processing_us", TIME_PROCESSING },
    { "wait_us", TIME_WAIT },
    { "send_us", TIME_SEND },
    { "receive_us", TIME_RECEIVE },
    { "queue_us", TIME_QUEUE },
    { "hop_us", TIME_HOP },
    { "uncorrected_us", TIME_RAW },
    { "new_us", TIME_NEW },
    { "reused_us", TIME_REUSED },
    { "disturbed_us", TIME_DISTURBED },
};
const size_t document_time_count = ARRAY_LEN(document_times);

static void put_latencies(struct json_draft root, const struct summary *s) {
    for (size_t i = 0; i < document_time_count; i++)
        section_put_times(root, document_times[i].key, s->times[document_times[i].time]);
    section_put_times(root, "undisturbed_us", s->undisturbed);
    struct json_draft histograms = json_put_object(root, "histograms");
    struct json_draft ages = json_put_object(root, "ages");
    for (size_t i = 0; i < document_time_count; i++) {
        struct times t = s->times[document_times[i].time];
        section_put_histogram(histograms, document_times[i].key, t.ended);
        section_put_histogram(ages, document_times[i].key, t.ages);
    }
}

static void put_percentiles(struct json_draft root, const struct report *r) {
    const struct loadgen_percentiles *p = &r->config->percentiles;
    struct times total = r->summary->times[TIME_TOTAL];
    struct json_draft o = json_put_object(root, "percentiles_us");
    for (size_t i = 0; i < p->count; i++) {
        char key[32];
        snprintf(key, sizeof(key), "%g", p->values[i]);
        json_put(o, key,
                 section_usec(percentile_count(total) > 0,
                              percentile_of(total, p->values[i] / 100).usec));
    }
}

static void put_bands(struct json_draft row, const struct live_row *of) {
    json_t *bands = json_array();
    json_put(row, "histogram", bands);
    for (size_t i = 0; i < of->band_count; i++)
        json_append(
            row, bands,
            json_pack("[I,I]", (json_int_t)of->bands[i].usec, (json_int_t)of->bands[i].count));
}

static void put_series(struct json_draft root, const struct live *live) {
    json_t *series = json_array();
    json_put(root, "series", series);
    for (size_t i = 0; live != NULL && i < live->row_count; i++) {
        const struct live_row *row = &live->rows[i];
        struct json_draft item = { json_object(), root.ok };
        json_put_real(item, "second", row->second);
        json_put_real(item, "seconds", row->length);
        json_put_count(item, "requests", row->requests);
        json_put_count(item, "failed", row->failed);
        json_put_real(item, "rps", row->rate);
        json_put_count(item, "in_flight", row->in_flight);
        json_put(item, "p50_us",
                 section_usec(row->answers > 0 && row->p50_us != LIVE_UNKNOWN, row->p50_us));
        json_put(item, "p99_us",
                 section_usec(row->answers > 0 && row->p99_us != LIVE_UNKNOWN, row->p99_us));
        json_put(item, "max_us", section_usec(row->answers > 0, row->max_us));
        put_bands(item, row);
        json_append(root, series, item.json);
    }
}

static void put_pauses(struct json_draft root, const struct report *r) {
    const struct pauses *p = &r->counters->pauses;
    struct json_draft o = json_put_object(root, "pauses");
    json_put_count(o, "count", p->count);
    json_put_real(o, "seconds", (double)p->total / (double)NSEC_PER_SEC);
    json_put_real(o, "longest_s", (double)p->longest / (double)NSEC_PER_SEC);
    json_put(o, "longest_at_s",
             p->count > 0
                 ? json_real((double)(p->longest_at - r->started_mono) / (double)NSEC_PER_SEC)
                 : json_null());
    json_put_real(o, "longest_cpu_s", (double)p->longest_cpu / (double)NSEC_PER_SEC);
}

static void put_generator(struct json_draft root, const struct report *r) {
    const struct selfcheck *s = r->check;
    if (s == NULL) {
        json_put(root, "generator", json_null());
        return;
    }
    struct json_draft o = json_put_object(root, "generator");
    json_put_real(o, "cpu_s", (double)s->cpu / (double)NSEC_PER_SEC);
    json_put_real(o, "busiest_worker", s->busiest);
    section_put_times(o, "lag_us", (struct times){ .ended = s->lag });
    put_pauses(o, r);
    json_put_count(o, "descriptors_max", s->descriptors_max);
    json_put_count(o, "ports", s->ports);
    json_put_count(o, "ports_waiting", s->ports_waiting);
    json_put_count(o, "listen_overflows", s->overflows);
    json_put_count(o, "listen_drops", s->drops);
    json_put(o, "was_the_limit",
             r->summary->is_limited ? json_string(r->summary->limit) : json_null());
}

static void put_environment(struct json_draft root, const struct report *r) {
    struct json_draft o = json_put_object(root, "environment");
    struct utsname name;
    char text[CLOCK_TEXT_BYTES];
    if (uname(&name) == 0) {
        json_put_text(o, "system", slice_str(name.sysname));
        json_put_text(o, "release", slice_str(name.release));
        json_put_text(o, "machine", slice_str(name.machine));
        json_put_text(o, "host", slice_str(name.nodename));
    }
    json_put_count(o, "processors", (uint64_t)sysconf(_SC_NPROCESSORS_ONLN));
    json_put_text(o, "started", slice_str(clock_format(r->started_wall, text)));
    json_put_real(o, "resolve_ms", (double)r->target->resolve_span / (double)NSEC_PER_MSEC);
}

json_t *document_make(const struct report *r) {
    bool ok = true;
    struct json_draft root = { json_object(), &ok };
    json_put_text(root, "schema", SLICE("srv-bench/1"));
    json_put_text(root, "version", SLICE(SRV_VERSION));
    put_environment(root, r);
    put_config(root, r);
    json_put_text(root, "server_software", slice_str(r->counters->server_software));
    json_put_count(root, "document_bytes", r->counters->document_bytes);
    json_put(root, "stopped_by", r->stopped_by != NULL ? json_string(r->stopped_by) : json_null());
    put_totals(root, r);
    if (r->answers != NULL)
        put_answers(root, r->answers, &r->target->addresses);
    put_latencies(root, r->summary);
    put_percentiles(root, r);
    put_series(root, r->live);
    sections_put(root, r);
    put_generator(root, r);

    if (ok)
        return root.json;
    json_decref(root.json);
    return NULL;
}

int document_read(json_t **ret, const char *path, bool or_search, struct error *err) {
    json_error_t why;
    json_t *root = json_load_file(path, 0, &why);
    *ret = NULL;
    if (root == NULL)
        return error_set(err, -EIO, "cannot read %s: %s", path, why.text);
    const char *schema = json_string_value(json_object_get(root, "schema"));
    bool is_run = schema != NULL && strcmp(schema, "srv-bench/1") == 0 &&
                  json_is_object(json_object_get(root, "histograms"));
    if (is_run || (or_search && schema != NULL && strcmp(schema, "srv-bench-max/1") == 0)) {
        *ret = root;
        return 0;
    }
    json_decref(root);
    return error_set(err, -EINVAL, "cannot use %s: it is no report of srv bench", path);
}

int document_write(FILE *out, const struct report *r) {
    return json_write(out, document_make(r), r->config->json_line);
}
