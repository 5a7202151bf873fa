/* SPDX-License-Identifier: MIT */
/* Reads Server-Timing of answers, and splits their time. */
#include "loadgen/server_times.h"
#include "base/alloc.h"
#include "http/chars.h"
#include "http/server_timing.h"
#include <assert.h>

struct server_told {
    uint32_t usec[SERVER_TIMES_NAMES]; /* several of one name are added up */
    uint32_t has;                      /* bits of those that it names */
    bool tells;
};

static_assert(SERVER_TIMING_USEC_MAX <= UINT32_MAX && SERVER_TIMING_USEC_MAX <= HIST_MAX_USEC,
              "told times fit, and histograms do not clip them");

/* --- life ------------------------------------------------------------------------------------- */

struct server_times *server_times_new(const char *parts, size_t connections) {
    struct server_times *t = mem_calloc(1, sizeof(*t));
    if (t == NULL)
        return NULL;
    t->parts = parts;
    t->told = mem_calloc(connections > 0 ? connections : 1, sizeof(*t->told));
    bool is_complete = t->told != NULL;
    for (int i = 0; i < SERVER_PHASE_COUNT; i++) {
        t->phases[i].hist = hist_new();
        is_complete &= t->phases[i].hist != NULL;
    }
    if (is_complete)
        return t;
    server_times_free(t);
    return NULL;
}

void server_times_free(struct server_times *t) {
    if (t == NULL)
        return;
    for (int i = 0; i < SERVER_PHASE_COUNT; i++)
        hist_free(t->phases[i].hist);
    for (size_t i = 0; i < t->metric_count; i++)
        hist_free(t->metrics[i].row.hist);
    mem_free(t->told);
    mem_free(t);
}

static void restart_row(struct server_row *row) {
    hist_reset(row->hist);
    row->sum = 0;
}

/* An answer may be on its way whose head has come: the names stay. */
void server_times_restart(struct server_times *t) {
    for (int i = 0; i < SERVER_PHASE_COUNT; i++)
        restart_row(&t->phases[i]);
    for (size_t i = 0; i < t->metric_count; i++) {
        restart_row(&t->metrics[i].row);
        t->metrics[i].answers = 0;
    }
    t->answers = t->telling = t->over = t->bare = t->unusable = t->malformed = t->further = 0;
    t->over_usec = 0;
}

/* --- names ------------------------------------------------------------------------------------ */

/* Servers that tell parts tell their sum, too, by one of these names. */
static bool is_added(const struct server_times *t, struct slice name) {
    return t->parts != NULL ? slice_list_has(slice_str(t->parts), name)
                            : !slice_list_has(SLICE("total,planned,actual"), name);
}

static size_t find(const struct server_times *t, struct slice name, size_t guess) {
    for (size_t n = 0, i = guess; n < t->metric_count; n++, i++) {
        i = i < t->metric_count ? i : 0;
        if (slice_eq(slice_str(t->metrics[i].name), name))
            return i;
    }
    return SIZE_MAX;
}

static struct server_metric *add_metric(struct server_times *t, struct slice name) {
    struct server_metric *metric = &t->metrics[t->metric_count];
    if (t->metric_count == SERVER_TIMES_NAMES || name.len == 0 ||
        name.len >= sizeof(metric->name) ||
        http_span(name.ptr, name.len, HTTP_CHAR_TOKEN) < name.len)
        return NULL;
    *metric =
        (struct server_metric){ .row = { .hist = hist_new() }, .is_added = is_added(t, name) };
    if (metric->row.hist == NULL)
        return NULL;
    memcpy(metric->name, name.ptr, name.len);
    t->metric_count++;
    return metric;
}

struct server_metric *server_times_metric(struct server_times *t, struct slice name) {
    size_t i = find(t, name, 0);
    return i != SIZE_MAX ? &t->metrics[i] : add_metric(t, name);
}

/* Without the backslashes of a quoted string. */
static void keep_desc(struct server_metric *metric, struct slice desc) {
    size_t len = 0;
    for (size_t i = 0; i < desc.len && len < sizeof(metric->desc) - 1; i++) {
        i += desc.ptr[i] == '\\' && i + 1 < desc.len;
        metric->desc[len++] = desc.ptr[i];
    }
}

/* --- an answer -------------------------------------------------------------------------------- */

/* Servers name their metrics in one order: the one after the last is the next. */
static void take_span(struct server_times *t, struct server_told *told,
                      const struct server_timing *one, size_t *guess) {
    size_t i = find(t, one->name, *guess);
    if (UNLIKELY(i == SIZE_MAX)) {
        struct server_metric *metric = add_metric(t, one->name);
        if (metric == NULL) {
            t->further++;
            return;
        }
        keep_desc(metric, one->desc);
        i = t->metric_count - 1;
    }
    int64_t sum = told->usec[i] + one->usec;
    told->usec[i] = (uint32_t)(sum < SERVER_TIMING_USEC_MAX ? sum : SERVER_TIMING_USEC_MAX);
    told->has |= 1U << i;
    *guess = i + 1;
}

