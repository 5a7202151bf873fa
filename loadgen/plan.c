/* SPDX-License-Identifier: MIT */
/* The budget and the schedule of one worker. */
#include "loadgen/plan.h"
#include "loadgen/replay.h"
#include <math.h>

/* The line of a log that has a number of this worker's. */
static uint64_t line_of(const struct load_plan *p, double number) {
    return (uint64_t)(number * p->shares + 0.5);
}

/* The planned time of a number. The cursor goes forward with it. */
static nsec_t time_of(const struct load_plan *p, struct shape_cursor *cursor, double number) {
    if (p->replay != NULL) {
        uint64_t line = line_of(p, number);
        return line < p->replay->count ? p->start + p->replay->lines[line].at : NSEC_NEVER;
    }
    if (p->shape == NULL) {
        double even = p->interval_ns > 0 ? number * p->interval_ns + 0.5 : INFINITY;
        return even < (double)NSEC_NEVER ? deadline_after(p->start, (nsec_t)even) : NSEC_NEVER;
    }
    nsec_t after = shape_when(p->shape, cursor, number * p->shares);
    return after == NSEC_NEVER ? NSEC_NEVER : p->start + after;
}

static nsec_t burst_time(const struct load_plan *p, uint64_t number) {
    return p->start + (nsec_t)(number / p->burst.count) * p->burst.every;
}

static double next_distance(struct load_plan *p) {
    return p->is_random ? -log(rng_unit(&p->rng)) : 1;
}

/* Even arrivals of several workers, on all machines, interleave; independent Poisson processes add
 * up to one. A shape is that of the whole load. */
static void plan_arrivals(struct load_plan *p, const struct loadgen_config *c, struct share share) {
    struct share turn = load_shard_turn(&c->shard, share);
    p->is_open = true;
    p->shares = turn.count;
    p->interval_ns = c->rate > 0 ? (double)NSEC_PER_SEC * share.count / c->rate : 0;
    p->is_random = c->arrivals == LOADGEN_ARRIVALS_POISSON;
    p->next = (turn.index + (p->shape != NULL ? 0.5 : 0)) / turn.count;
    if (p->is_random) {
        p->rng = rng_stream((uint64_t)c->seed, turn.index);
        p->next = next_distance(p);
    }
    p->next_at = time_of(p, &p->cursor, p->next);
    p->burst = c->burst;
    p->burst_next = turn.index;
    p->burst_at = p->burst.count > 0 ? burst_time(p, p->burst_next) : NSEC_NEVER;
}

void plan_init(struct load_plan *p, const struct loadgen_config *c, struct share share,
               nsec_t start) {
    uint64_t budget = loadgen_config_budget(c);
    *p = (struct load_plan){
        .left = budget == UINT64_MAX ? budget : share_of(share, budget),
        .start = start,
        .measure_from = start + c->warmup,
        .shape = c->stages.count > 0 ? &c->stages : NULL,
    };
    p->stop_at = deadline_after(p->measure_from, c->time_limit > 0 ? c->time_limit : NSEC_NEVER);
    if (loadgen_config_is_open(c))
        plan_arrivals(p, c, share);
}

void plan_follow(struct load_plan *p, const struct replay *replay) {
    p->replay = replay;
    p->next_at = time_of(p, &p->cursor, p->next);
}

nsec_t plan_next_at(const struct load_plan *p) {
    nsec_t at = nsec_min(p->next_at, p->burst_at);
    return p->left == 0 || at >= p->stop_at ? NSEC_NEVER : at;
}

bool plan_is_done(const struct load_plan *p) {
    if (p->left == 0 || (!p->is_open && p->shape == NULL))
        return true;
    return p->is_open && plan_next_at(p) == NSEC_NEVER && p->stop_at == NSEC_NEVER;
}

static void plan_advance(struct load_plan *p) {
    if (p->burst_at < p->next_at) {
        p->burst_next += p->shares;
        p->burst_at = burst_time(p, p->burst_next);
        return;
    }
    p->next += next_distance(p);
    p->next_at = time_of(p, &p->cursor, p->next);
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
        if (UNLIKELY(p->replay != NULL))
            p->line = line_of(p, p->next);
        plan_advance(p);
    }
    if (p->left != UINT64_MAX && *ret_planned >= p->measure_from)
        p->left--;
    return true;
}

/* --- the backlog ------------------------------------------------------------------------------ */

/* The number that the schedule has reached, of this worker's requests. */
static double number_at(const struct load_plan *p, nsec_t after) {
    if (p->replay != NULL)
        return (double)replay_count(p->replay, after) / p->shares;
    if (p->shape == NULL)
        return (double)after / p->interval_ns;
    return shape_area(p->shape, after) / p->shares;
}

/* Planned requests of the two sequences that are due. Random ones count as even ones from the next
 * one on, the only one that is drawn already. */
static uint64_t due_arrivals(const struct load_plan *p, nsec_t now) {
    if (p->next_at > now)
        return 0;
    return (uint64_t)fmax(number_at(p, now - p->start) - p->next, 0) + 1;
}

static uint64_t due_bursts(const struct load_plan *p, nsec_t now) {
    if (p->burst_at > now)
        return 0;
    uint64_t all = ((uint64_t)((now - p->start) / p->burst.every) + 1) * p->burst.count;
    return (all - p->burst_next - 1) / p->shares + 1;
}

struct plan_backlog plan_look(const struct load_plan *p, nsec_t now, nsec_t late_after,
                              struct hist *ages) {
    enum { STEPS = 1000 };
    struct plan_backlog backlog = { .count = 0 };
    struct shape_cursor cursor = p->cursor;
    if (!plan_is_open(p) || plan_next_at(p) > now)
        return backlog;
    uint64_t arrivals = due_arrivals(p, nsec_min(now, p->stop_at));
    uint64_t all = arrivals + due_bursts(p, nsec_min(now, p->stop_at));
    backlog.count = all < p->left ? all : p->left;
    uint64_t step = backlog.count / STEPS + 1;
    for (uint64_t i = 0; i < backlog.count; i += step) {
        nsec_t at = i < arrivals ? time_of(p, &cursor, p->next + (double)i)
                                 : burst_time(p, p->burst_next + (i - arrivals) * p->shares);
        nsec_t age = now - nsec_min(at, now);
        uint64_t count = backlog.count - i < step ? backlog.count - i : step;
        hist_record_n(ages, age / NSEC_PER_USEC, count);
        if (age > late_after)
            backlog.late += count;
    }
    return backlog;
}
