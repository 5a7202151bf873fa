/* SPDX-License-Identifier: MIT */
/* A queue in front of some servers, in virtual time: a request takes the server that is free first.
 * Nobody has to be woken up, the delay is known on arrival. */
#ifndef SLOWAPI_QUEUE_H
#define SLOWAPI_QUEUE_H

#include "base/clock.h"
#include "base/slice.h"
#include "slowapi/limits.h"

#define QUEUE_NAME_BYTES 64

struct queue {
    nsec_t free_at[SLOWAPI_QUEUE_WORKERS];
    nsec_t starts[SLOWAPI_QUEUE_WAITING]; /* ring: when those who wait will be served, rising */
    uint32_t head, waiting;
    uint64_t requests, refused;  /* requests that came, and those for which it was full */
    uint32_t workers, limit;     /* numbers of the latest request, as is the name */
    char name[QUEUE_NAME_BYTES]; /* cut; NUL-terminated */
};

/* The wish of a request for one of `workers` (1..SLOWAPI_QUEUE_WORKERS) servers for the time of
 * `service`; `limit` (0..SLOWAPI_QUEUE_WAITING) may wait for it. */
struct queue_ask {
    int64_t workers, limit;
    nsec_t service;
    struct slice name; /* tells people which queue it is */
};

struct queue_turn {
    bool is_full;
    bool evicts;              /* see queue_enter */
    nsec_t wait, retry_after; /* in the queue; until there is room in it again */
};

/* Frees all servers; nobody waits. */
void queue_clear(struct queue *queue);

/* Takes a server, or a place in the queue, or neither. */
struct queue_turn queue_take(struct queue *queue, const struct queue_ask *ask, nsec_t now);

/* The state of a queue at some time. */
struct queue_view {
    char name[QUEUE_NAME_BYTES];
    uint32_t workers, busy, limit, waiting;
    uint64_t requests, refused;
};

struct queue_view queue_look(struct queue *queue, nsec_t now);

#endif