static void take_field(struct server_times *t, struct server_told *told, struct slice value) {
    struct server_timing one;
    size_t guess = 0;
    for (;;) {
        switch (server_timing_next(&value, &one)) {
        case SERVER_TIMING_SPAN:
            take_span(t, told, &one, &guess);
            break;
        case SERVER_TIMING_BARE:
            t->bare++;
            break;
        case SERVER_TIMING_UNUSABLE:
            t->unusable++;
            break;
        case SERVER_TIMING_MALFORMED:
            t->malformed++;
            break;
        case SERVER_TIMING_END:
            return;
        }
    }
}

void server_times_head(struct server_times *t, size_t connection, const struct http_head *head) {
    const struct slice field = SLICE("Server-Timing");
    struct server_told *told = &t->told[connection];
    struct slice rest = head->fields, name, value;
    *told = (struct server_told){ .tells = false };
    while (http_field_next(&rest, &name, &value)) {
        if (name.len != field.len || !slice_eq_nocase(name, field))
            continue;
        take_field(t, told, value);
        told->tells = told->has != 0;
    }
}

static void record(struct server_row *row, int64_t usec) {
    hist_record(row->hist, usec);
    row->sum += usec;
}

static int64_t record_metrics(struct server_times *t, const struct server_told *told) {
    int64_t added = 0;
    for (size_t i = 0; i < t->metric_count; i++) {
        struct server_metric *metric = &t->metrics[i];
        if (!(told->has & 1U << i))
            continue;
        record(&metric->row, told->usec[i]);
        metric->answers++;
        if (metric->is_added)
            added += told->usec[i];
    }
    return added;
}

void server_times_end(struct server_times *t, size_t connection, const struct timing *timing) {
    struct server_told *told = &t->told[connection];
    t->answers++;
    if (!told->tells)
        return;
    t->telling++;
    int64_t send = timing->send, whole = timing->total - timing->connect - timing->receive;
    int64_t network = whole - send - record_metrics(t, told);
    if (network < 0) { /* the server was at work before our call had returned */
        int64_t early = -network < send ? -network : send;
        send -= early;
        network += early;
    }
    if (network < 0) {
        t->over++;
        t->over_usec -= network;
    }
    record(&t->phases[SERVER_PHASE_GENERATOR], timing->queue);
    record(&t->phases[SERVER_PHASE_CONNECT], timing->connect);
    record(&t->phases[SERVER_PHASE_SEND], send);
    record(&t->phases[SERVER_PHASE_NETWORK], network);
    record(&t->phases[SERVER_PHASE_RECEIVE], timing->receive);
    record(&t->phases[SERVER_PHASE_TOTAL], timing->queue + timing->total);
}

/* --- all of them ------------------------------------------------------------------------------ */

static void merge_row(struct server_row *to, const struct server_row *from) {
    hist_merge(to->hist, from->hist);
    to->sum += from->sum;
}

static void merge_metric(struct server_times *to, const struct server_metric *from) {
    struct server_metric *metric = server_times_metric(to, slice_str(from->name));
    if (metric == NULL) {
        to->further += from->answers;
        if (from->is_added)
            to->phases[SERVER_PHASE_NETWORK].sum += from->row.sum;
        return;
    }
    merge_row(&metric->row, &from->row);
    metric->answers += from->answers;
    metric->is_added = from->is_added;
    if (metric->desc[0] == '\0')
        memcpy(metric->desc, from->desc, sizeof(metric->desc));
}

void server_times_merge(struct server_times *to, const struct server_times *from) {
    for (int i = 0; i < SERVER_PHASE_COUNT; i++)
        merge_row(&to->phases[i], &from->phases[i]);
    for (size_t i = 0; i < from->metric_count; i++)
        merge_metric(to, &from->metrics[i]);
    to->answers += from->answers;
    to->telling += from->telling;
    to->over += from->over;
    to->over_usec += from->over_usec;
    to->bare += from->bare;
    to->unusable += from->unusable;
    to->malformed += from->malformed;
    to->further += from->further;
}

void server_times_settle(struct server_times *t) {
    for (size_t i = 0; i < t->metric_count; i++) {
        struct hist *hist = t->metrics[i].row.hist;
        if (hist_count(hist) < t->telling)
            hist_record_n(hist, 0, t->telling - hist_count(hist));
    }
}
