/* SPDX-License-Identifier: MIT */
/* One loop: makes its connections and runs them until the end, with what happens at set times. */
#include "loadgen/worker.h"
#include "base/alloc.h"
#include "loadgen/mix.h"
#include <errno.h>
#include <inttypes.h>

#define WAIT_STEP (50 * NSEC_PER_MSEC)
#define ROW_DELAY (10 * NSEC_PER_MSEC) /* for the other workers to publish their second */

/* --- at set times ----------------------------------------------------------------------------- */

/* A timer that cannot be armed is out of memory: the run ends with what it has. */
static void arm(struct load_worker *w, struct timer *timer, nsec_t at) {
    if (timer_set(w->loop, timer, at) != 0)
        clients_stop(w, RUN_END_ERROR);
}

static void on_stop_time(struct timer *timer) {
    struct load_worker *w = CONTAINER_OF(timer, struct load_worker, stop_timer);
    if (w->config->drain == 0 || w->busy == w->thinking) {
        clients_stop(w, RUN_END_TIME);
        return;
    }
    w->end = RUN_END_TIME;
    clients_drop_due(w, loop_now(w->loop));
    plan_end(&w->plan);
    arm(w, &w->drain_timer, loop_now(w->loop) + w->config->drain);
}

static void on_drain_time(struct timer *timer) {
    clients_stop(CONTAINER_OF(timer, struct load_worker, drain_timer), RUN_END_TIME);
}

/* Copies what stands open at this moment, for --abort-if. */
static void look_at_state(struct load_worker *w, nsec_t now) {
    struct hist *ages = w->state.ages;
    hist_reset(ages);
    w->state = (struct live_state){ .in_flight = w->busy - w->thinking, .ages = ages };
    if (w->config->abort_if.count == 0)
        return;
    for (uint32_t i = 0; i < w->client_count; i++) {
        const struct load_client *c = &w->clients[i];
        if (c->holds_request && c->planned >= w->plan.measure_from)
            hist_record(ages, (now - c->planned) / NSEC_PER_USEC);
    }
    struct plan_backlog backlog =
        plan_look(&w->plan, now, COUNTERS_LATE_USEC * NSEC_PER_USEC, ages);
    w->state.waiting = backlog.count;
    w->state.waiting_late = backlog.late;
}

static void on_tick(struct timer *timer) {
    struct load_worker *w = CONTAINER_OF(timer, struct load_worker, tick_timer);
    w->ticked_at = clock_now();
    if (!w->attends)
        look_at_state(w, w->ticked_at);
    live_publish(w->live, w->share.index, &w->counters, &w->answers, &w->state);
    if (w->share.index == 0)
        arm(w, &w->row_timer, w->next_tick + ROW_DELAY);
    w->next_tick += live_period(w->config);
    arm(w, &w->tick_timer, w->next_tick);
}

/* A row that the end of the run overtook is left to live_finish, which knows when that was. */
static void on_row(struct timer *timer) {
    struct load_worker *w = CONTAINER_OF(timer, struct load_worker, row_timer);
    if (!w->attends || atomic_load(&w->live->others) > 0)
        live_close_row(w->live, w->ticked_at);
}

static void on_probe(struct timer *timer) {
    struct load_worker *w = CONTAINER_OF(timer, struct load_worker, probe_timer);
    selfcheck_probe(&w->lateness, clock_now());
    if (w->attends && atomic_load(&w->live->others) == 0)
        loop_stop(w->loop);
    else if (!w->attends && live_end(w->live) != RUN_END_DONE)
        clients_stop(w, live_end(w->live));
    else
        arm(w, &w->probe_timer, w->lateness.probe_at);
}

/* Waits for the start in steps, so that a run that is stopped before is over soon. */
static void on_begin(struct timer *timer) {
    struct load_worker *w = CONTAINER_OF(timer, struct load_worker, begin_timer);
    nsec_t now = clock_now();
    if (live_end(w->live) != RUN_END_DONE)
        clients_stop(w, live_end(w->live));
    else if (now < w->start)
        arm(w, timer, nsec_min(w->start, now + WAIT_STEP));
    else
        loop_stop(w->loop);
}

static int wait_for_start(struct load_worker *w) {
    if (w->start <= clock_now())
        return 0;
    arm(w, &w->begin_timer, clock_now());
    int rc = loop_run(w->loop);
    nsec_t now = clock_now();
    w->begin_late = nsec_max(now - w->start, 0);
    selfcheck_watch(&w->lateness, now);
    return rc;
}

