/* SPDX-License-Identifier: MIT */
/* Counters of the workers, and what each request is doing, in memory that they share with the
 * control endpoint. One struct stats per worker: its threads write with relaxed atomics, another
 * process reads. Sums may be a few requests apart, and are exact when nothing runs. */
#ifndef SERVER_STATS_H
#define SERVER_STATS_H

#include "base/error.h"
#include "base/hist.h"
#include "base/slice.h"
#include <stdatomic.h>
#include <sys/types.h>

enum {
    STATS_ENTRIES = 4096,   /* requests of one worker that /requests lists at the most */
    STATS_STATUS_MAX = 600, /* the first status that is not counted */
    STATS_WHAT_BYTES = 96,  /* "GET /?delay=1", cut, with its NUL */
};

/* X(name, kind, help) of /metrics and /stats: `kind` is counter (only grows) or gauge. */
#define STATS_VALUES(X)                                                                       \
    X(connections, gauge, "Client connections that are open.")                                \
    X(connections_opened, counter, "Client connections accepted.")                            \
    X(slots, gauge, "Requests that can be served at once; 0 is no limit.")                    \
    X(slots_busy, gauge, "Requests that are being served.")                                   \
    X(queue_depth, gauge, "Complete requests that wait for a slot.")                          \
    X(shed, counter, "Requests turned down because the queue was full.")                      \
    X(expired, counter, "Requests that ran out of time, in the queue or while being served.") \
    X(abandoned, counter, "Requests that nobody took the answer of: the client had gone.")    \
    X(unanswered, counter, "Requests that got no answer because memory was short.")           \
    X(upstream_calls, counter, "Calls of the upstream that ended.")                           \
    X(upstream_waiting, gauge, "Calls of the upstream in progress.")                          \
    X(upstream_queued, gauge, "Requests that wait until they may call the upstream.")         \
    X(upstream_failed, counter, "Calls that the upstream refused, broke or answered badly.")  \
    X(upstream_late, counter, "Calls that the upstream did not answer in time.")              \
    X(db_pool, gauge, "Database connections that there may be.")                              \
    X(db_in_use, gauge, "Statements in progress, each with a connection of its own.")         \
    X(db_idle, gauge, "Open database connections that nobody uses.")                          \
    X(db_waiting, gauge, "Statements that wait for a database connection.")                   \
    X(db_statements, counter, "Statements that the database answered.")                       \
    X(db_failed, counter, "Statements that failed, whatever the reason.")                     \
    X(db_connects, counter, "Database connections opened.")                                   \
    X(db_dead, counter, "Database connections that ended while they were idle.")              \
    X(db_retried, counter, "Statements run again on a new connection.")                       \
    X(db_cancelled, counter, "Statements cancelled because their request ended early.")       \
    X(patched_waits, counter, "Waits in calls of libc that parked a request.")                \
    X(patch_refused, counter, "Such waits that were cut short: the request was over.")        \
    X(tls_handshakes, counter, "TLS handshakes that were completed.")                         \
    X(tls_resumed, counter, "Of these, those that resumed a session.")                        \
    X(tls_failed, counter, "TLS handshakes that failed, or that the client broke off.")       \
    X(tls_certificate_expiry_seconds, gauge, "When the first certificate ends, since 1970.")  \
    X(log_dropped, counter, "Access log lines dropped because the log process was too slow.") \
    X(starts, counter, "Times that this worker was started.")

#define STATS_VALUE_ENUM(name, kind, help) STATS_##name,
enum stats_value { STATS_VALUES(STATS_VALUE_ENUM) STATS_VALUE_COUNT };
#undef STATS_VALUE_ENUM

/* States of a request: what it does, or waits for. */
enum stats_doing {
    STATS_NOTHING, /* the entry is free */
    STATS_COMING,  /* the entry is being filled in */
    STATS_QUEUE,
    STATS_CPU,
    STATS_UPSTREAM,
    STATS_DATABASE,
    STATS_SLEEP,
    STATS_PATCHED, /* in a call of libc */
    STATS_CLIENT,  /* to take its answer */
};

