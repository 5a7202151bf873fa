/* SPDX-License-Identifier: MIT */
/* Counters and distributions of one worker, and their sum. */
#include "loadgen/tally.h"
#include <errno.h>
#include <stdio.h>

enum { HISTS = 11 };

/* All distributions, for what is done to each of them. */
static void list_hists(struct tally *t, struct hist **ret_hists[HISTS]) {
    struct hist **all[HISTS] = { &t->fresh,   &t->reused,     &t->connect,         &t->send,
                                 &t->waiting, &t->receive,    &t->queue,           &t->raw,
                                 &t->total,   &t->processing, &t->processing_fresh };
    memcpy(ret_hists, all, sizeof(all));
}

int tally_init(struct tally *t) {
    struct hist **hists[HISTS];
    *t = (struct tally){ .first_start = NSEC_NEVER };
    list_hists(t, hists);
    for (int i = 0; i < HISTS; i++) {
        *hists[i] = hist_new();
        if (*hists[i] != NULL)
            continue;
        tally_free(t);
        return -ENOMEM;
    }
    return 0;
}

void tally_free(struct tally *t) {
    struct hist **hists[HISTS];
    list_hists(t, hists);
    for (int i = 0; i < HISTS; i++)
        hist_free(*hists[i]);
    *t = (struct tally){ .first_start = NSEC_NEVER };
}

void tally_restart(struct tally *t, nsec_t now) {
    struct hist **from[HISTS], **to[HISTS];
    struct tally fresh = { .first_start = now,
                           .connections = t->connections,
                           .has_document = t->has_document,
                           .document_is_error = t->document_is_error,
                           .document_bytes = t->document_bytes };
    memcpy(fresh.server_software, t->server_software, sizeof(fresh.server_software));
    list_hists(t, from);
    list_hists(&fresh, to);
    for (int i = 0; i < HISTS; i++) {
        *to[i] = *from[i];
        hist_reset(*to[i]);
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
    to->ages_recorded |= from->ages_recorded;
    to->planned += from->planned;
    to->late += from->late;
    to->dropped += from->dropped;
    to->instant_sends += from->instant_sends;
    to->instant_receives += from->instant_receives;
    to->instant_queues += from->instant_queues;

    struct hist **sums[HISTS], **parts[HISTS];
    struct tally source = *from;
    list_hists(to, sums);
    list_hists(&source, parts);
    for (int i = 0; i < HISTS; i++)
        hist_merge(*sums[i], *parts[i]);
}

/* A reused connection has a connect time of zero, and all of its total is processing. */
void tally_settle(struct tally *t) {
    hist_merge(t->total, t->fresh);
    hist_merge(t->total, t->reused);
    hist_merge(t->processing, t->processing_fresh);
    hist_merge(t->processing, t->reused);
    hist_record_n(t->connect, 0, hist_count(t->reused));
    hist_record_n(t->send, 0, t->instant_sends);
    hist_record_n(t->receive, 0, t->instant_receives);
    hist_record_n(t->queue, 0, t->instant_queues);
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
        hist_record(t->reused, total);
    } else {
        hist_record(t->fresh, total);
        hist_record(t->processing_fresh, total - timing->connect);
        hist_record(t->connect, timing->connect);
    }
    hist_record(t->waiting, timing->wait);
    record_unless_zero(t->send, &t->instant_sends, timing->send);
    record_unless_zero(t->receive, &t->instant_receives, timing->receive);
    if (t->planned == 0)
        return;
    record_unless_zero(t->queue, &t->instant_queues, timing->queue);
    hist_record(t->raw, timing->total);
}

void tally_unfinished(struct tally *t, const struct timing *timing) {
    nsec_t age = (timing->queue + timing->total) * NSEC_PER_USEC;
    t->in_flight++;
    t->ages_recorded = true;
    if (age > t->in_flight_age_max)
        t->in_flight_age_max = age;
    record(t, timing);
}

void tally_dropped(struct tally *t, int64_t usec) {
    t->dropped++;
    hist_record(t->total, usec);
    hist_record(t->queue, usec);
}

static bool is_error(uint16_t status) {
    return status < 200 || status > 299;
}

static void count_status(struct tally *t, uint16_t status) {
    if (is_error(status))
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
    return true;
}

void tally_failure(struct tally *t, enum failure reason, const struct timing *timing) {
    t->failed[reason]++;
    if (failure_is_timeout(reason))
        record(t, timing);
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
