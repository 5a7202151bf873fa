/* SPDX-License-Identifier: MIT */
/* What a worker may still send, and until when.
 *
 * Now: a closed loop, where a connection that has its answer takes the next request from a budget.
 */
#ifndef LOADGEN_PLAN_H
#define LOADGEN_PLAN_H

#include "base/clock.h"
#include "loadgen/config.h"

struct plan {
    uint64_t left;  /* requests not yet taken; UINT64_MAX never runs out */
    nsec_t stop_at; /* NSEC_NEVER without a time limit */
};

static inline void plan_init(struct plan *p, const struct loadgen_config *c, nsec_t now) {
    p->left = loadgen_config_budget(c);
    p->stop_at = deadline_after(now, c->time_limit > 0 ? c->time_limit : NSEC_NEVER);
}

/* Takes one request out of the budget; false when there is none left. */
static inline bool plan_take(struct plan *p) {
    if (p->left == 0)
        return false;
    if (p->left != UINT64_MAX)
        p->left--;
    return true;
}

#endif
