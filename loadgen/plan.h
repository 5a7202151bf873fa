/* SPDX-License-Identifier: MIT */
/* The schedule of a worker: what it may still send, when, and until when.
 *
 * Closed loop: a connection that has its answer takes the next request from a budget.
 * Open model: requests have planned times, whether or not connections are free. The schedule is its
 * own queue: whoever becomes free takes the earliest planned time that was not taken yet, so that a
 * backlog of any length needs no memory. */
#ifndef LOADGEN_PLAN_H
#define LOADGEN_PLAN_H

#include "base/clock.h"
#include "base/rng.h"
#include "loadgen/config.h"

struct load_plan {
    uint64_t left;       /* requests not yet taken; UINT64_MAX never runs out */
    nsec_t stop_at;      /* NSEC_NEVER without a time limit */
    nsec_t measure_from; /* requests that begin earlier are warm-up and not in the budget */

    /* Open model. */
    double interval_ns; /* between two planned times; 0: closed loop */
    double next_ns;     /* after `start` */
    nsec_t start;
    bool is_random; /* Poisson arrivals, drawn from `rng` */
    struct rng rng;
};

void plan_init(struct load_plan *p, const struct loadgen_config *c, struct share share,
               nsec_t start);

static inline bool plan_is_open(const struct load_plan *p) {
    return p->interval_ns > 0;
}

/* Open model: when the next request is planned; NSEC_NEVER when there is none. */
nsec_t plan_next_at(const struct load_plan *p);

/* Takes the next request; false when there is none, or none is due yet. *ret_planned is when it
 * should begin: `now` in a closed loop. */
bool plan_take(struct load_plan *p, nsec_t now, nsec_t *ret_planned);

/* No further requests. */
static inline void plan_end(struct load_plan *p) {
    p->left = 0;
}

#endif
