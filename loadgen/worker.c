/* SPDX-License-Identifier: MIT */
/* One loop: starts its clients when they are due, records what they did, ends the run. */
#include "loadgen/worker.h"
#include "base/alloc.h"
#include "loadgen/worker_timers.h"
#include <errno.h>
#include <inttypes.h>
#include <time.h>

#define PARTING_SPAN (200 * NSEC_PER_MSEC) /* for the server to close an answered connection */
#define RETRY_SPAN   NSEC_PER_MSEC         /* until a full backlog is tried again */

static void on_expired(struct timeouts *q, struct timeout *t) {
    (void)q;
    client_expired(CONTAINER_OF(t, struct load_client, timeout));
}

static void on_parting_expired(struct timeouts *q, struct timeout *t) {
    struct load_worker *w = CONTAINER_OF(q, struct load_worker, partings);
    if (t == &w->parting.timeout)
        parting_expired(&w->parting);
    else
        client_parting_expired(CONTAINER_OF(t, struct load_client, timeout));
}

static void on_retry_expired(struct timeouts *q, struct timeout *t) {
    (void)q;
    client_retry_expired(CONTAINER_OF(t, struct load_client, retry));
}

static int allocate(struct load_worker *w) {
    w->clients = mem_calloc(w->client_count, sizeof(*w->clients));
    w->in = mem_alloc(WORKER_IN_BYTES);
    w->lag = hist_new();
    if (w->clients == NULL || w->in == NULL || w->lag == NULL || live_part_init(&w->part) != 0 ||
        live_state_init(&w->state) != 0 || tally_init(&w->tally) != 0) {
        w->client_count = w->clients != NULL ? w->client_count : 0;
        return -ENOMEM;
    }
    return 0;
}

int worker_init(struct load_worker *w, const struct worker_setup *setup, struct error *err) {
    *w = (struct load_worker){
        .config = setup->config,
        .request = setup->request,
        .target = setup->target,
        .expect = setup->expect,
        .sources = setup->sources,
        .live = setup->live,
        .share = setup->share,
        .request_bytes = buf_unread(&setup->request->bytes),
        .keeps_samples = loadgen_config_keeps_samples(setup->config),
    };
    w->loop = loop_new(err);
    if (w->loop == NULL)
        return -ENOMEM;
    timeouts_init(&w->timeouts, w->loop, setup->config->timeout, on_expired);
    timeouts_init(&w->partings, w->loop, PARTING_SPAN, on_parting_expired);
    timeouts_init(&w->retries, w->loop, RETRY_SPAN, on_retry_expired);
    worker_timers_init(w);

    w->client_count = (uint32_t)share_of(w->share, (uint64_t)setup->config->concurrency);
    int rc = allocate(w);
    for (uint32_t i = 0; rc == 0 && i < w->client_count; i++)
        client_init(&w->clients[i], w);
    if (rc == 0)
        return 0;
    w->client_count = 0; /* none of them was begun */
    worker_free(w);
    return error_set(err, rc, "out of memory for %" PRId64 " connections",
                     setup->config->concurrency);
}

/* --- starting -------------------------------------------------------------------------------- */

void worker_start_rest(struct load_worker *w) {
    w->starts_serially = false;
    while (w->started < w->client_count && !w->stopping)
        client_start(&w->clients[w->started++], clock_now());
}

/* Open model: all are idle, and the first planned request takes the first of them. */
static void start_open(struct load_worker *w) {
    for (uint32_t i = w->client_count; i-- > 0;) {
        w->clients[i].next_idle = w->idle;
        w->idle = &w->clients[i];
    }
    w->started = w->client_count;
    w->busy = 0;
}

static int start_clients(struct load_worker *w) {
    w->busy = w->client_count;
    if (plan_is_open(&w->plan)) {
        start_open(w);
        return worker_timers_arm_arrival(w);
    }
    if (w->config->ramp > 0)
        return worker_timers_arm_ramp(w);
    w->starts_serially = w->config->ab_strict;
    if (w->starts_serially)
        client_start(&w->clients[w->started++], clock_now());
    else
        worker_start_rest(w);
    return 0;
}

/* What the warm-up counted, its bytes too, is not wanted, nor is how we felt. */
static void warm_up_ends(struct load_worker *w) {
    tally_restart(&w->tally, w->plan.measure_from);
    answers_restart(&w->answers);
    w->tally.busy_max = w->busy;
    w->is_warm = true;
    if (w->config->warmup == 0)
        return;
    hist_reset(w->lag);
    w->cpu_began = worker_cpu();
}

/* A planned request that could not begin in time. A connection was free, or its time came within a
 * pause of ours: then it is our fault. */
static void count_starved(struct load_worker *w, nsec_t planned) {
    bool in_pause = planned >= w->pause_began && planned < w->pause_ended;
    w->tally.starved += w->found_idle || w->idle != NULL || in_pause;
}

