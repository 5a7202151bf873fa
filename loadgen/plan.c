/* SPDX-License-Identifier: MIT */
/* The budget and the schedule of one worker. */
#include "loadgen/plan.h"
#include <math.h>

uint64_t share_of(struct share share, uint64_t whole) {
    return whole / share.count + (share.index < whole % share.count ? 1 : 0);
}

/* xorshift64*, uniform in (0, 1]: repeatable for one seed, which rand(3) is not across systems. */
static double random_share(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    uint64_t bits = *state * UINT64_C(2685821657736338717);
    return ((double)(bits >> 11) + 1) / 9007199254740992.0;
}

static double next_gap(struct load_plan *p) {
    if (p->random_state == 0)
        return p->interval_ns;
    return -log(random_share(&p->random_state)) * p->interval_ns;
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
    uint64_t seed = (uint64_t)c->seed * UINT64_C(0x9e3779b97f4a7c15) + share.index + 1;
    p->random_state = seed != 0 ? seed : 1;
    for (int i = 0; i < 8; i++) /* small seeds have few bits: the first numbers would be alike */
        (void)random_share(&p->random_state);
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
