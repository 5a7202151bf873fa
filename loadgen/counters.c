/* SPDX-License-Identifier: MIT */
/* Counters and distributions of one worker, and their sum. */
#include "loadgen/counters.h"
#include "base/alloc.h"
#include "loadgen/server_metrics.h"
#include "loadgen/stages.h"
#include "loadgen/streams.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES_FIRST = 4096 };

const struct failure_info failure_infos[FAILURE_COUNT] = {
#define FAILURE_ROW(name, key, column, text) { key, text, FAILURE_COLUMN_##column },
    FAILURES(FAILURE_ROW)
#undef FAILURE_ROW
};

/* --- parts ------------------------------------------------------------------------------------ */

int counters_part_init(struct counters_part *p) {
    *p = (struct counters_part){ .latency = hist_new(), .timed_out = hist_new() };
    if (p->latency != NULL && p->timed_out != NULL)
        return 0;
    counters_part_free(p);
    return -ENOMEM;
}

void counters_part_free(struct counters_part *p) {
    hist_free(p->latency);
    hist_free(p->timed_out);
    p->latency = p->timed_out = NULL;
}

void counters_part_move(struct counters_part *to, struct counters_part *from) {
    struct hist *latency = from->latency, *timed_out = from->timed_out;
    to->ended += from->ended;
    to->failed += from->failed;
    to->unwelcome += from->unwelcome;
    to->non_2xx += from->non_2xx;
    to->planned += from->planned;
    to->late += from->late;
    hist_merge(to->latency, latency);
    hist_merge(to->timed_out, timed_out);
    hist_reset(latency);
    hist_reset(timed_out);
    *from = (struct counters_part){ .latency = latency, .timed_out = timed_out };
}

/* --- the counters of a worker ----------------------------------------------------------------- */

int counters_init(struct counters *t) {
    *t = (struct counters){ .first_start = NSEC_NEVER };
    bool ok = counters_part_init(&t->part) == 0;
    for (int i = 0; i < TIME_COUNT && ok; i++) {
        t->ended[i] = hist_new();
        t->ages[i] = hist_new();
        ok = t->ended[i] != NULL && t->ages[i] != NULL;
    }
    if (ok)
        return 0;
    counters_free(t);
    return -ENOMEM;
}

void counters_free(struct counters *t) {
    for (int i = 0; i < TIME_COUNT; i++) {
        hist_free(t->ended[i]);
        hist_free(t->ages[i]);
    }
    counters_part_free(&t->part);
    stages_free(t->stages);
    server_times_free(t->server_times);
    streams_free(t->streams);
    server_metrics_free(t->server_metrics);
    mem_free(t->samples.items);
    *t = (struct counters){ .first_start = NSEC_NEVER };
}

void counters_restart(struct counters *t, nsec_t now) {
    struct counters fresh = { .first_start = now,
                              .connections = t->connections,
                              .has_document = t->has_document,
                              .document_is_error = t->document_is_error,
                              .document_bytes = t->document_bytes,
                              .server_times = t->server_times,
                              .server_metrics = t->server_metrics,
                              .part = t->part,
                              .samples = t->samples,
                              .keeps_samples = t->keeps_samples,
                              .stages = t->stages,
                              .streams = t->streams,
                              .names = t->names };
    memcpy(fresh.server_software, t->server_software, sizeof(fresh.server_software));
    for (int i = 0; i < TIME_COUNT; i++) {
        fresh.ended[i] = t->ended[i];
        fresh.ages[i] = t->ages[i];
        hist_reset(fresh.ended[i]);
        hist_reset(fresh.ages[i]);
    }
    if (t->server_times != NULL)
        server_times_restart(t->server_times);
    if (fresh.streams != NULL)
        streams_reset(fresh.streams);
    *t = fresh;
}

static bool is_better_document(const struct counters *from, const struct counters *to) {
    if (!from->has_document || !to->has_document)
        return from->has_document;
    if (from->document_is_error != to->document_is_error)
        return to->document_is_error;
    return from->first_start < to->first_start;
}

