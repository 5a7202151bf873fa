/* SPDX-License-Identifier: MIT */
/* An answer that is more than the plain one: made step by step, with its faults in it.
 *
 *   reply_step -> bytes in `out`, and what to do when they are written:
 *       NEXT   step again          WAIT  step again at `until`       HANG  nothing, for ever
 *       KEEP   it is complete      FIN   close                       RST   reset
 */
#ifndef SLOWAPI_REPLY_H
#define SLOWAPI_REPLY_H

#include "http/conn.h"
#include "slowapi/body.h"
#include "slowapi/spec.h"
#include "slowapi/truth.h"

enum reply_act { REPLY_NEXT, REPLY_WAIT, REPLY_HANG, REPLY_KEEP, REPLY_FIN, REPLY_RST };

struct reply_step {
    enum reply_act act;
    nsec_t until;
};

enum reply_phase { REPLY_HEAD, REPLY_BODY, REPLY_END };

struct reply {
    uint16_t status;
    uint8_t phase; /* enum reply_phase */
    uint8_t fault_count;
    bool close, is_bodyless, is_chunked;
    bool shows_truth;
    struct fault faults[SPEC_FAULTS_MAX]; /* those that were rolled for this request */
    struct rng rng;
    uint64_t seed;
    struct body body;
    uint64_t sent;       /* units */
    uint64_t planned;    /* units of the next piece; 0: it is not planned yet */
    nsec_t due;          /* of the next piece, counted from when the one before was due */
    uint64_t owed_bytes; /* of the last event, which the bandwidth has not paid for */
    uint64_t body_bytes; /* made, without the framing of chunks */
    nsec_t delay, queued, begun_at;
    nsec_t late;  /* by how much the answer began, once it has */
    char *text;   /* owned: what body.text points to, or NULL */
    char *fields; /* owned: header lines with their CRLF, or NULL */
    char *custom; /* owned: lines of header=, instead of any others of their names, or NULL */
    char *rule;   /* owned: the name of the rule that matched, or NULL */
    char *target; /* owned: for the log, or NULL */
    uint8_t method;
};

/* NULL when out of memory. */
NODISCARD struct reply *reply_new(uint16_t status);
void reply_free(struct reply *reply); /* NULL-safe */

/* The one that was rolled, not yet struck; NULL when there is none of that kind. */
struct fault *reply_fault(struct reply *reply, enum fault_kind kind);

/* It strikes: counted once. */
void reply_strike(struct fault *fault, struct truth *truth);

/* Cuts the body into pieces that come at the pace of all its faults, spans and intervals. To be
 * called once, when the faults are rolled and the body is complete. */
void reply_set_pace(struct reply *reply);

/* `last`: the connection is not to be kept anyway. 0, or -errno (no memory): close. */
NODISCARD int reply_step(struct reply *reply, struct http_conn *conn, struct truth *truth,
                         bool last, struct buf *out, struct reply_step *ret);

#endif
