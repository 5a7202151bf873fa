/* SPDX-License-Identifier: MIT */
/* What was counted. Each worker has its own; they are merged for the report. Memory does not grow
 * with the requests. */
#ifndef LOADGEN_TALLY_H
#define LOADGEN_TALLY_H

#include "base/clock.h"
#include "base/hist.h"
#include "http/head.h"
#include "loadgen/failure.h"

/* Microseconds of one request, along ab's definitions. */
struct timing {
    int64_t queue;   /* open model: from the planned start to the real one, inside the generator */
    int64_t connect; /* 0 on a reused connection */
    int64_t send;    /* from the connection to the end of writing */
    int64_t wait;    /* from the end of writing the request to the first byte of the response */
    int64_t receive; /* from the first byte of the response to the last */
    int64_t total;   /* from the start of connecting, or of writing, to the last byte */
    bool reused;     /* not the first request of its connection */
};

#define TALLY_LATE_USEC 1000

struct tally {
    uint64_t succeeded; /* complete responses of any status */
    uint64_t failed[FAILURE_COUNT];
    uint64_t non_2xx;     /* of the complete ones */
    uint64_t kept_alive;  /* complete ones whose connection stayed open */
    uint64_t connections; /* established */
    uint64_t
        reconnects; /* idle kept-alive connections that the server closed; no request was lost */
    uint64_t bytes_received, body_bytes, bytes_sent;
    int connect_errno; /* of the last FAILURE_CONNECT; 0: none */

    uint64_t in_flight; /* neither answered nor failed when the run was stopped */
    nsec_t in_flight_age_max;
    bool ages_recorded; /* the ages of those in flight are in the distributions */

    /* Open model: requests whose planned time came, those of them that were begun more than
     * TALLY_LATE_USEC after it, and those that were never begun. */
    uint64_t planned, late, dropped;

    nsec_t first_start, last_end; /* NSEC_NEVER and 0 when there was none */

    /* Microseconds. Complete responses of any status and length are recorded; so are requests that
     * timed out or were still in flight at the end (with the age they reached), or a server that
     * hangs would look faster than one that is slow.
     *
     * `fresh` and `reused` split the requests by their connection; in the open model they count
     * from the planned start. */
    struct hist *fresh, *reused;
    struct hist *connect, *send, *waiting, *receive, *queue;
    struct hist *raw; /* open model: `total` from the real start */
    uint64_t instant_sends, instant_receives, instant_queues; /* zeros, recorded by tally_settle */
    struct hist *processing_fresh;

    struct hist *total, *processing; /* after tally_settle: sums of the above */

    char server_software[33]; /* of the first response, as ab cuts it: up to a control character or
                                 space */
    uint64_t document_bytes;  /* body of the first 2xx response, or of the first one of all */
    bool has_document;
    bool document_is_error; /* the first 2xx response takes its place */
};

/* 0 or -ENOMEM. */
NODISCARD int tally_init(struct tally *t);
void tally_free(struct tally *t);

/* Forgets everything that was counted; the start becomes `now`. */
void tally_restart(struct tally *t, nsec_t now);

/* Adds all of `from` to `to`; of "first" things the earlier starter's count. */
void tally_merge(struct tally *to, const struct tally *from);

/* Remembers what ab prints about the server. Only the first call matters. */
void tally_server(struct tally *t, const struct http_head *head);

/* Completes `total` and `processing`; once, when nothing more will be recorded or merged. */
void tally_settle(struct tally *t);

/* A complete response. `exact`, for --ab-strict without -l: a body that is as long as the first
 * one, even if that was an error, is part of success. False when it failed for its length. */
bool tally_response(struct tally *t, const struct timing *timing, uint16_t status,
                    uint64_t body_bytes, bool exact);

/* A complete response that is not what was asked for: FAILURE_STATUS or FAILURE_BODY. */
void tally_unexpected(struct tally *t, enum failure reason, const struct timing *timing,
                      uint16_t status);

/* A request that was still in flight when the run ended, `timing` being how far it came. */
void tally_unfinished(struct tally *t, const struct timing *timing);

/* Open model: a planned request that was never begun, though it was due for `usec`. */
void tally_dropped(struct tally *t, int64_t usec);

/* `timing` is recorded for time-outs only. */
void tally_failure(struct tally *t, enum failure reason, const struct timing *timing);

uint64_t tally_failures(const struct tally *t);
uint64_t tally_column(const struct tally *t, enum failure_column column);

/* Requests that came to an end, good or bad: ab's "Complete requests". */
static inline uint64_t tally_ended(const struct tally *t) {
    return t->succeeded + tally_failures(t);
}

#endif