void counters_merge_pauses(struct pauses *to, const struct pauses *from) {
    if (from->total > to->total) {
        to->count = from->count;
        to->total = from->total;
    }
    if (from->longest <= to->longest)
        return;
    to->longest = from->longest;
    to->longest_at = from->longest_at;
    to->longest_cpu = from->longest_cpu;
}

static bool grow(struct samples *s, size_t least) {
    size_t cap = s->cap > 0 ? s->cap : SAMPLES_FIRST;
    while (cap < least)
        cap *= 2;
    if (cap == s->cap)
        return true;
    struct sample *items = mem_realloc(s->items, cap * sizeof(*items));
    if (items == NULL) {
        s->incomplete = true;
        return false;
    }
    s->items = items;
    s->cap = cap;
    return true;
}

static void merge_samples(struct samples *to, struct samples *from) {
    to->incomplete |= from->incomplete;
    if (from->count > 0 && grow(to, to->count + from->count)) {
        memcpy(&to->items[to->count], from->items, from->count * sizeof(*from->items));
        to->count += from->count;
    }
    mem_free(from->items);
    *from = (struct samples){ .items = NULL };
}

void counters_merge(struct counters *to, struct counters *from) {
    if (is_better_document(from, to)) {
        to->document_is_error = from->document_is_error;
        memcpy(to->server_software, from->server_software, sizeof(to->server_software));
        to->document_bytes = from->document_bytes;
        to->has_document = true;
    }
    to->succeeded += from->succeeded;
    for (int i = 0; i < FAILURE_COUNT; i++)
        to->failed[i] += from->failed[i];
    to->non_2xx += from->non_2xx;
    to->unwelcome += from->unwelcome;
    to->kept_alive += from->kept_alive;
    to->connections += from->connections;
    to->reconnects += from->reconnects;
    to->bytes_received += from->bytes_received;
    to->body_bytes += from->body_bytes;
    to->bytes_sent += from->bytes_sent;
    if (to->connect_errno == 0)
        to->connect_errno = from->connect_errno;
    to->in_flight += from->in_flight;
    if (from->in_flight_age_max > to->in_flight_age_max)
        to->in_flight_age_max = from->in_flight_age_max;
    to->first_start = nsec_min(to->first_start, from->first_start);
    if (from->last_end > to->last_end)
        to->last_end = from->last_end;
    to->planned += from->planned;
    to->late += from->late;
    to->dropped += from->dropped;
    to->starved += from->starved;
    to->busy_max += from->busy_max;
    counters_merge_pauses(&to->pauses, &from->pauses);
    to->instant_sends += from->instant_sends;
    to->instant_receives += from->instant_receives;
    to->instant_queues += from->instant_queues;
    for (int i = 0; i < TIME_COUNT; i++) {
        hist_merge(to->ended[i], from->ended[i]);
        hist_merge(to->ages[i], from->ages[i]);
    }
    if (to->server_times != NULL && from->server_times != NULL)
        server_times_merge(to->server_times, from->server_times);
    merge_samples(&to->samples, &from->samples);
    if (to->stages != NULL && from->stages != NULL)
        stages_merge(to->stages, from->stages);
    if (to->streams != NULL && from->streams != NULL)
        streams_merge(to->streams, from->streams);
}

/* A reused connection has a connect time of zero, and all of its total is processing. */
static void settle(struct hist *of[TIME_COUNT]) {
    hist_merge(of[TIME_TOTAL], of[TIME_NEW]);
    hist_merge(of[TIME_TOTAL], of[TIME_REUSED]);
    hist_merge(of[TIME_PROCESSING], of[TIME_NEW_PROCESSING]);
    hist_merge(of[TIME_PROCESSING], of[TIME_REUSED]);
}

void counters_settle(struct counters *t) {
    settle(t->ended);
    settle(t->ages);
    uint64_t reused = hist_count(t->ended[TIME_REUSED]) + hist_count(t->ages[TIME_REUSED]);
    hist_record_n(t->ended[TIME_CONNECT], 0, reused);
    if (hist_count(t->ended[TIME_TLS]) > 0)
        hist_record_n(t->ended[TIME_TLS], 0, reused);
    hist_record_n(t->ended[TIME_SEND], 0, t->instant_sends);
    hist_record_n(t->ended[TIME_RECEIVE], 0, t->instant_receives);
    hist_record_n(t->ended[TIME_QUEUE], 0, t->instant_queues);
    t->instant_sends = t->instant_receives = t->instant_queues = 0;
    if (t->server_times != NULL)
        server_times_settle(t->server_times);
}