bool worker_take(struct load_worker *w, nsec_t now, struct load_client *c) {
    if (!plan_take(&w->plan, now, &c->planned))
        return false;
    if (c->planned < w->plan.measure_from)
        return true;
    if (UNLIKELY(!w->is_warm))
        warm_up_ends(w);
    if (plan_is_open(&w->plan)) {
        w->tally.planned++;
        w->part.planned++;
        if (now - c->planned > TALLY_LATE_USEC * NSEC_PER_USEC) {
            w->tally.late++;
            w->part.late++;
            worker_look_for_pause(w, now);
            count_starved(w, c->planned);
        }
    }
    if (w->keeps_samples)
        c->sample = samples_begin(&w->samples, c->planned);
    return true;
}

void worker_client_rests(struct load_worker *w, struct load_client *c) {
    w->busy--;
    if (plan_is_open(&w->plan)) {
        c->next_idle = w->idle;
        w->idle = c;
        if (w->stopping)
            return;
        if (worker_timers_arm_arrival(w) != 0)
            worker_stop(w, RUN_END_ERROR);
        if (w->busy > 0 || plan_next_at(&w->plan) != NSEC_NEVER)
            return;
        if (w->plan.stop_at != NSEC_NEVER && w->plan.left > 0)
            return; /* the time limit ends the run */
    }
    if (w->busy == 0 && !w->stopping)
        loop_stop(w->loop);
}

/* --- recording ------------------------------------------------------------------------------- */

/* `outcome` as in struct sample. */
static void record(struct load_worker *w, struct load_client *c, int outcome,
                   const struct timing *timing, nsec_t now) {
    bool answered = outcome < 0 || c->status > 0;
    w->tally.last_end = now;
    w->part.ended++;
    if (UNLIKELY(outcome >= 0))
        w->part.failed++;
    if (UNLIKELY(answered && (c->status < 200 || c->status > 299))) {
        w->part.non_2xx++;
        w->part.unwelcome += outcome < 0;
    }
    if (answered)
        hist_record(w->part.latency, timing->queue + timing->total);
    else if (failure_is_timeout((enum failure)outcome))
        hist_record(w->part.timed_out, timing->queue + timing->total);
    if (w->keeps_samples)
        samples_end(&w->samples, c->sample, outcome, c->status, c->body_bytes, timing);
    live_request_ended(w->live);
}

static bool ends_measured(struct load_worker *w, struct load_client *c) {
    c->holds_request = false;
    return c->planned >= w->plan.measure_from;
}

void worker_answered(struct load_worker *w, struct load_client *c, const struct timing *timing,
                     nsec_t now) {
    const struct loadgen_config *config = w->config;
    int outcome = SAMPLE_OK;
    if (!ends_measured(w, c))
        return;
    answers_add(&w->answers, c->status, c->body_bytes, http_conn_noted(&c->http));
    w->answers.addresses[c->address].responses++;
    if (!expect_status_has(&config->expect_status, c->status))
        outcome = FAILURE_STATUS;
    else if (!expect_body_found(w->expect, c->matched))
        outcome = FAILURE_BODY;
    if (outcome >= 0)
        tally_unexpected(&w->tally, (enum failure)outcome, timing, c->status);
    else if (!tally_response(&w->tally, timing, c->status, c->body_bytes,
                             config->ab_strict && !config->variable_length))
        outcome = FAILURE_LENGTH;
    record(w, c, outcome, timing, now);
}

void worker_failed(struct load_worker *w, struct load_client *c, enum failure reason,
                   const struct timing *timing, nsec_t now) {
    c->status = 0;
    if (ends_measured(w, c)) {
        tally_failure(&w->tally, reason, timing);
        record(w, c, (int)reason, timing, now);
    }
    if (w->starts_serially)
        worker_start_rest(w);
}

/* --- the end --------------------------------------------------------------------------------- */

void worker_stop(struct load_worker *w, enum run_end end) {
    if (w->stopping)
        return;
    w->stopping = true;
    w->end = end;
    if (end == RUN_END_ERROR || end == RUN_END_SIGNAL)
        live_stop(w->live, end);
    loop_stop(w->loop);
}

static void count_unfinished(struct load_worker *w, struct load_client *c, nsec_t now) {
    if (c->holds_request && c->planned >= w->plan.measure_from) {
        struct timing timing = client_timing(c, now);
        tally_unfinished(&w->tally, &timing);
        if (w->keeps_samples)
            samples_end(&w->samples, c->sample, SAMPLE_UNFINISHED, 0, c->body_bytes, &timing);
    }
    c->holds_request = false;
}

static void drop(struct load_worker *w, nsec_t planned, nsec_t now) {
    int64_t age = (now - planned) / NSEC_PER_USEC;
    w->tally.planned++;
    tally_dropped(&w->tally, age);
    count_starved(w, planned);
    if (!w->keeps_samples)
        return;
    struct timing waited = { .queue = age, .disturbed = planned < w->pause_ended };
    samples_end(&w->samples, samples_begin(&w->samples, planned), SAMPLE_DROPPED, 0, 0, &waited);
}

void worker_drop_due(struct load_worker *w, nsec_t now) {
    nsec_t planned;
    while (plan_is_open(&w->plan) && plan_take(&w->plan, now, &planned))
        if (planned >= w->plan.measure_from)
            drop(w, planned, now);
}