static int start_timers(struct load_worker *w) {
    w->next_tick = w->plan.measure_from + live_period(w->config);
    selfcheck_watch(&w->lateness, w->start);
    int rc = timer_set(w->loop, &w->stop_timer, w->plan.stop_at);
    if (rc == 0)
        rc = timer_set(w->loop, &w->tick_timer, w->next_tick);
    if (rc == 0)
        rc = timer_set(w->loop, &w->probe_timer, w->lateness.probe_at);
    return rc;
}

/* --- the life of a worker --------------------------------------------------------------------- */

static int count_streams(struct load_worker *w) {
    const struct loadgen_config *c = w->config;
    const struct stream_wishes wishes = {
        .is_auto = c->stream == STREAM_AUTO,
        .format = c->stream == STREAM_JSON_LINES ? EVENT_FORMAT_JSON_LINES : EVENT_FORMAT_SSE,
        .decodes = c->compressed,
        .needs_end = c->stream_end != NULL && c->stream_end[0] != '\0',
        .end = slice_str(c->stream_end != NULL ? c->stream_end : LOADGEN_STREAM_END),
        .stall = c->stall,
    };
    w->counters.streams = streams_new(&wishes);
    return w->counters.streams != NULL ? 0 : -ENOMEM;
}

/* Whether requests are written in several parts, or it is not known: one segment alone needs no
 * TCP_NODELAY. */
static bool is_in_parts(const struct worker_setup *setup) {
    return setup->mix != NULL || setup->request->is_streamed || setup->config->expect_continue;
}

static void init_pool(struct load_pool *pool, const struct worker_setup *setup, uint32_t number) {
    const struct target *target =
        setup->mix != NULL ? mix_target(setup->mix, number) : setup->target;
    *pool = (struct load_pool){
        .dialer = { .config = setup->config,
                    .target = target,
                    .sources = setup->sources,
                    .request_bytes =
                        is_in_parts(setup) ? SIZE_MAX : request_bytes(setup->request).len,
                    .share = setup->share },
        .secure = setup->mix != NULL ? &setup->secures[number] : setup->secure,
        .session = TLS_SESSION_INIT,
    };
}

static int init_pools(struct load_worker *w, const struct worker_setup *setup) {
    uint32_t count = setup->mix != NULL ? (uint32_t)mix_target_count(setup->mix) : 1;
    w->client_count = w->at_once * count;
    w->pools = mem_calloc(count, sizeof(*w->pools));
    if (w->mix != NULL)
        w->filled = mem_calloc(w->client_count, sizeof(struct mix_request *));
    if (w->pools == NULL || (w->mix != NULL && w->filled == NULL))
        return -ENOMEM;
    for (; w->pool_count < count; w->pool_count++) {
        struct load_pool *pool = &w->pools[w->pool_count];
        init_pool(pool, setup, w->pool_count);
        pool->dialer.addresses = w->answers.addresses;
        if (w->pool_count == 0)
            continue;
        pool->own_addresses = mem_calloc(RESOLVE_MAX, sizeof(*pool->own_addresses));
        if (pool->own_addresses == NULL)
            return -ENOMEM;
        pool->dialer.addresses = pool->own_addresses;
    }
    return 0;
}

static int init_names(struct load_worker *w) {
    size_t count = 0;
    char *const *texts = w->mix != NULL ? mix_names(w->mix, &count) : NULL;
    return names_new(&w->counters.names, texts, count);
}

