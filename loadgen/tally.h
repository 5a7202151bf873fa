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
    int64_t connect; /* 0 on a reused connection */
    int64_t wait;    /* from the end of writing the request to the first byte of the response */
    int64_t total;   /* from the start of connecting, or of writing, to the last byte */
};

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

    nsec_t first_start, last_end; /* NSEC_NEVER and 0 when there was none */

    /* Microseconds. Complete responses of any status and length are recorded; so are requests that
     * timed out (with the age they reached), or a server that hangs would look faster than one that
     * is slow. */
    struct hist *connect, *processing, *waiting, *total;

    char server_software[33]; /* of the first response, as ab cuts it: up to a control character or
                                 space */
    uint64_t document_bytes;  /* body of the first complete response */
    bool has_document;
};

/* 0 or -ENOMEM. */
NODISCARD int tally_init(struct tally *t);
void tally_free(struct tally *t);

/* Adds all of `from` to `to`; of "first" things the earlier starter's count. */
void tally_merge(struct tally *to, const struct tally *from);

/* Remembers what ab prints about the server. Only the first call matters. */
void tally_server(struct tally *t, const struct http_head *head);

/* A complete response. `exact`: a body that is as long as the first one is part of success (ab
 * without -l). False when it failed for its length. */
bool tally_response(struct tally *t, const struct timing *timing, uint16_t status,
                    uint64_t body_bytes, bool exact);

/* `timing` is recorded for time-outs only. */
void tally_failure(struct tally *t, enum failure reason, const struct timing *timing);

uint64_t tally_failures(const struct tally *t);
uint64_t tally_column(const struct tally *t, enum failure_column column);

/* Requests that came to an end, good or bad: ab's "Complete requests". */
static inline uint64_t tally_ended(const struct tally *t) {
    return t->succeeded + tally_failures(t);
}

#endif
