/* SPDX-License-Identifier: MIT */
/* The memory that the workers have in common: one mapping, made before they are forked. */
#ifndef SLOWAPI_SHARED_H
#define SLOWAPI_SHARED_H

#include "base/error.h"
#include "base/lru.h"
#include "net/listeners.h"
#include "proc/prefork.h"
#include "slowapi/limits.h"
#include "slowapi/queue.h"
#include "slowapi/stats.h"
#include <pthread.h>

#define SHARED_SEQUENCES_MAX (1 << 24)
#define SHARED_QUEUES_MAX    65536
#define SHARED_RULES_BYTES   (1 << 20)
#define SHARED_RULES_MAX     1024

struct journal;
struct recorded;
struct relay_table;
struct spec;

/* Things that are known of a rule in force. */
struct shared_rule {
    uint64_t hits;    /* requests that it has changed */
    uint32_t put, at; /* number of the list that it came with, from 1, and its place there */
    nsec_t put_at;
};

struct shared {
    pthread_mutex_t mutex; /* guards all below it up to the rules */
    struct lru sequences, queues;
    uint64_t *sequence_counts; /* by place, as the next */
    struct queue *queue_states;
    struct slow_stats_sum stats_base; /* at the last reset: workers only count up */
    char rules[SHARED_RULES_BYTES];   /* the JSON that is in force; NUL-terminated */
    _Atomic uint32_t rules_generation;
    _Atomic uint64_t rule_counts[SHARED_RULES_MAX];  /* requests that each of them changed */
    struct shared_rule rule_since[SHARED_RULES_MAX]; /* hits stand above instead */
    uint32_t rules_count, rules_put;                 /* in force; lists so far */
    _Atomic nsec_t forgotten_at;                     /* time when all sequences were forgotten */
    struct paths paths;
    _Atomic uint64_t faults_off; /* bits of fault kinds that strike nobody, whatever is asked for */
    _Atomic uint64_t rng_state;  /* all workers roll from it, so that --seed repeats a run */
    _Atomic nsec_t accept_at[LISTENERS_MAX]; /* addresses accept nothing before: slowaccept */

    size_t size_bytes; /* size of the whole mapping */
    /* Refuses rules that the options rule out: 0, or -EINVAL with a reason. NULL: none is. */
    int (*check_rule)(const struct shared *shared, const struct spec *spec, struct error *why);
    nsec_t delay_max;                  /* longest exchange of a rule; 0: any */
    struct journal *journal;           /* NULL: none */
    struct recorded *recorded;         /* laws; NULL: none */
    const struct option_strings *from; /* files of those */
    struct relay_table *tcp;           /* the proxies of --tcp; NULL: none */
    const char *files;                 /* the folder that files of bodies are in; NULL: none */
    nsec_t started_at;
    uint64_t secret; /* random, from the start: what the server has made is known by it */
    struct slow_stats_total total;
    struct slow_stats_slot slots[PREFORK_WORKERS_MAX];
};

/* Room for that many sequences (1..SHARED_SEQUENCES_MAX) and queues (1..SHARED_QUEUES_MAX); what is
 * never used costs no memory. To be called before fork. NULL with a reason. */
NODISCARD struct shared *shared_new(uint32_t sequences, uint32_t queues, struct error *err);
void shared_free(struct shared *shared); /* NULL-safe */

/* The next random number of the server; the workers draw in turn from one sequence. */
static inline uint64_t shared_roll(struct shared *shared) {
    struct rng rng = { .state = atomic_fetch_add_explicit(&shared->rng_state, RNG_STEP,
                                                          memory_order_relaxed) };

    return rng_next(&rng);
}

/* Whether faults of that kind strike: they do until somebody switches them off. */
static inline bool shared_fault_is_on(const struct shared *shared, enum fault_kind kind) {
    return (atomic_load_explicit(&shared->faults_off, memory_order_relaxed) >> kind & 1) == 0;
}

