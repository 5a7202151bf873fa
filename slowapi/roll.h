/* SPDX-License-Identifier: MIT */
/* Decisions by counting and by chance: whether a limit lets a request in, which number it has, its
 * status and faults, its turn in a queue, and when it is due.
 *
 *   roll_limit(&r, &refusal)              429, or the request may go on
 *   roll_outcome(&r, counts, &outcome)    its number, status, close and faults
 *   roll_delay(&r, &wait, &refusal)       when; or the queue is full, or the server pauses
 *
 * All workers count in the memory that they share. A seed repeats what chance decides, when they
 * come in this order. */
#ifndef SLOWAPI_ROLL_H
#define SLOWAPI_ROLL_H

#include "http/head.h"
#include "slowapi/shared.h"
#include "slowapi/spec.h"

/* A request to roll for. */
struct roll {
    struct shared *shared;
    struct slow_stats *stats;
    const struct spec *spec;
    const struct http_head *head;
    struct rng *rng;
    struct slice path; /* decoded */
    uint64_t client;   /* a hash of its address */
    nsec_t now;        /* time since the start of the server */
    bool is_reused;    /* not the first request of its connection */
};

/* A refusal, or with status 0 header lines of the answer. */
struct roll_refusal {
    uint16_t status;
    const char *text; /* static */
    char fields[160]; /* header lines with their CRLF, or "" */
};

/* Begins the counts of a session anew, for all its clients: its sequences and limits, but not those
 * of a key. */
void roll_forget_session(struct shared *shared, struct slice session);

/* Tells how often a session has begun anew. */
uint64_t roll_session_age(struct shared *shared, struct slice session);

/* Counts and logs that a sequence had to make room. */
void roll_tell_eviction(struct slow_stats *stats, const struct shared *shared);

/* Takes a place among the requests that the limit lets in. Those that have come too often get 429;
 * whatever they ask for does not happen. */
void roll_limit(const struct roll *r, struct roll_refusal *ret);

struct roll_outcome {
    uint64_t number; /* among those that are counted together, from 1; 0: not counted */
    uint16_t status;
    bool close;
    uint8_t fault_count;
    struct fault faults[SPEC_FAULTS_MAX]; /* faults that strike this request */
};

/* `status` stays unless the parameters choose another one. `is_told`: the answer tells the number.
 */
void roll_outcome(const struct roll *r, uint16_t status, bool is_told, struct roll_outcome *ret);

struct roll_wait {
    nsec_t delay, queued; /* queued is a part of it */
};

/* The delay of a request that is refused is that of what came before. */
void roll_delay(const struct roll *r, struct roll_wait *ret, struct roll_refusal *ret_refusal);

#endif
