/* SPDX-License-Identifier: MIT */
/* The timers of a worker. */
#include "loadgen/worker_timers.h"

#define PROBE_PERIOD (20 * NSEC_PER_MSEC)
#define ROW_DELAY    (10 * NSEC_PER_MSEC) /* for the other workers to publish their second */

/* A timer that cannot be armed is out of memory: the run ends with what it has. */
static void arm(struct load_worker *w, struct timer *timer, nsec_t at) {
    if (timer_set(w->loop, timer, at) != 0)
        worker_stop(w, RUN_END_ERROR);
}

static void on_stop_time(struct timer *timer) {
    struct load_worker *w = CONTAINER_OF(timer, struct load_worker, stop_timer);
    if (w->config->drain == 0 || w->busy == 0) {
        worker_stop(w, RUN_END_TIME);
        return;
    }
    w->end = RUN_END_TIME;
    worker_drop_due(w, loop_now(w->loop));
    plan_end(&w->plan);
    arm(w, &w->drain_timer, loop_now(w->loop) + w->config->drain);
}

static void on_drain_time(struct timer *timer) {
    worker_stop(CONTAINER_OF(timer, struct load_worker, drain_timer), RUN_END_TIME);
}

static void on_arrival(struct timer *timer) {
    struct load_worker *w = CONTAINER_OF(timer, struct load_worker, arrival_timer);
    while (w->idle != NULL && !w->stopping && plan_next_at(&w->plan) <= clock_now()) {
        struct load_client *c = w->idle;
        w->idle = c->next_idle;
        w->busy++;
        if (w->busy > w->tally.busy_max)
            w->tally.busy_max = w->busy;
        w->found_idle = true;
        client_start(c, clock_now());
        w->found_idle = false;
    }
    if (!w->stopping && worker_timers_arm_arrival(w) != 0)
        worker_stop(w, RUN_END_ERROR);
}

int worker_timers_arm_arrival(struct load_worker *w) {
    if (w->idle == NULL)
        return 0; /* whoever becomes free looks at the plan first */
    return timer_set(w->loop, &w->arrival_timer, plan_next_at(&w->plan));
}

/* Connections of several workers interleave. */
static nsec_t ramp_at(const struct load_worker *w) {
    return w->start + (nsec_t)(w->started * w->share.count + w->share.index) * w->config->ramp;
}

static void on_ramp(struct timer *timer) {
    struct load_worker *w = CONTAINER_OF(timer, struct load_worker, ramp_timer);
    while (w->started < w->client_count && !w->stopping && ramp_at(w) <= clock_now())
        client_start(&w->clients[w->started++], clock_now());
    if (w->started < w->client_count && !w->stopping)
        arm(w, &w->ramp_timer, ramp_at(w));
}

int worker_timers_arm_ramp(struct load_worker *w) {
    return timer_set(w->loop, &w->ramp_timer, ramp_at(w));
}

static void on_trial(struct timer *timer) {
    struct load_worker *w = CONTAINER_OF(timer, struct load_worker, trial_timer);
    w->trial_is_over = true;
    for (uint32_t i = 0; i < w->client_count && !w->server_closes && !w->stopping; i++)
        client_trial_ends(&w->clients[i], clock_now());
}

int worker_timers_arm_trial(struct load_worker *w, nsec_t now, nsec_t span) {
    if (w->trial_began)
        return 0;
    w->trial_began = true;
    nsec_t part = span / 8 > NSEC_PER_MSEC ? span / 8 : NSEC_PER_MSEC;
    return timer_set(w->loop, &w->trial_timer, now + part);
}

static void on_tick(struct timer *timer) {
    struct load_worker *w = CONTAINER_OF(timer, struct load_worker, tick_timer);
    w->ticked_at = clock_now();
    if (!w->attends)
        worker_look_at_state(w, w->ticked_at);
    live_publish(w->live, w->share.index, &w->part, &w->state);
    if (w->share.index == 0)
        arm(w, &w->row_timer, w->next_tick + ROW_DELAY);
    w->next_tick += LIVE_PERIOD;
    arm(w, &w->tick_timer, w->next_tick);
}

/* A row that the end of the run overtook is left to live_finish, which knows when that was. */
static void on_row(struct timer *timer) {
    struct load_worker *w = CONTAINER_OF(timer, struct load_worker, row_timer);
    if (!w->attends || atomic_load(&w->live->others) > 0)
        live_close_row(w->live, w->ticked_at);
}

/* A loop that is kept busy, or a process that is not given the processor, fires late. All moments
 * of that time were late ones, not only the last. */
void worker_timers_probe(struct load_worker *w, nsec_t now) {
    nsec_t late = now - w->probe_at;
    if (late < 0)
        return;
    if (w->pausing)
        worker_pauses(w, now);
    else
        worker_look_for_pause(w, now);
    w->pausing = false;
    for (; late >= 0; late -= PROBE_PERIOD)
        hist_record(w->lag, late / NSEC_PER_USEC);
    w->probe_at = now + PROBE_PERIOD;
    w->pause_due = w->probe_at + WORKER_PAUSE_MIN;
    w->probe_cpu = worker_cpu();
}

static void on_probe(struct timer *timer) {
    struct load_worker *w = CONTAINER_OF(timer, struct load_worker, probe_timer);
    worker_timers_probe(w, clock_now());
    if (w->attends && atomic_load(&w->live->others) == 0)
        loop_stop(w->loop);
    else if (!w->attends && live_end(w->live) != RUN_END_DONE)
        worker_stop(w, live_end(w->live));
    else
        arm(w, &w->probe_timer, w->probe_at);
}

void worker_timers_init(struct load_worker *w) {
    w->stop_timer.fire = on_stop_time;
    w->drain_timer.fire = on_drain_time;
    w->arrival_timer.fire = on_arrival;
    w->ramp_timer.fire = on_ramp;
    w->tick_timer.fire = on_tick;
    w->row_timer.fire = on_row;
    w->probe_timer.fire = on_probe;
    w->trial_timer.fire = on_trial;
}

int worker_timers_start(struct load_worker *w) {
    w->next_tick = w->plan.measure_from + LIVE_PERIOD;
    w->probe_at = w->start + PROBE_PERIOD;
    w->pause_due = w->probe_at + WORKER_PAUSE_MIN;
    w->probe_cpu = worker_cpu();
    int rc = timer_set(w->loop, &w->stop_timer, w->plan.stop_at);
    if (rc == 0)
        rc = timer_set(w->loop, &w->tick_timer, w->next_tick);
    if (rc == 0)
        rc = timer_set(w->loop, &w->probe_timer, w->probe_at);
    return rc;
}

void worker_timers_attend(struct load_worker *w) {
    struct timer *own[] = { &w->stop_timer, &w->drain_timer, &w->arrival_timer, &w->ramp_timer,
                            &w->trial_timer };
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        timer_cancel(w->loop, own[i]);
    arm(w, &w->probe_timer, w->probe_at);
}

void worker_timers_close(struct load_worker *w) {
    struct timer *timers[] = {
        &w->stop_timer, &w->drain_timer, &w->arrival_timer, &w->ramp_timer,
        &w->tick_timer, &w->row_timer,   &w->probe_timer,   &w->trial_timer
    };
    for (size_t i = 0; i < ARRAY_LEN(timers); i++)
        timer_cancel(w->loop, timers[i]);
}