/* Requests that are due and that nobody has begun, in at most STEPS groups. */
static void look_at_waiting(struct load_worker *w, nsec_t now) {
    enum { STEPS = 1000 };
    const struct load_plan *p = &w->plan;
    nsec_t first = plan_next_at(p);
    if (!plan_is_open(p) || first > now)
        return;
    uint64_t due = (uint64_t)((double)(now - first) / p->interval_ns) + 1;
    due = due < p->left ? due : p->left;
    uint64_t step = due / STEPS + 1;
    w->state.waiting = due;
    for (uint64_t i = 0; i < due; i += step) {
        nsec_t age = now - first - (nsec_t)((double)i * p->interval_ns);
        uint64_t count = due - i < step ? due - i : step;
        hist_record_n(w->state.ages, age / NSEC_PER_USEC, count);
        if (age > TALLY_LATE_USEC * NSEC_PER_USEC)
            w->state.waiting_late += count;
    }
}

void worker_look_at_state(struct load_worker *w, nsec_t now) {
    struct hist *ages = w->state.ages;
    hist_reset(ages);
    w->state = (struct live_state){ .in_flight = w->busy, .ages = ages };
    if (w->config->abort_if.count == 0)
        return;
    for (uint32_t i = 0; i < w->client_count; i++) {
        const struct load_client *c = &w->clients[i];
        if (c->holds_request && c->planned >= w->plan.measure_from)
            hist_record(ages, (now - c->planned) / NSEC_PER_USEC);
    }
    look_at_waiting(w, now);
}

/* A run that came to the end of its plan ended with the last answer. Any other one lasted until it
 * was ended, however long before that the last answer came. */
static void wind_up(struct load_worker *w) {
    nsec_t now = clock_now();
    if (!w->is_warm && w->config->warmup > 0)
        warm_up_ends(w);
    w->stopping = true; /* what was put off comes to nothing */
    worker_timers_probe(w, now);
    for (uint32_t i = 0; i < w->client_count; i++) {
        count_unfinished(w, &w->clients[i], now);
        client_close(&w->clients[i]);
    }
    parting_close(&w->parting);
    worker_drop_due(w, now);
    if (w->tally.last_end == 0 || w->end != RUN_END_DONE)
        w->tally.last_end = now;
    hist_reset(w->state.ages);
    w->state = (struct live_state){ .in_flight = w->tally.in_flight, .ages = w->state.ages };
    live_publish(w->live, w->share.index, &w->part, &w->state);
}

/* Signals, rows and --abort-if have the loop of the first worker, which may have done its part long
 * before the others. */
static int attend_others(struct load_worker *w) {
    if (w->share.index > 0)
        atomic_fetch_sub(&w->live->others, 1);
    if (w->share.index > 0 || atomic_load(&w->live->others) == 0)
        return 0;
    w->attends = true;
    timeouts_close(&w->timeouts);
    timeouts_close(&w->partings);
    timeouts_close(&w->retries);
    worker_timers_attend(w);
    return loop_run(w->loop);
}

nsec_t worker_cpu(void) {
    struct timespec ts;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts) != 0)
        return 0;
    return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

void worker_pauses(struct load_worker *w, nsec_t now) {
    struct pauses *p = &w->tally.pauses;
    if (!w->pausing) {
        w->pausing = true;
        w->pause_began = w->pause_ended = w->probe_at;
        p->count++;
    }
    p->total += now - w->pause_ended;
    w->pause_ended = now;
    w->pause_due = now + WORKER_PAUSE_MIN;
    if (now - w->pause_began <= p->longest)
        return;
    p->longest = now - w->pause_began;
    p->longest_at = w->pause_began;
    p->longest_cpu = worker_cpu() - w->probe_cpu;
}

int worker_run(struct load_worker *w, nsec_t start) {
    w->cpu_began = worker_cpu();
    w->start = start;
    plan_init(&w->plan, w->config, w->share, start);
    w->tally.first_start = w->plan.measure_from;
    int rc = worker_timers_start(w);
    if (rc == 0)
        rc = start_clients(w);
    if (rc == 0 && !w->stopping && (w->busy > 0 || plan_is_open(&w->plan)))
        rc = loop_run(w->loop);
    wind_up(w);
    w->cpu = worker_cpu() - w->cpu_began;
    int attended = attend_others(w);
    return rc != 0 ? rc : attended;
}

void worker_free(struct load_worker *w) {
    for (uint32_t i = 0; i < w->client_count; i++)
        client_close(&w->clients[i]);
    if (w->loop != NULL) {
        parting_close(&w->parting);
        worker_timers_close(w);
        timeouts_close(&w->timeouts);
        timeouts_close(&w->partings);
        timeouts_close(&w->retries);
        loop_free(w->loop);
    }
    mem_free(w->clients);
    mem_free(w->in);
    hist_free(w->lag);
    live_part_free(&w->part);
    live_state_free(&w->state);
    samples_free(&w->samples);
    tally_free(&w->tally);
    *w = (struct load_worker){ .loop = NULL };
}
