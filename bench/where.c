/* SPDX-License-Identifier: MIT */
/* Tells where the time of answers went: what the client measured and what the server told. */
#include "bench/where.h"
#include "base/escape.h"
#include "loadgen/counters.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* --- one row after the other ------------------------------------------------------------------ */

static const char *const phase_names[SERVER_PHASE_COUNT] = {
    [SERVER_PHASE_GENERATOR] = "generator", [SERVER_PHASE_CONNECT] = "connect",
    [SERVER_PHASE_SEND] = "send",           [SERVER_PHASE_NETWORK] = "network",
    [SERVER_PHASE_RECEIVE] = "receive",     [SERVER_PHASE_TOTAL] = "total",
};

static double mean_of(const struct server_times *t, const struct server_row *row) {
    return t->telling > 0 ? (double)row->sum / (double)t->telling : 0;
}

/* Share (0..1) of the time of all answers. */
static double share_of_total(const struct server_times *t, const struct server_row *row) {
    int64_t total = t->phases[SERVER_PHASE_TOTAL].sum;
    return total > 0 ? (double)row->sum / (double)total : 0;
}

/* --- in text ---------------------------------------------------------------------------------- */

enum { LABEL_COLUMNS = 22 };

/* Names are tokens (RFC 9110 section 5.6.2): nothing in them drives a terminal, but "50%" is
 * one. */
static void print_row(FILE *out, const struct server_times *t, const char *indent, const char *name,
                      const struct server_row *row) {
    char spelled[SECTION_SPELLED_BYTES];
    int columns = LABEL_COLUMNS - (int)strlen(indent);
    fprintf(out, "%s%-*.*s %11.3f %8.1f %% %11.3f %11.3f %11.3f\n", indent, columns, columns,
            section_spell(name, spelled), mean_of(t, row) / 1000, share_of_total(t, row) * 100,
            (double)hist_quantile(row->hist, 0.5) / 1000,
            (double)hist_quantile(row->hist, 0.99) / 1000, (double)hist_max(row->hist) / 1000);
}

static void print_phase(FILE *out, const struct server_times *t, enum server_phase phase) {
    const struct server_row *row = &t->phases[phase];
    if (phase == SERVER_PHASE_NETWORK || hist_max(row->hist) > 0)
        print_row(out, t, "  ", phase_names[phase], row);
}

static void print_metrics(FILE *out, const struct server_times *t, bool added) {
    for (size_t i = 0; i < t->metric_count; i++)
        if (t->metrics[i].is_added == added)
            print_row(out, t, "    ", t->metrics[i].name, &t->metrics[i].row);
}

/* Their texts are a server's: anything may stand there. */
static void print_descriptions(FILE *out, const struct server_times *t) {
    char text[4 * SERVER_TIMES_NAME_BYTES], spelled[SECTION_SPELLED_BYTES];
    char name[SECTION_SPELLED_BYTES];
    for (size_t i = 0; i < t->metric_count; i++) {
        const struct server_metric *metric = &t->metrics[i];
        section_spell(metric->name, name);
        if (metric->desc[0] != '\0') {
            escape_quoted(text, sizeof(text), slice_str(metric->desc));
            fprintf(out, "  %s is \"%s\"\n", name, section_spell(text, spelled));
        }
        if (metric->answers < t->telling)
            fprintf(out, "  %s is in %" PRIu64 " answers, and counts as 0 in the others\n", name,
                    metric->answers);
    }
}

static void print_doubts(FILE *out, const struct server_times *t) {
    if (t->over > 0)
        fprintf(out,
                "  %" PRIu64 " answers told more than they took, %.3f ms in all: the average of "
                "the network is less by that\n",
                t->over, (double)t->over_usec / 1000);
    if (t->unusable + t->malformed > 0)
        fprintf(out, "  left out: %" PRIu64 " unusable durations, %" PRIu64 " malformed metrics\n",
                t->unusable, t->malformed);
    if (t->further > 0)
        fprintf(out,
                "  left out: %" PRIu64 " durations of further names; %d names are kept, and their "
                "time is the network's\n",
                t->further, SERVER_TIMES_NAMES);
}

static bool has_not_added(const struct server_times *t) {
    for (size_t i = 0; i < t->metric_count; i++)
        if (!t->metrics[i].is_added)
            return true;
    return false;
}

static void print_times(FILE *out, const struct server_times *t) {
    fprintf(out, "\nWhere the time went (ms): %" PRIu64 " of %" PRIu64 " answers tell\n",
            t->telling, t->answers);
    if (t->telling == 0) {
        fprintf(out, "  no answer had a Server-Timing field with a duration\n");
        return;
    }
    fprintf(out, "%-*s %11s %10s %11s %11s %11s\n", LABEL_COLUMNS, "", "average", "share", "p50",
            "p99", "slowest");
    for (int i = 0; i < SERVER_PHASE_RECEIVE; i++)
        print_phase(out, t, (enum server_phase)i);
    print_metrics(out, t, true);
    print_phase(out, t, SERVER_PHASE_RECEIVE);
    print_phase(out, t, SERVER_PHASE_TOTAL);
    if (has_not_added(t))
        fprintf(out, "  not added up:\n");
    print_metrics(out, t, false);
    print_descriptions(out, t);
    print_doubts(out, t);
}

