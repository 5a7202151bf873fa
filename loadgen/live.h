/* SPDX-License-Identifier: MIT */
/* The state that all workers of a run share while it goes on: the wish to stop, the count shown as
 * progress, and one row per second.
 *
 *   worker 0   ...records...  publish(k)  close the row        publish(k+1)
 *   worker 1   ...records...  publish(k)       |   ...         publish(k+1)
 *                             at second k      a moment later
 *
 * Workers count for themselves and hand over once a second, so that nothing is shared per request
 * unless progress is shown. */
#ifndef LOADGEN_LIVE_H
#define LOADGEN_LIVE_H

#include "loadgen/answers.h"
#include "loadgen/band.h"
#include "loadgen/config.h"
#include "loadgen/counters.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define LIVE_PERIOD   NSEC_PER_SEC
#define LIVE_TICK     (NSEC_PER_SEC / 10) /* of --ticks */
#define LIVE_ROWS_MAX 86400               /* a day; later seconds have no row */
#define LIVE_UNKNOWN  (-1)

/* The reason why a run ended. */
enum run_end {
    RUN_END_DONE,   /* all requests have ended */
    RUN_END_TIME,   /* the time limit */
    RUN_END_ERROR,  /* a socket error without -r */
    RUN_END_SIGNAL, /* the user */
    RUN_END_ABORT,  /* a condition of --abort-if */
    RUN_END_CHANGE, /* of a file that requests are made from */
};

/* A second of the run, or what there was of the last one. */
struct live_row {
    double second; /* the end of the row, since the start of what is measured */
    double length; /* seconds */
    double rate;   /* answers and failures per second */
    uint64_t requests, failed, in_flight;
    uint64_t answers; /* number of those that the three below are of; 0: they say nothing */
    int64_t p50_us, p99_us, max_us; /* LIVE_UNKNOWN: of a sum of several runs */
    struct band *bands;             /* only for --json and --report */
    size_t band_count;
};

/* The counters of a worker at its last tick, for those who ask while the run goes on. */
struct live_totals {
    uint64_t statuses[ANSWERS_STATUSES], failed[FAILURE_COUNT];
    uint64_t connections, bytes_received, bytes_sent, planned, late, dropped;
};

struct live;

/* Somebody who is told of each row while it closes: under the lock, while the row's histogram is
 * there (live->row). */
struct live_watcher {
    void (*on_row)(struct live_watcher *watcher, const struct live *l, const struct live_row *row);
    struct live_watcher *next;
};

/* The state of a worker at this moment. Ages are of requests in flight and of planned ones that
 * nobody has begun; the latter are `waiting`, `waiting_late` for over COUNTERS_LATE_USEC. */
struct live_state {
    uint64_t in_flight, waiting, waiting_late;
    struct hist *ages;
};

struct live {
    const struct loadgen_config *config;
    FILE *out; /* stderr, or NULL: nothing is shown */
    bool on_terminal, shows_rows;
    bool has_screen;     /* the whole of it: neither rows nor progress are shown */
    nsec_t measure_from; /* set when the run starts */
    atomic_int end;      /* enum run_end; RUN_END_DONE: nobody asked to stop */
    atomic_uint others;  /* workers beside the first that have not ended */

    atomic_uint_fast64_t ended, progress_at; /* only when progress is shown */
    uint64_t progress_step;                  /* 0: not shown */

    pthread_mutex_t lock; /* guards all below */
    struct counters_part row, so_far;
    struct live_state *states; /* the last one of each worker */
    struct hist *ages;         /* all of them together, while conditions are looked at */
    nsec_t row_ended;          /* the last one; 0: none yet */
    struct live_row *rows;
    size_t row_count, row_cap;
    const char *aborted_by; /* the condition */
    struct live_watcher *watchers;
    struct live_totals *totals; /* of each worker; NULL: nobody asks */
};

/* The length of a row. */
static inline nsec_t live_period(const struct loadgen_config *c) {
    return c->look.ticks_path != NULL ? LIVE_TICK : LIVE_PERIOD;
}

/* 0 or -ENOMEM. */
NODISCARD int live_init(struct live *l, const struct loadgen_config *c);
void live_free(struct live *l);

/* Adds a watcher, which stays as long as rows close; before the run. */
void live_watch(struct live *l, struct live_watcher *watcher);

/* Asks all workers to stop; the first reason counts. Any thread. */
void live_stop(struct live *l, enum run_end why);

/* The reason of live_stop; RUN_END_DONE when nobody asked. */
enum run_end live_end(const struct live *l);

/* A request has ended: counts it for the progress, when that is shown. */
void live_request_ended(struct live *l);

/* Takes over and empties the part that a worker counted, and copies how it stands. */
void live_publish(struct live *l, uint32_t worker, struct counters *t, const struct answers *a,
                  const struct live_state *state);

/* From now on totals are kept; before the run. 0 or -ENOMEM. */
NODISCARD int live_want_totals(struct live *l);

/* All workers together, at their last ticks; under the lock. */
void live_sum_totals(const struct live *l, struct live_totals *ret);
uint64_t live_in_flight(const struct live *l);

/* Ends the current row at `now`: shows it, and compares the whole run with --abort-if. One thread.
 */
void live_close_row(struct live *l, nsec_t now);

/* After the run, which ended at `now`: the last row, and the last word on stderr. */
void live_finish(struct live *l, nsec_t now);

#endif
