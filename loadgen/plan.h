/* SPDX-License-Identifier: MIT */
/* The schedule of a worker: what it may still send, when, and until when.
 *
 * Closed loop: a connection that has its answer takes the next request from a budget.
 * Open model: requests have planned times, whether or not connections are free. The schedule is its
 * own queue: whoever becomes free takes the earliest planned time that was not taken yet, so that a
 * backlog of any length needs no memory.
 *
 * The planned times are those at which the area below the rate, over time, reaches the numbers of
 * the requests: whole ones when they are even, with exponential distances when they are random.
 * Bursts are a second sequence of planned times beside them. */
#ifndef LOADGEN_PLAN_H
#define LOADGEN_PLAN_H

#include "base/clock.h"
#include "base/hist.h"
#include "base/rng.h"
#include "loadgen/config.h"

struct replay;

struct load_plan {
    uint64_t left;       /* requests not yet taken; UINT64_MAX never runs out */
    nsec_t start;        /* the schedule's */
    nsec_t stop_at;      /* NSEC_NEVER without a time limit */
    nsec_t measure_from; /* requests that begin earlier are warm-up and not in the budget */

    /* Open model. */
    bool is_open;
    bool is_random;     /* Poisson arrivals, drawn from `rng` */
    nsec_t next_at;     /* the earliest planned time that was not taken */
    double next;        /* the number of that request, of this worker's */
    double interval_ns; /* an even rate's: between two planned times of this worker */
    struct rng rng;

    const struct load_shape *shape; /* the stages'; NULL: none */
    struct shape_cursor cursor;
    uint32_t shares; /* the worker plans one in so many of all requests */

    struct load_burst burst;
    nsec_t burst_at;     /* the earliest planned time of a burst's request; NSEC_NEVER: no bursts */
    uint64_t burst_next; /* the number of that request, of all workers' */

    const struct replay *replay; /* the log that gives the times; NULL: none */
    uint64_t line;               /* the log's that was taken last */
};

void plan_init(struct load_plan *p, const struct loadgen_config *c, struct share share,
               nsec_t start);

/* Takes the times of a log, which stays, instead of a rate's. After plan_init. */
void plan_follow(struct load_plan *p, const struct replay *replay);

static inline bool plan_is_open(const struct load_plan *p) {
    return p->is_open;
}

/* Open model: when the next request is planned; NSEC_NEVER when there is none. */
nsec_t plan_next_at(const struct load_plan *p);

/* Takes the next request; false when there is none, or none is due yet. *ret_planned is when it
 * should begin: `now` in a closed loop. */
bool plan_take(struct load_plan *p, nsec_t now, nsec_t *ret_planned);

/* Whether nothing is left that could begin: a closed loop whose connections come and go waits for
 * them, and a time limit ends the run by itself. */
bool plan_is_done(const struct load_plan *p);

/* No further requests. */
static inline void plan_end(struct load_plan *p) {
    p->left = 0;
}

/* Planned requests that are due and that nobody has begun. */
struct plan_backlog {
    uint64_t count, late; /* late: for longer than was asked */
};

/* Looks at the backlog of `now`, and adds its ages in microseconds, in a bounded number of
 * groups. */
struct plan_backlog plan_look(const struct load_plan *p, nsec_t now, nsec_t late_after,
                              struct hist *ages);

#endif
