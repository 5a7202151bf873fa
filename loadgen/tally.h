/* SPDX-License-Identifier: MIT */
/* What was counted. Each worker has its own; they are merged for the report. Memory does not grow
 * with the requests. */
#ifndef LOADGEN_TALLY_H
#define LOADGEN_TALLY_H

#include "base/clock.h"
#include "base/hist.h"
#include "http/head.h"
#include "loadgen/failure.h"

/* How far a request has come. */
enum phase { PHASE_CONNECT, PHASE_SEND, PHASE_WAIT, PHASE_RECEIVE };

/* Microseconds of one request, along ab's definitions. */
struct timing {
    int64_t queue;   /* open model: from the planned start to the real one, inside the generator */
    int64_t connect; /* 0 on a reused connection */
    int64_t send;    /* from the connection to the end of writing */
    int64_t wait;    /* from the end of writing the request to the first byte of the response */
    int64_t receive; /* from the first byte of the response to the last */
    int64_t total;   /* from the start of connecting, or of writing, to the last byte */
    enum phase phase;
    bool reused;    /* not the first request of its connection */
    bool disturbed; /* the generator paused meanwhile */
};

#define TALLY_LATE_USEC 1000

/* The distributions of a run, in microseconds. */
enum tally_time {
    TIME_TOTAL,      /* sum of NEW and REUSED, complete after tally_settle; with what was dropped */
    TIME_PROCESSING, /* total less connect; complete after tally_settle */
    TIME_CONNECT,
    TIME_WAIT,
    TIME_SEND,
    TIME_RECEIVE,
    TIME_QUEUE,
    TIME_RAW,       /* open model: total from the real start */
    TIME_NEW,       /* total of requests that opened their connection */
    TIME_REUSED,    /* total of the others */
    TIME_DISTURBED, /* total of requests that saw a pause of the generator */
    TIME_NEW_PROCESSING,
    TIME_COUNT,
};

/* Pauses of a generator: times in which its loop did not run, or was busy in one turn. */
struct pauses {
    uint64_t count;
    nsec_t total, longest;
    nsec_t longest_at;  /* monotonic, its beginning */
    nsec_t longest_cpu; /* what the thread computed within it: little when it was stopped */
};

struct tally {
    uint64_t succeeded; /* complete responses of any status */
    uint64_t failed[FAILURE_COUNT];
    uint64_t non_2xx;     /* of the complete ones */
    uint64_t unwelcome;   /* of the succeeded ones, those that are not 2xx */
    uint64_t kept_alive;  /* complete ones whose connection stayed open */
    uint64_t connections; /* established */
    uint64_t
        reconnects; /* idle kept-alive connections that the server closed; no request was lost */
    uint64_t bytes_received, body_bytes, bytes_sent;
    int connect_errno; /* of the last FAILURE_CONNECT; 0: none */

    uint64_t in_flight; /* neither answered nor failed when the run was stopped */
    nsec_t in_flight_age_max;

    /* Open model: requests whose planned time came, those of them that were begun more than
     * TALLY_LATE_USEC after it, and those that were never begun. `starved` of the last two were so
     * though a connection was free, or because the generator paused. */
    uint64_t planned, late, dropped, starved;
    uint64_t busy_max; /* open model: the most connections that had a request at once */

    nsec_t first_start, last_end; /* NSEC_NEVER and 0 when there was none */
    struct pauses pauses;

    /* `ended` holds complete responses of any status and length. `ages` holds how far a request had
     * come that timed out, was in flight when the run ended, or was never begun: its time is longer
     * than that, and how much longer is not known (a censored observation). A phase that was over
     * by then is in `ended`. In the open model totals count from the planned start. */
    struct hist *ended[TIME_COUNT], *ages[TIME_COUNT];
    uint64_t instant_sends, instant_receives, instant_queues; /* zeros, recorded by tally_settle */

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

/* Workers that pause together do so once: count and total become those of the one that paused
 * longer. */
void pauses_merge(struct pauses *to, const struct pauses *from);

/* Adds all of `from` to `to`; of "first" things the earlier starter's count. */
void tally_merge(struct tally *to, const struct tally *from);

/* Remembers what ab prints about the server. Only the first call matters. */
void tally_server(struct tally *t, const struct http_head *head);

/* Completes TIME_TOTAL and TIME_PROCESSING; once, when nothing more will be recorded or merged. */
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

/* `timing` is recorded for time-outs only, as an age. */
void tally_failure(struct tally *t, enum failure reason, const struct timing *timing);

uint64_t tally_failures(const struct tally *t);
uint64_t tally_column(const struct tally *t, enum failure_column column);

/* Requests that came to an end, good or bad: ab's "Complete requests". */
static inline uint64_t tally_ended(const struct tally *t) {
    return t->succeeded + tally_failures(t);
}

#endif
