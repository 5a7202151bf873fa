/* SPDX-License-Identifier: MIT */
/* Tells by how much the counters of servers grew, in all and for each request. */
#include "bench/counted.h"
#include "base/escape.h"
#include "bench/summary.h"
#include "loadgen/config.h"
#include "loadgen/counters.h"
#include "loadgen/server_metrics.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* The requests that a counter is divided by: those that its server counted, or else ours. */
static double divisor_of(const struct report *r, const struct server_source *s) {
    double count = 0;
    if (server_source_requests(s, &count) == NULL || count <= 0)
        count = (double)r->summary->ended;
    return count;
}

/* --- in text ---------------------------------------------------------------------------------- */

enum { NAME_COLUMNS = 42 };

static bool ends_with(const char *text, const char *end) {
    size_t len = strlen(text), end_len = strlen(end);
    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static void print_head(FILE *out, const struct server_source *s) {
    char url[4 * SERVER_METRICS_URL_BYTES], spelled[SECTION_SPELLED_BYTES];
    escape_bytes(url, sizeof(url), slice_str(s->url));
    fprintf(out, "\nWhat the server counted: %s\n", section_spell(url, spelled));
}

/* Requests that the server counted and we did not, or the other way round: lost on the way, still
 * in progress, or others'. */
static void print_difference(FILE *out, double difference) {
    if (difference == 0)
        fprintf(out, ": the same\n");
    else
        fprintf(out, ": %.0f %s than here\n", fabs(difference), difference > 0 ? "more" : "fewer");
}

static void print_requests(FILE *out, const struct report *r, const struct server_source *s) {
    double count;
    const char *name = server_source_requests(s, &count);
    if (name == NULL)
        return;
    uint64_t here = r->summary->ended + r->counters->in_flight;
    fprintf(out,
            "  %s: %.0f; here %" PRIu64 " answers, %" PRIu64 " failures, %" PRIu64 " in flight",
            name, count, r->counters->succeeded, r->summary->failed, r->counters->in_flight);
    if (r->config->warmup > 0)
        fprintf(out, " after the warm-up\n");
    else
        print_difference(out, count - (double)here);
}

/* X_sum and X_count: "X  42.101 ms on average". */
static bool print_average(FILE *out, const struct server_source *s, const char *name) {
    char sum_name[SERVER_METRICS_NAME_BYTES];
    size_t len = strlen(name) - strlen("_count");
    double count, sum;
    snprintf(sum_name, sizeof(sum_name), "%.*s_sum", (int)len, name);
    if (!server_source_growth(s, name, &count) || !server_source_growth(s, sum_name, &sum))
        return false;
    if (count <= 0)
        return true;
    bool is_time = len >= 8 && memcmp(name + len - 8, "_seconds", 8) == 0;
    fprintf(out, "  %-*.*s %14.0f %11.3f%s on average\n", NAME_COLUMNS, (int)len, name, count,
            sum / count * (is_time ? 1000 : 1), is_time ? " ms" : "");
    return true;
}

static void print_growth(FILE *out, const char *name, double growth, double requests) {
    double each = requests > 0 ? growth / requests : 0;
    bool is_time = ends_with(name, "_seconds_total");
    fprintf(out, "  %-*s %14.*f", NAME_COLUMNS, name, is_time ? 3 : 0, growth);
    if (requests > 0)
        fprintf(out, " %11.3f%s each", each * (is_time ? 1e6 : 1), is_time ? " us" : "");
    fputc('\n', out);
}

static bool is_of_average(const struct server_source *s, const char *name) {
    char other[SERVER_METRICS_NAME_BYTES + 8];
    double ignored;
    if (!ends_with(name, "_sum"))
        return false;
    snprintf(other, sizeof(other), "%.*s_count", (int)(strlen(name) - 4), name);
    return server_source_growth(s, other, &ignored);
}

static void print_counter(FILE *out, const struct server_source *s, const struct server_counter *c,
                          double requests) {
    double growth = c->after - c->before, count;
    const char *requests_name = server_source_requests(s, &count);
    if (requests_name != NULL && strcmp(requests_name, c->name) == 0 &&
        !ends_with(c->name, "_count"))
        return; /* it is told already */
    if (growth < 0)
        fprintf(out, "  %s fell: the server, or a part of it, began anew\n", c->name);
    else if (growth > 0 && !is_of_average(s, c->name) &&
             !(ends_with(c->name, "_count") && print_average(out, s, c->name)))
        print_growth(out, c->name, growth, requests);
}

static void print_source(FILE *out, const struct report *r, const struct server_source *s) {
    char text[4 * SERVER_METRICS_ERROR_BYTES], spelled[SECTION_SPELLED_BYTES];
    print_head(out, s);
    if (s->error[0] != '\0') {
        escape_bytes(text, sizeof(text), slice_str(s->error));
        fprintf(out, "  WARNING: cannot be read after the run: %s\n", section_spell(text, spelled));
        return;
    }
    print_requests(out, r, s);
    for (size_t i = 0; i < s->count; i++)
        print_counter(out, s, &s->counters[i], divisor_of(r, s));
    if (s->further + s->malformed > 0)
        fprintf(out,
                "  left out: %" PRIu64 " samples of further names, %" PRIu64 " malformed lines\n",
                s->further, s->malformed);
}

static void print_counted(FILE *out, const struct report *r) {
    const struct server_metrics *m = r->counters->server_metrics;
    for (size_t i = 0; m != NULL && i < m->count; i++)
        print_source(out, r, &m->sources[i]);
}

/* --- in JSON ---------------------------------------------------------------------------------- */

static void put_source(struct json_draft root, json_t *list, const struct server_source *s) {
    struct json_draft o = { json_object(), root.ok };
    json_append(root, list, o.json);
    json_put(o, "url", json_text(slice_str(s->url), SIZE_MAX));
    json_put(o, "error",
             s->error[0] != '\0' ? json_text(slice_str(s->error), SIZE_MAX) : json_null());
    struct json_draft counters = json_put_object(o, "counters");
    for (size_t i = 0; i < s->count; i++) {
        struct json_draft one = json_put_object(counters, s->counters[i].name);
        json_put_real(one, "before", s->counters[i].before);
        if (s->error[0] != '\0')
            continue;
        json_put_real(one, "after", s->counters[i].after);
        json_put_real(one, "growth", s->counters[i].after - s->counters[i].before);
    }
    json_put_count(o, "further", s->further);
    json_put_count(o, "malformed", s->malformed);
}

static void put_counted(struct json_draft root, const struct report *r) {
    const struct server_metrics *m = r->counters->server_metrics;
    json_t *list = json_array();
    json_put(root, "server_metrics", list);
    for (size_t i = 0; m != NULL && i < m->count; i++)
        put_source(root, list, &m->sources[i]);
}

/* --- --merge ---------------------------------------------------------------------------------- */

/* Counters only grow: what several read of one server spans from the first of them to the last. */
static void add_counter(struct server_source *s, const char *name, const json_t *o) {
    size_t known = s->count;
    struct server_counter *c = server_source_counter(s, slice_str(name));
    double before = json_number_value(json_object_get(o, "before"));
    double after = json_number_value(json_object_get(o, "after"));
    if (c == NULL) {
        s->further++;
        return;
    }
    bool is_new = s->count > known;
    c->before = is_new ? before : fmin(c->before, before);
    c->after = is_new ? after : fmax(c->after, after);
}

static int add_source(struct server_metrics *m, const json_t *o, struct error *err) {
    const char *url = json_string_value(json_object_get(o, "url"));
    const char *error = json_string_value(json_object_get(o, "error")), *name;
    struct server_source *s = url != NULL ? server_metrics_source(m, url) : NULL;
    json_t *counter;
    if (s == NULL)
        return error_set(err, -EINVAL, "its server_metrics have no URL, or are of too many");
    if (error != NULL) {
        snprintf(s->error, sizeof(s->error), "%s", error);
        return 0;
    }
    json_object_foreach(json_object_get(o, "counters"), name, counter) {
        add_counter(s, name, counter);
    }
    return 0;
}

static int add_counted(struct counters *sum, const json_t *root, struct error *err) {
    const json_t *list = json_object_get(root, "server_metrics"), *item;
    size_t i;
    int rc = 0;
    if (json_array_size(list) > 0 && sum->server_metrics == NULL) {
        sum->server_metrics = server_metrics_new();
        rc = sum->server_metrics != NULL ? 0 : error_set(err, -ENOMEM, "out of memory");
    }
    json_array_foreach(list, i, item) {
        if (rc == 0)
            rc = add_source(sum->server_metrics, item, err);
    }
    return rc;
}

const struct section counted_section = {
    .print = print_counted,
    .put = put_counted,
    .add = add_counted,
};
