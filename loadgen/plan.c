/* SPDX-License-Identifier: MIT */
/* The budget and the schedule of one worker. */
#include "loadgen/plan.h"
#include <math.h>

static double next_gap(struct load_plan *p) {
    return p->is_random ? -log(rng_unit(&p->rng)) * p->interval_ns : p->interval_ns;
}

/* Even arrivals of several workers interleave; independent Poisson processes add up to one. */
void plan_init(struct load_plan *p, const struct loadgen_config *c, struct share share,
               nsec_t start) {
    uint64_t budget = loadgen_config_budget(c);
    *p = (struct load_plan){
        .left = budget == UINT64_MAX ? budget : share_of(share, budget),
        .start = start,
        .measure_from = start + c->warmup,
    };
    p->stop_at = deadline_after(p->measure_from, c->time_limit > 0 ? c->time_limit : NSEC_NEVER);
    if (c->rate <= 0)
        return;
    p->interval_ns = (double)NSEC_PER_SEC * share.count / c->rate;
    if (c->arrivals == LOADGEN_ARRIVALS_EVEN) {
        p->next_ns = p->interval_ns * share.index / share.count;
        return;
    }
    p->is_random = true;
    p->rng = rng_stream((uint64_t)c->seed, share.index);
    p->next_ns = next_gap(p);
}

nsec_t plan_next_at(const struct load_plan *p) {
    nsec_t at = p->start + (nsec_t)p->next_ns;
    return p->left == 0 || at >= p->stop_at ? NSEC_NEVER : at;
}

bool plan_take(struct load_plan *p, nsec_t now, nsec_t *ret_planned) {
    *ret_planned = now;
    if (p->left == 0)
        return false;
    if (plan_is_open(p)) {
        nsec_t at = plan_next_at(p);
        if (at > now)
            return false;
        *ret_planned = at;
        p->next_ns += next_gap(p);
    }
    if (p->left != UINT64_MAX && *ret_planned >= p->measure_from)
        p->left--;
    return true;
}