/* Puts rules in force: JSON that was checked, shorter than SHARED_RULES_BYTES, of `count` rules.
 * `since` tells of each where it goes on; those with `put` 0 are new. The workers see
 * rules_generation rise. False, and nothing changed: it is no longer *then. */
bool shared_set_rules(struct shared *shared, struct slice text, const struct shared_rule *since,
                      size_t count, const uint32_t *then);

/* Copies the rules in force, NUL-terminated, and to *ret_since (NULL: not wanted) what is known of
 * each; mem_free both. NULL when out of memory. */
NODISCARD char *shared_rules(struct shared *shared, struct shared_rule **ret_since);

/* Sums what was counted since the last reset. */
void shared_sum_stats(struct shared *shared, struct slow_stats_sum *ret);

/* Counts from now on: what ends later is counted, although it began before. Paths are forgotten. */
void shared_reset_stats(struct shared *shared);

/* Forgets all sequences (of shared->sequences), or empties all queues (of shared->queues). */
void shared_forget(struct shared *shared, struct lru *lru);

/* --- queues ----------------------------------------------------------------------------------- */

/* Asks the queue of that key. turn.evicts: the queue that was not used for longest had to make
 * room. */
struct queue_turn queue_enter(struct shared *shared, uint64_t key, const struct queue_ask *ask,
                              nsec_t now);

/* Looks at the queues that were used last, `max` at most, the last first. How many there are. */
size_t queues_look(struct shared *shared, nsec_t now, struct queue_view *views, size_t max);

/* --- budgets ---------------------------------------------------------------------------------- */

struct budget_turn {
    bool fits;
    bool evicts;        /* set as by sequence_next */
    uint64_t left;      /* of the budget, whole units */
    nsec_t full_after;  /* until all of it is there again */
    nsec_t retry_after; /* until the cost will fit; it fits never when it is above the budget */
};

/* Takes `cost` of the budget of that key, which holds `per_minute` (above 0) and fills up evenly
 * within a minute (the generic cell rate algorithm, ITU-T I.371). Budgets stand among the
 * sequences: the key must not be one of theirs. */
struct budget_turn budget_take(struct shared *shared, uint64_t key, uint64_t per_minute,
                               uint64_t cost, nsec_t now);

/* --- windows ---------------------------------------------------------------------------------- */

struct window_turn {
    bool fits, evicts;  /* evicts: as sequence_next */
    uint64_t left;      /* requests that still fit into the window */
    nsec_t reset_after; /* until the next window begins */
};

/* Counts a request of that key, of which `limit` (1..SLOWAPI_LIMIT_MAX) fit into each window of
 * `span` (1 ms or more); windows follow each other from the start of the server. As budget_take for
 * the key. */
struct window_turn window_take(struct shared *shared, uint64_t key, uint64_t limit, nsec_t span,
                               nsec_t now);

/* Takes `bytes` of a link that carries `rate` bytes a second, not before `from`. Returns when the
 * link has carried them. As budget_take for the key. */
nsec_t link_carry(struct shared *shared, uint64_t key, uint64_t rate, uint64_t bytes, nsec_t from);

/* --- sequences -------------------------------------------------------------------------------- */

/* Tells how often the key was asked for; 0 when it never was, or is forgotten. */
uint64_t sequence_look(struct shared *shared, uint64_t key);

/* Counts how often the key was asked for before: 0, 1, ... *ret_evicts: the key that was not asked
 * for for longest had to make room. */
uint64_t sequence_next(struct shared *shared, uint64_t key, bool *ret_evicts);

/* Lets `change` look at the number that is kept for the key, and change it, alone. 0 is that of a
 * new key, and keeps no place. Returns whether another key had to make room. As budget_take for the
 * key. */
bool sequence_change(struct shared *shared, uint64_t key,
                     void (*change)(uint64_t *state, void *arg), void *arg);

#endif