/* One request. A reader may meet a `what` that is being written: it is for people. */
struct stats_entry {
    atomic_int doing;      /* enum stats_doing */
    _Atomic(nsec_t) since; /* start of `doing` */
    nsec_t ready_at;
    char what[STATS_WHAT_BYTES], call[STATS_WHAT_BYTES]; /* "recv 127.0.0.1:80" */
};

enum { APP_COUNTERS_MAX = 64, APP_COUNTER_NAME_BYTES = 64 /* with its NUL */ };
enum app_counter_state { APP_COUNTER_FREE, APP_COUNTER_COMING, APP_COUNTER_NAMED };
/* A counter that an application names. Taken at the first count, for good; zeroed before. */
struct app_counter {
    atomic_int state; /* enum app_counter_state */
    char name[APP_COUNTER_NAME_BYTES];
    atomic_ullong value;
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
    struct hist_shared db_run;     /* a statement, without connecting */
    struct hist_shared loop_lag;   /* turns of the loop */
    _Atomic(nsec_t) loop_lag_max;
    struct stats_entry current; /* of the only thread, without `doing`; `since` 0: none */
    struct app_counter app[APP_COUNTERS_MAX]; /* in the order of their first counts */
    atomic_uint hint; /* the entry after the one that was taken last: free as a rule */
    bool lists_requests;
    struct stats_entry entries[STATS_ENTRIES];
};

/* Makes a file in memory for the stats of all workers, by index: its descriptor, which children
 * share, or -errno with a reason. It grows with the highest worker that is mapped. */
NODISCARD int stats_open(struct error *err);

unsigned stats_count(int fd); /* workers that the file has room for so far */

/* Maps the first `count` of them, zeroed when they are new. NULL with a reason. stats_unmap. */
NODISCARD struct stats *stats_map(int fd, unsigned count, struct error *err);
void stats_unmap(struct stats *stats, unsigned count); /* NULL-safe */

/* Starts a worker: forgets the state of its predecessor. `lists_requests`: entries are kept. */
void stats_start(struct stats *s, bool lists_requests);
static inline void stats_add(struct stats *s, enum stats_value value, int amount) {
    atomic_fetch_add_explicit(&s->values[value], (unsigned long long)amount, memory_order_relaxed);
}
void stats_set(struct stats *s, enum stats_value value, int64_t to); /* a gauge */
unsigned long long stats_get(const struct stats *s, enum stats_value value);
static inline void stats_answered(struct stats *s, uint16_t status) {
    if (status < STATS_STATUS_MAX)
        atomic_fetch_add_explicit(&s->by_status[status], 1, memory_order_relaxed);
}

/* Adds to the application's counter with that name; from any thread. 0; -EINVAL: the name is not 1
 * to 63 letters, digits and underscores, or begins with a digit; -ENOSPC: there are
 * APP_COUNTERS_MAX others. */
NODISCARD int stats_app_add(struct stats *s, const char *name, unsigned long long amount);

/* Takes an entry for a request; NULL when none is free, or they are not kept. */
struct stats_entry *stats_enter(struct stats *s, struct slice method, struct slice target,
                                nsec_t now);

/* Notes what the request does from now on. NULL-safe. */
static inline void stats_does(struct stats_entry *e, enum stats_doing doing, nsec_t now) {
    if (e == NULL)
        return;
    atomic_store_explicit(&e->since, now, memory_order_relaxed);
    atomic_store_explicit(&e->doing, doing, memory_order_release);
}

/* Gives the entry back, but leaves `since` to a reader that has just seen `doing`. NULL-safe. */
static inline void stats_leave(struct stats_entry *e) {
    if (e != NULL)
        atomic_store_explicit(&e->doing, STATS_NOTHING, memory_order_release);
}

/* Notes which request has the thread. */
void stats_current_set(struct stats *s, struct slice method, struct slice target, nsec_t now);
void stats_current_clear(struct stats *s); /* none has it */

/* Prints `request="GET /" for_seconds=1.5` or `request=none`; from another process. */
void stats_current_print(const struct stats *s, char *text, size_t size);

#endif