void counters_server(struct counters *t, const struct http_head *head) {
    struct slice value;
    if (t->server_software[0] != '\0' || !http_field_find(head, SLICE("Server"), &value))
        return;
    size_t len = 0;
    while (len < value.len && len < sizeof(t->server_software) - 1 &&
           (unsigned char)value.ptr[len] > ' ')
        len++;
    memcpy(t->server_software, value.ptr, len);
}

/* Most requests leave in one system call and come back in one: their zeros are only counted. */
static void record_unless_zero(struct hist *h, uint64_t *zeros, int64_t usec) {
    if (usec > 0)
        hist_record(h, usec);
    else
        (*zeros)++;
}

static void record(struct counters *t, const struct timing *timing) {
    int64_t total = timing->queue + timing->total;
    if (timing->reused) {
        hist_record(t->ended[TIME_REUSED], total);
    } else {
        hist_record(t->ended[TIME_NEW], total);
        hist_record(t->ended[TIME_NEW_PROCESSING], total - timing->connect);
        hist_record(t->ended[TIME_CONNECT], timing->connect);
        if (timing->tls > 0)
            hist_record(t->ended[TIME_TLS], timing->tls);
    }
    hist_record(t->ended[TIME_WAIT], timing->wait);
    record_unless_zero(t->ended[TIME_SEND], &t->instant_sends, timing->send);
    record_unless_zero(t->ended[TIME_RECEIVE], &t->instant_receives, timing->receive);
    if (UNLIKELY(timing->disturbed))
        hist_record(t->ended[TIME_DISTURBED], total);
    if (t->planned == 0)
        return;
    record_unless_zero(t->ended[TIME_QUEUE], &t->instant_queues, timing->queue);
    hist_record(t->ended[TIME_RAW], timing->total);
}

/* The phases that are over have their time, the one that was going on has its age. */
static void record_age(struct counters *t, const struct timing *timing) {
    int64_t total = timing->queue + timing->total;
    bool connected = timing->phase > PHASE_TLS, sent = timing->phase > PHASE_SEND;
    hist_record(t->ages[timing->reused ? TIME_REUSED : TIME_NEW], total);
    if (!timing->reused) {
        hist_record(t->ages[TIME_NEW_PROCESSING], total - timing->connect);
        hist_record((connected ? t->ended : t->ages)[TIME_CONNECT], timing->connect);
        if (timing->tls > 0)
            hist_record((connected ? t->ended : t->ages)[TIME_TLS], timing->tls);
    }
    if (connected)
        hist_record((sent ? t->ended : t->ages)[TIME_SEND], timing->send);
    if (sent)
        hist_record((timing->phase > PHASE_WAIT ? t->ended : t->ages)[TIME_WAIT], timing->wait);
    if (timing->phase > PHASE_WAIT)
        hist_record(t->ages[TIME_RECEIVE], timing->receive);
    if (timing->disturbed)
        hist_record(t->ages[TIME_DISTURBED], total);
    if (t->planned == 0)
        return;
    hist_record(t->ended[TIME_QUEUE], timing->queue);
    hist_record(t->ages[TIME_RAW], timing->total);
}

static void count_unfinished(struct counters *t, const struct timing *timing) {
    nsec_t age = (timing->queue + timing->total) * NSEC_PER_USEC;
    t->in_flight++;
    if (age > t->in_flight_age_max)
        t->in_flight_age_max = age;
    record_age(t, timing);
}

static void count_dropped(struct counters *t, const struct timing *timing) {
    t->dropped++;
    hist_record(t->ages[TIME_TOTAL], timing->queue);
    hist_record(t->ages[TIME_QUEUE], timing->queue);
}

static bool is_error(uint16_t status) {
    return status < 200 || status > 299;
}

