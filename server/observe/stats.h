/* SPDX-License-Identifier: MIT */
/* What the workers count and what each request is doing, in memory that they share with the control
 * endpoint.
 *
 * One struct stats per worker, written by its threads with relaxed atomics and read at any time by
 * another process: sums may be a few requests apart from each other, and are exact when nothing
 * runs. */
#ifndef SERVER_STATS_H
#define SERVER_STATS_H

#include "base/error.h"
#include "base/hist.h"
#include "base/slice.h"
#include "server/observe/running.h"
#include "server/observe/stats_values.h"
#include <stdatomic.h>
#include <sys/types.h>

enum {
    STATS_ENTRIES = 4096,   /* requests of one worker that /requests lists at the most */
    STATS_STATUS_MAX = 600, /* the first status that is not counted */
};

#define STATS_VALUE_ENUM(name, kind, help) STATS_##name,
enum stats_value { STATS_VALUES(STATS_VALUE_ENUM) STATS_VALUE_COUNT };
#undef STATS_VALUE_ENUM

/* What a request does, or waits for. */
enum stats_doing {
    STATS_NOTHING, /* the entry is free */
    STATS_COMING,  /* it is being filled in */
    STATS_QUEUE,
    STATS_CPU,
    STATS_UPSTREAM,
    STATS_DATABASE,
    STATS_SLEEP,
    STATS_CLIENT, /* to take its answer */
};

/* One request. A reader may meet a `what` that is being written: it is for people. */
struct stats_entry {
    atomic_int doing;      /* enum stats_doing */
    _Atomic(nsec_t) since; /* of `doing` */
    nsec_t ready_at;
    char what[RUNNING_WHAT_BYTES]; /* "GET /?delay=1", cut */
};

enum stats_life { STATS_ABSENT, STATS_STARTING, STATS_READY, STATS_STOPPING };

struct stats {
    atomic_int life; /* enum stats_life */
    _Atomic(pid_t) pid;
    atomic_ullong values[STATS_VALUE_COUNT];
    atomic_ullong by_status[STATS_STATUS_MAX];
    struct hist_shared latency;    /* from the whole request to its answer written */
    struct hist_shared queue_wait; /* from the whole request to a slot */
    struct hist_shared db_wait;    /* for a database connection */
    struct hist_shared db_run;     /* of a statement, without connecting */
    struct hist_shared loop_lag;   /* how long the turns of its loop took */
    _Atomic(nsec_t) loop_lag_max;
    struct running running;
    atomic_uint hint; /* where to look for a free entry */
    bool lists_requests;
    struct stats_entry entries[STATS_ENTRIES];
};

/* A file in memory for the stats of all workers, by index: its descriptor, which children share, or
 * -errno with a reason. It grows with the highest worker that is mapped. */
NODISCARD int stats_open(struct error *err);

/* How many there are so far. */
unsigned stats_count(int fd);

/* The first `count` of them, zeroed when they are new. NULL with a reason. stats_unmap. */
NODISCARD struct stats *stats_map(int fd, unsigned count, struct error *err);
void stats_unmap(struct stats *stats, unsigned count); /* NULL-safe */

/* A worker starts: what described the state of its predecessor is gone. `lists_requests`: entries
 * are kept, too. */
void stats_start(struct stats *s, bool lists_requests);

static inline void stats_add(struct stats *s, enum stats_value value, int amount) {
    atomic_fetch_add_explicit(&s->values[value], (unsigned long long)amount, memory_order_relaxed);
}

static inline unsigned long long stats_get(const struct stats *s, enum stats_value value) {
    return atomic_load_explicit(&s->values[value], memory_order_relaxed);
}

static inline void stats_answered(struct stats *s, uint16_t status) {
    if (status < STATS_STATUS_MAX)
        atomic_fetch_add_explicit(&s->by_status[status], 1, memory_order_relaxed);
}

/* Takes an entry for a request; NULL when none is free, or they are not kept. */
struct stats_entry *stats_enter(struct stats *s, struct slice method, struct slice target,
                                nsec_t now);

/* NULL-safe. */
static inline void stats_does(struct stats_entry *e, enum stats_doing doing, nsec_t now) {
    if (e == NULL)
        return;
    atomic_store_explicit(&e->since, now, memory_order_relaxed);
    atomic_store_explicit(&e->doing, doing, memory_order_release);
}

static inline void stats_leave(struct stats_entry *e) {
    if (e != NULL) /* and `since` stays, for who has just seen that it does something */
        atomic_store_explicit(&e->doing, STATS_NOTHING, memory_order_release);
}

#endif