int worker_init(struct load_worker *w, const struct worker_setup *setup, struct error *err) {
    *w = (struct load_worker){
        .config = setup->config,
        .request = setup->request,
        .expect = setup->expect,
        .live = setup->live,
        .share = setup->share,
        .begin_timer = { .fire = on_begin },
        .mix = setup->mix,
        .at_once = (uint32_t)share_of(setup->share, (uint64_t)setup->config->concurrency),
        .stop_timer = { .fire = on_stop_time },
        .drain_timer = { .fire = on_drain_time },
        .tick_timer = { .fire = on_tick },
        .row_timer = { .fire = on_row },
        .probe_timer = { .fire = on_probe },
    };
    bool has_pools = init_pools(w, setup) == 0;
    w->loop = has_pools ? loop_new(err) : NULL;
    if (w->loop == NULL) {
        worker_free(w);
        return has_pools ? -ENOMEM : error_set(err, -ENOMEM, "out of memory for the hosts");
    }
    w->lateness = (struct lateness){ .lag = hist_new(), .pauses = &w->counters.pauses };
    w->state.ages = hist_new();
    int rc = clients_init(w);
    if (rc == 0 &&
        (w->lateness.lag == NULL || w->state.ages == NULL || counters_init(&w->counters) != 0))
        rc = -ENOMEM;
    w->counters.keeps_samples = loadgen_config_keeps_samples(setup->config);
    if (rc == 0)
        rc = init_names(w);
    if (rc == 0 && setup->config->stages.count > 0) {
        w->counters.stages = stages_new(&setup->config->stages);
        rc = w->counters.stages != NULL ? 0 : -ENOMEM;
    }
    if (rc == 0 && setup->config->server.timing) {
        w->counters.server_times =
            server_times_new(setup->config->server.timing_parts, w->client_count);
        rc = w->counters.server_times != NULL ? 0 : -ENOMEM;
    }
    if (rc == 0 && setup->config->stream != STREAM_OFF)
        rc = count_streams(w);
    if (rc == 0)
        return 0;
    worker_free(w);
    return error_set(err, rc, "out of memory for %" PRId64 " connections",
                     setup->config->concurrency);
}

/* A run that came to the end of its plan ended with the last answer. Any other one lasted until it
 * was ended, however long before that the last answer came. */
static void wind_up(struct load_worker *w) {
    nsec_t now = clock_now();
    clients_end(w, now);
    if (w->counters.last_end == 0 || w->end != RUN_END_DONE)
        w->counters.last_end = now;
    hist_reset(w->state.ages);
    w->state = (struct live_state){ .in_flight = w->counters.in_flight, .ages = w->state.ages };
    live_publish(w->live, w->share.index, &w->counters, &w->answers, &w->state);
}

/* Signals, rows and --abort-if have the loop of the first worker, which may have done its part long
 * before the others: it keeps the timers of ticks, rows and probes. */
static int attend_others(struct load_worker *w) {
    if (w->share.index > 0)
        atomic_fetch_sub(&w->live->others, 1);
    if (w->share.index > 0 || atomic_load(&w->live->others) == 0)
        return 0;
    w->attends = true;
    timer_cancel(w->loop, &w->stop_timer);
    timer_cancel(w->loop, &w->drain_timer);
    arm(w, &w->probe_timer, w->lateness.probe_at);
    return loop_run(w->loop);
}

int worker_run(struct load_worker *w, nsec_t start) {
    w->start = start;
    int rc = wait_for_start(w);
    w->cpu_began = clock_thread_cpu();
    plan_init(&w->plan, w->config, w->share, start);
    if (w->mix != NULL && mix_replay(w->mix) != NULL)
        plan_follow(&w->plan, mix_replay(w->mix));
    w->counters.first_start = w->plan.measure_from;
    if (w->counters.stages != NULL)
        w->counters.stages->start = start;
    if (rc == 0 && !w->stopping)
        rc = start_timers(w);
    if (rc == 0 && !w->stopping)
        rc = clients_start(w);
    if (rc == 0 && !w->stopping && (w->busy > 0 || !plan_is_done(&w->plan)))
        rc = loop_run(w->loop);
    wind_up(w);
    w->cpu = clock_thread_cpu() - w->cpu_began;
    int attended = attend_others(w);
    return rc != 0 ? rc : attended;
}

void worker_free(struct load_worker *w) {
    struct timer *timers[] = { &w->begin_timer, &w->stop_timer, &w->drain_timer,
                               &w->tick_timer,  &w->row_timer,  &w->probe_timer };
    if (w->loop != NULL) {
        clients_close(w);
        for (size_t i = 0; i < ARRAY_LEN(timers); i++)
            timer_cancel(w->loop, timers[i]);
        loop_free(w->loop);
    }
    for (uint32_t i = 0; i < w->pool_count; i++) {
        tls_session_forget(&w->pools[i].session);
        mem_free(w->pools[i].own_addresses);
    }
    mem_free(w->pools);
    names_free(w->counters.names);
    for (uint32_t i = 0; w->filled != NULL && i < w->client_count; i++)
        mix_request_free(w->filled[i]);
    mem_free(w->filled);
    mem_free(w->clients); /* deferred work of theirs has gone with the loop */
    mem_free(w->thinkers);
    codings_free(w->codings);
    mem_free(w->piece);
    users_free(w->users);
    mem_free(w->in);
    mem_free(w->streams);
    hist_free(w->lateness.lag);
    hist_free(w->state.ages);
    counters_free(&w->counters);
    *w = (struct load_worker){ .loop = NULL };
}
