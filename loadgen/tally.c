/* SPDX-License-Identifier: MIT */
/* Counters and distributions of one worker, and their sum. */
#include "loadgen/tally.h"
#include <errno.h>
#include <stdio.h>

int tally_init(struct tally *t) {
    *t = (struct tally){
        .first_start = NSEC_NEVER,
        .connect = hist_new(),
        .processing = hist_new(),
        .waiting = hist_new(),
        .total = hist_new(),
    };
    if (t->connect != NULL && t->processing != NULL && t->waiting != NULL && t->total != NULL)
        return 0;
    tally_free(t);
    return -ENOMEM;
}

void tally_free(struct tally *t) {
    hist_free(t->connect);
    hist_free(t->processing);
    hist_free(t->waiting);
    hist_free(t->total);
    *t = (struct tally){ .first_start = NSEC_NEVER };
}

void tally_merge(struct tally *to, const struct tally *from) {
    bool from_was_first =
        from->has_document && (!to->has_document || from->first_start < to->first_start);
    if (from_was_first) {
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
    hist_merge(to->connect, from->connect);
    hist_merge(to->processing, from->processing);
    hist_merge(to->waiting, from->waiting);
    hist_merge(to->total, from->total);
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

static void record(struct tally *t, const struct timing *timing) {
    hist_record(t->connect, timing->connect);
    hist_record(t->processing, timing->total - timing->connect);
    hist_record(t->waiting, timing->wait);
    hist_record(t->total, timing->total);
}

bool tally_response(struct tally *t, const struct timing *timing, uint16_t status,
                    uint64_t body_bytes, bool exact) {
    if (!t->has_document) {
        t->has_document = true;
        t->document_bytes = body_bytes;
    }
    if (status < 200 || status > 299)
        t->non_2xx++;
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
    if (reason == FAILURE_TIMEOUT_CONNECT || reason == FAILURE_TIMEOUT_FIRST_BYTE ||
        reason == FAILURE_TIMEOUT_BODY)
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
