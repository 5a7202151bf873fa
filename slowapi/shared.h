/* SPDX-License-Identifier: MIT */
/* What the workers have in common: one mapping, made before they are forked. */
#ifndef SLOWAPI_SHARED_H
#define SLOWAPI_SHARED_H

#include "base/error.h"
#include "net/prefork.h"
#include "slowapi/spec.h"
#include "slowapi/truth.h"
#include <pthread.h>

#define SHARED_STATIONS    16
#define SHARED_SEQUENCES   4096 /* clients or keys; the least recently used goes */
#define SHARED_WAYS        8
#define SHARED_RULES_BYTES 65536

/* A queue in front of some servers, in virtual time: who comes takes the server that is free first.
 * Nobody has to be woken up, the delay is known on arrival. */
struct station {
    uint64_t key; /* 0: free */
    nsec_t used_at;
    nsec_t free_at[SPEC_LOAD_WORKERS];
    nsec_t starts[SPEC_LOAD_QUEUE_MAX]; /* ring: when those who wait will be served, rising */
    uint32_t head, waiting;
};

struct sequence {
    uint64_t key; /* 0: free */
    uint64_t count, used_at;
};

struct shared {
    pthread_mutex_t mutex; /* of all below it up to the rules */
    struct station stations[SHARED_STATIONS];
    struct sequence sequences[SHARED_SEQUENCES];
    uint64_t sequence_clock;
    char rules[SHARED_RULES_BYTES]; /* the JSON that is in force; NUL-terminated */
    _Atomic uint32_t rules_generation;

    nsec_t started_at;
    struct truth_total total;
    struct truth_slot slots[PREFORK_WORKERS_MAX];
};

/* NULL with a reason. Before fork. */
NODISCARD struct shared *shared_new(struct error *err);
void shared_free(struct shared *shared); /* NULL-safe */

/* A worker that died while it held the lock left nothing half done that matters. */
void shared_lock(struct shared *shared);
void shared_unlock(struct shared *shared);

/* --- load ------------------------------------------------------------------------------------- */

struct load_turn {
    bool is_full;
    nsec_t wait, retry_after; /* in the queue; until there is room in it again */
};

/* Takes a place among `workers` (1..SPEC_LOAD_WORKERS) servers for `service` from `now` on. */
struct load_turn load_enter(struct shared *shared, uint64_t key, int64_t workers, int64_t queue,
                            nsec_t service, nsec_t now);

/* --- sequences -------------------------------------------------------------------------------- */

/* How often it was asked for before: 0, 1, ... */
uint64_t sequence_next(struct shared *shared, uint64_t key);

void sequence_forget_all(struct shared *shared);

#endif
