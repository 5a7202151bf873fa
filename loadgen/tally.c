/* SPDX-License-Identifier: MIT */
/* Counters and distributions of one worker, and their sum. */
#include "loadgen/tally.h"
#include <errno.h>
#include <string.h>

int tally_init(struct tally *t) {
    *t = (struct tally){ .first_start = NSEC_NEVER };
    bool ok = true;
    for (int i = 0; i < TIME_COUNT && ok; i++) {
        t->ended[i] = hist_new();
        t->ages[i] = hist_new();
        ok = t->ended[i] != NULL && t->ages[i] != NULL;
    }
    if (ok)
        return 0;
    tally_free(t);
    return -ENOMEM;
}

void tally_free(struct tally *t) {
    for (int i = 0; i < TIME_COUNT; i++) {
        hist_free(t->ended[i]);
        hist_free(t->ages[i]);
    }
    *t = (struct tally){ .first_start = NSEC_NEVER };
}

void tally_restart(struct tally *t, nsec_t now) {
    struct tally fresh = { .first_start = now,
                           .connections = t->connections,
                           .has_document = t->has_document,
                           .document_is_error = t->document_is_error,
                           .document_bytes = t->document_bytes };
    memcpy(fresh.server_software, t->server_software, sizeof(fresh.server_software));
    for (int i = 0; i < TIME_COUNT; i++) {
        fresh.ended[i] = t->ended[i];
        fresh.ages[i] = t->ages[i];
        hist_reset(fresh.ended[i]);
        hist_reset(fresh.ages[i]);
    }
    *t = fresh;
}

static bool is_better_document(const struct tally *from, const struct tally *to) {
    if (!from->has_document || !to->has_document)
        return from->has_document;
    if (from->document_is_error != to->document_is_error)
        return to->document_is_error;
    return from->first_start < to->first_start;
}

void pauses_merge(struct pauses *to, const struct pauses *from) {
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

void tally_merge(struct tally *to, const struct tally *from) {
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
    pauses_merge(&to->pauses, &from->pauses);
    to->instant_sends += from->instant_sends;
    to->instant_receives += from->instant_receives;
    to->instant_queues += from->instant_queues;
    for (int i = 0; i < TIME_COUNT; i++) {
        hist_merge(to->ended[i], from->ended[i]);
        hist_merge(to->ages[i], from->ages[i]);
    }
}

/* A reused connection has a connect time of zero, and all of its total is processing. */
static void settle(struct hist *of[TIME_COUNT]) {
    hist_merge(of[TIME_TOTAL], of[TIME_NEW]);
    hist_merge(of[TIME_TOTAL], of[TIME_REUSED]);
    hist_merge(of[TIME_PROCESSING], of[TIME_NEW_PROCESSING]);
    hist_merge(of[TIME_PROCESSING], of[TIME_REUSED]);
}

void tally_settle(struct tally *t) {
    settle(t->ended);
    settle(t->ages);
    uint64_t reused = hist_count(t->ended[TIME_REUSED]) + hist_count(t->ages[TIME_REUSED]);
    hist_record_n(t->ended[TIME_CONNECT], 0, reused);
    hist_record_n(t->ended[TIME_SEND], 0, t->instant_sends);
    hist_record_n(t->ended[TIME_RECEIVE], 0, t->instant_receives);
    hist_record_n(t->ended[TIME_QUEUE], 0, t->instant_queues);
    t->instant_sends = t->instant_receives = t->instant_queues = 0;
}

void tally_server(struct tally *t, const struct http_head *head) {
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

static void record(struct tally *t, const struct timing *timing) {
    int64_t total = timing->queue + timing->total;
    if (timing->reused) {
        hist_record(t->ended[TIME_REUSED], total);
    } else {
        hist_record(t->ended[TIME_NEW], total);
        hist_record(t->ended[TIME_NEW_PROCESSING], total - timing->connect);
        hist_record(t->ended[TIME_CONNECT], timing->connect);
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
static void record_age(struct tally *t, const struct timing *timing) {
    int64_t total = timing->queue + timing->total;
    bool connected = timing->phase > PHASE_CONNECT, sent = timing->phase > PHASE_SEND;
    hist_record(t->ages[timing->reused ? TIME_REUSED : TIME_NEW], total);
    if (!timing->reused) {
        hist_record(t->ages[TIME_NEW_PROCESSING], total - timing->connect);
        hist_record((connected ? t->ended : t->ages)[TIME_CONNECT], timing->connect);
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

void tally_unfinished(struct tally *t, const struct timing *timing) {
    nsec_t age = (timing->queue + timing->total) * NSEC_PER_USEC;
    t->in_flight++;
    if (age > t->in_flight_age_max)
        t->in_flight_age_max = age;
    record_age(t, timing);
}

void tally_dropped(struct tally *t, int64_t usec) {
    t->dropped++;
    hist_record(t->ages[TIME_TOTAL], usec);
    hist_record(t->ages[TIME_QUEUE], usec);
}

static bool is_error(uint16_t status) {
    return status < 200 || status > 299;
}

static void count_status(struct tally *t, uint16_t status) {
    if (UNLIKELY(is_error(status)))
        t->non_2xx++;
}

void tally_unexpected(struct tally *t, enum failure reason, const struct timing *timing,
                      uint16_t status) {
    count_status(t, status);
    record(t, timing);
    t->failed[reason]++;
}

bool tally_response(struct tally *t, const struct timing *timing, uint16_t status,
                    uint64_t body_bytes, bool exact) {
    if (!t->has_document || (t->document_is_error && !is_error(status))) {
        t->has_document = true;
        t->document_is_error = !exact && is_error(status);
        t->document_bytes = body_bytes;
    }
    count_status(t, status);
    record(t, timing);
    if (exact && body_bytes != t->document_bytes) {
        t->failed[FAILURE_LENGTH]++;
        return false;
    }
    t->succeeded++;
    if (UNLIKELY(is_error(status)))
        t->unwelcome++;
    return true;
}

void tally_failure(struct tally *t, enum failure reason, const struct timing *timing) {
    t->failed[reason]++;
    if (failure_is_timeout(reason))
        record_age(t, timing);
}

uint64_t tally_failures(const struct tally *t) {
    uint64_t sum = 0;
    for (int i = 0; i < FAILURE_COUNT; i++)
        sum += t->failed[i];
    return sum;
}

uint64_t tally_column(const struct tally *t, enum failure_column column) {
    uint64_t sum = 0;
    for (int i = 0; i < FAILURE_COUNT; i++)
        if (failure_infos[i].column == column)
            sum += t->failed[i];
    return sum;
}