static void print_where(FILE *out, const struct report *r) {
    if (r->counters->server_times != NULL)
        print_times(out, r->counters->server_times);
}

/* --- in JSON ---------------------------------------------------------------------------------- */

static struct json_draft put_row(struct json_draft root, const struct server_times *t, json_t *list,
                                 const char *name, const struct server_row *row) {
    struct json_draft o = { json_object(), root.ok };
    json_append(root, list, o.json);
    json_put_text(o, "name", slice_str(name));
    json_put(o, "sum_us", json_integer(row->sum));
    json_put(o, "mean_us", t->telling > 0 ? json_real(mean_of(t, row)) : json_null());
    json_put(o, "share", t->telling > 0 ? json_real(share_of_total(t, row)) : json_null());
    section_put_times(o, "us", (struct times){ .ended = row->hist });
    section_put_histogram(o, "histogram", row->hist);
    return o;
}

static void put_metric(struct json_draft root, const struct server_times *t, json_t *list,
                       const struct server_metric *metric) {
    struct json_draft o = put_row(root, t, list, metric->name, &metric->row);
    json_put_count(o, "answers", metric->answers);
    json_put(o, "added", json_boolean(metric->is_added));
    json_put(o, "desc",
             metric->desc[0] != '\0' ? json_text(slice_str(metric->desc), SIZE_MAX) : json_null());
}

static void put_where(struct json_draft root, const struct report *r) {
    const struct server_times *t = r->counters->server_times;
    if (t == NULL) {
        json_put(root, "server_timing", json_null());
        return;
    }
    struct json_draft o = json_put_object(root, "server_timing");
    json_put_count(o, "answers", t->answers);
    json_put_count(o, "telling", t->telling);
    json_t *phases = json_array(), *metrics = json_array();
    json_put(o, "phases", phases);
    for (int i = 0; i < SERVER_PHASE_COUNT; i++)
        put_row(o, t, phases, phase_names[i], &t->phases[i]);
    json_put(o, "metrics", metrics);
    for (size_t i = 0; i < t->metric_count; i++)
        put_metric(o, t, metrics, &t->metrics[i]);
    json_put_count(o, "over", t->over);
    json_put_count(o, "over_us", (uint64_t)t->over_usec);
    json_put_count(o, "bare", t->bare);
    json_put_count(o, "unusable", t->unusable);
    json_put_count(o, "malformed", t->malformed);
    json_put_count(o, "further", t->further);
}

/* --- --merge ---------------------------------------------------------------------------------- */

/* Sums of a file may be anything: they stop at the largest that there is. */
static void add_to(int64_t *to, json_int_t usec) {
    if (__builtin_add_overflow(*to, (int64_t)usec, to))
        *to = usec > 0 ? INT64_MAX : INT64_MIN;
}

static void add_row(struct server_row *row, const json_t *o) {
    add_to(&row->sum, json_integer_value(json_object_get(o, "sum_us")));
    section_add_histogram(row->hist, json_object_get(o, "histogram"));
}

static void add_metric(struct server_times *sum, const json_t *o) {
    const char *name = json_string_value(json_object_get(o, "name"));
    const char *desc = json_string_value(json_object_get(o, "desc"));
    struct server_metric *metric = name != NULL ? server_times_metric(sum, slice_str(name)) : NULL;
    bool is_added = json_is_true(json_object_get(o, "added"));
    if (metric == NULL) {
        sum->further += section_count(o, "answers");
        if (is_added)
            add_to(&sum->phases[SERVER_PHASE_NETWORK].sum,
                   json_integer_value(json_object_get(o, "sum_us")));
        return;
    }
    add_row(&metric->row, o);
    metric->answers += section_count(o, "answers");
    metric->is_added = is_added;
    if (desc != NULL && metric->desc[0] == '\0')
        snprintf(metric->desc, sizeof(metric->desc), "%s", desc);
}

static int add_where(struct counters *sum, const json_t *root, struct error *err) {
    const json_t *told = json_object_get(root, "server_timing"), *item;
    size_t i;
    if (!json_is_object(told))
        return 0;
    if (sum->server_times == NULL)
        sum->server_times = server_times_new(NULL, 0);
    struct server_times *t = sum->server_times;
    if (t == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    t->answers += section_count(told, "answers");
    t->telling += section_count(told, "telling");
    json_array_foreach(json_object_get(told, "phases"), i, item) {
        if (i < SERVER_PHASE_COUNT)
            add_row(&t->phases[i], item);
    }
    json_array_foreach(json_object_get(told, "metrics"), i, item) {
        add_metric(t, item);
    }
    t->over += section_count(told, "over");
    add_to(&t->over_usec, (json_int_t)section_count(told, "over_us"));
    t->bare += section_count(told, "bare");
    t->unusable += section_count(told, "unusable");
    t->malformed += section_count(told, "malformed");
    t->further += section_count(told, "further");
    server_times_settle(t);
    return 0;
}

const struct section where_section = {
    .print = print_where,
    .put = put_where,
    .add = add_where,
};
