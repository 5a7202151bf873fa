/* SPDX-License-Identifier: MIT */
/* One loop: starts its clients, watches their time-outs, ends the run. */
#include "loadgen/worker.h"
#include "base/alloc.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* How long an answered connection may wait for the server to close it. */
#define PARTING_SPAN (200 * NSEC_PER_MSEC)

/* Progress is shown every tenth of the run, as in ab, or as below. */
enum { PROGRESS_STEP_MIN = 100, PROGRESS_STEP_UNKNOWN = 5000 };

static void on_expired(struct timeouts *q, struct timeout *t) {
    (void)q;
    client_expired(CONTAINER_OF(t, struct client, timeout));
}

static void on_parting_expired(struct timeouts *q, struct timeout *t) {
    (void)q;
    client_parting_expired(CONTAINER_OF(t, struct client, timeout));
}

static void on_stop_time(struct timer *timer) {
    worker_stop(CONTAINER_OF(timer, struct worker, stop_timer), WORKER_END_TIME);
}

static void progress_init(struct worker *w) {
    uint64_t budget = loadgen_config_budget(w->config);
    if (!loadgen_config_shows_progress(w->config))
        return;
    w->progress_step = budget == UINT64_MAX ? PROGRESS_STEP_UNKNOWN : budget / 10;
    if (w->progress_step < PROGRESS_STEP_MIN)
        w->progress_step = PROGRESS_STEP_MIN;
    w->progress_at = w->progress_step;
}

/* Without a known end the step grows with the count, so that a long run does not print for ever. */
static void progress_show(struct worker *w) {
    fprintf(stderr, "Completed %" PRIu64 " requests\n", w->ended);
    if (loadgen_config_budget(w->config) == UINT64_MAX)
        w->progress_step = w->ended;
    w->progress_at += w->progress_step;
}

int worker_init(struct worker *w, const struct loadgen_config *config,
                const struct request *request, const struct target *target, struct error *err) {
    *w = (struct worker){
        .config = config,
        .request = request,
        .target = target,
        .request_bytes = buf_unread(&request->bytes),
        .stop_timer = { .fire = on_stop_time },
        .server_closes = true,
    };
    w->loop = loop_new(err);
    if (w->loop == NULL)
        return -ENOMEM;
    timeouts_init(&w->timeouts, w->loop, config->timeout, on_expired);
    timeouts_init(&w->partings, w->loop, PARTING_SPAN, on_parting_expired);
    progress_init(w);

    w->clients = mem_calloc((size_t)config->concurrency, sizeof(*w->clients));
    w->in = mem_alloc(WORKER_IN_BYTES);
    if (w->clients == NULL || w->in == NULL || tally_init(&w->tally) != 0) {
        worker_free(w);
        return error_set(err, -ENOMEM, "out of memory for %" PRId64 " connections",
                         config->concurrency);
    }
    w->client_count = (uint32_t)config->concurrency;
    for (uint32_t i = 0; i < w->client_count; i++)
        client_init(&w->clients[i], w);
    return 0;
}

int worker_run(struct worker *w) {
    nsec_t now = clock_now();
    w->tally.first_start = now;
    plan_init(&w->plan, w->config, now);
    if (w->plan.stop_at != NSEC_NEVER) {
        int rc = timer_set(w->loop, &w->stop_timer, w->plan.stop_at);
        if (rc != 0)
            return rc;
    }
    w->busy = w->client_count;
    for (uint32_t i = 0; i < w->client_count; i++)
        client_start(&w->clients[i], clock_now());

    int rc = w->stopping || w->busy == 0 ? 0 : loop_run(w->loop);
    if (w->progress_step > 0)
        fprintf(stderr, "Finished %" PRIu64 " requests\n", w->ended);

    now = clock_now();
    for (uint32_t i = 0; i < w->client_count; i++) {
        struct client *c = &w->clients[i];
        if (c->holds_request) {
            w->tally.in_flight++;
            if (now - c->started > w->tally.in_flight_age_max)
                w->tally.in_flight_age_max = now - c->started;
        }
        client_close(c);
        c->holds_request = false;
    }
    w->stopping = true; /* what was put off comes to nothing */
    if (w->tally.last_end == 0)
        w->tally.last_end = now;
    return rc;
}

void worker_stop(struct worker *w, enum worker_end end) {
    if (w->stopping)
        return;
    w->stopping = true;
    w->end = end;
    loop_stop(w->loop);
}

void worker_request_ended(struct worker *w, nsec_t now) {
    w->tally.last_end = now;
    w->ended++;
    if (w->ended == w->progress_at)
        progress_show(w);
}

void worker_client_rests(struct worker *w) {
    w->busy--;
    if (w->busy == 0 && !w->stopping)
        loop_stop(w->loop);
}

void worker_free(struct worker *w) {
    for (uint32_t i = 0; i < w->client_count; i++)
        client_close(&w->clients[i]);
    if (w->loop != NULL) {
        timer_cancel(w->loop, &w->stop_timer);
        timeouts_close(&w->timeouts);
        timeouts_close(&w->partings);
        loop_free(w->loop);
    }
    mem_free(w->clients);
    mem_free(w->in);
    tally_free(&w->tally);
    *w = (struct worker){ .loop = NULL };
}