bool counters_fits_document(struct counters *t, uint16_t status, uint64_t body_bytes, bool exact) {
    if (!t->has_document || (t->document_is_error && !is_error(status))) {
        t->has_document = true;
        t->document_is_error = !exact && is_error(status);
        t->document_bytes = body_bytes;
    }
    return !exact || body_bytes == t->document_bytes;
}

size_t counters_begin(struct counters *t, nsec_t start, bool is_planned, bool is_late) {
    struct samples *s = &t->samples;
    if (is_planned) {
        t->planned++;
        t->part.planned++;
    }
    t->late += is_late;
    t->part.late += is_late;
    if (!t->keeps_samples || s->incomplete || !grow(s, s->count + 1))
        return SIZE_MAX;
    s->items[s->count] = (struct sample){ .start = start, .outcome = OUTCOME_UNFINISHED };
    return s->count++;
}

static uint32_t narrow(uint64_t value) {
    return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

static void end_sample(struct sample *sample, int outcome, uint16_t status, uint64_t body_bytes,
                       const struct timing *timing) {
    sample->queue_us = narrow((uint64_t)timing->queue);
    sample->connect_us = narrow((uint64_t)timing->connect);
    sample->tls_us = narrow((uint64_t)timing->tls);
    sample->send_us = narrow((uint64_t)timing->send);
    sample->wait_us = narrow((uint64_t)timing->wait);
    sample->receive_us = narrow((uint64_t)timing->receive);
    sample->total_us = narrow((uint64_t)(timing->queue + timing->total));
    sample->body_bytes = body_bytes;
    sample->status = status;
    sample->outcome = (int8_t)outcome;
    sample->reused = timing->reused;
    sample->disturbed = timing->disturbed;
}

/* Complete responses of any kind have a time, of the failures only time-outs have an age. */
static void count_ended(struct counters *t, int outcome, uint16_t status,
                        const struct timing *timing) {
    struct counters_part *part = &t->part;
    bool answered = status > 0, ok = outcome == OUTCOME_OK;
    part->ended++;
    if (LIKELY(ok)) {
        t->succeeded++;
    } else {
        t->failed[outcome]++;
        part->failed++;
    }
    if (LIKELY(answered)) {
        record(t, timing);
        hist_record(part->latency, timing->queue + timing->total);
    } else if (failure_is_timeout((enum failure)outcome)) {
        record_age(t, timing);
        hist_record(part->timed_out, timing->queue + timing->total);
    }
    if (UNLIKELY(answered && is_error(status))) {
        t->non_2xx++;
        part->non_2xx++;
        t->unwelcome += ok;
        part->unwelcome += ok;
    }
}

void counters_end(struct counters *t, size_t sample, int outcome, uint16_t status,
                  uint64_t body_bytes, const struct timing *timing, nsec_t now) {
    if (UNLIKELY(outcome == OUTCOME_UNFINISHED)) {
        count_unfinished(t, timing);
    } else if (UNLIKELY(outcome == OUTCOME_DROPPED)) {
        count_dropped(t, timing);
        if (t->streams != NULL)
            streams_miss(t->streams, timing->planned, now);
    } else {
        count_ended(t, outcome, status, timing);
        t->last_end = now;
    }
    if (UNLIKELY(t->stages != NULL))
        stages_end(t->stages, outcome, status, timing, now);
    if (sample < t->samples.count)
        end_sample(&t->samples.items[sample], outcome, status, body_bytes, timing);
}

static int by_start(const void *a, const void *b) {
    const struct sample *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

static int by_time(const void *a, const void *b) {
    const struct sample *x = a, *y = b;
    return (x->total_us > y->total_us) - (x->total_us < y->total_us);
}

void counters_sort_samples(struct samples *s, bool by_total) {
    if (s->count > 0)
        qsort(s->items, s->count, sizeof(*s->items), by_total ? by_time : by_start);
}

uint64_t counters_failures(const struct counters *t) {
    uint64_t sum = 0;
    for (int i = 0; i < FAILURE_COUNT; i++)
        sum += t->failed[i];
    return sum;
}

uint64_t counters_column(const struct counters *t, enum failure_column column) {
    uint64_t sum = 0;
    for (int i = 0; i < FAILURE_COUNT; i++)
        if (failure_infos[i].column == column)
            sum += t->failed[i];
    return sum;
}
