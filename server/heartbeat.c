/* SPDX-License-Identifier: MIT */
/* Beats once in a while, and watches how long the turns of a loop take. */
#include "server/heartbeat.h"
#include "base/escape.h"
#include "base/log.h"
#include "proc/prefork.h"
#include "server/observe/blocker.h"
#include <errno.h>
#include <string.h>

/* The turn has begun with a beat. */
static void on_beat(struct timer *timer) {
    struct heartbeat *p = CONTAINER_OF(timer, struct heartbeat, beat);
    int rc = timer_set(p->loop, timer, deadline_after(loop_now(p->loop), p->beat_every));

    (void)rc; /* a place in the heap has just become free */
}

static void on_tend(struct timer *timer) {
    struct heartbeat *p = CONTAINER_OF(timer, struct heartbeat, tend);
    int rc = timer_set(p->loop, timer, p->worker->tend(p->worker->arg, loop_now(p->loop)));

    (void)rc; /* a place is free, too */
}

/* A request that got the thread has given it back. */
static void note_span(struct heartbeat *p) {
    nsec_t span = clock_now() - p->run_at;

    if (span <= p->longest)
        return;
    p->longest = span;
    memcpy(p->longest_what, p->stats->current.what, sizeof(p->longest_what));
}

void heartbeat_switch(struct heartbeat *p, const struct http_head *head) {
    if (!p->watches_requests)
        return;
    if (head != NULL) {
        stats_current_set(p->stats, head->method_text, head->target, loop_now(p->loop));
        if (p->warn > 0)
            p->run_at = clock_now();
        return;
    }
    if (p->warn > 0)
        note_span(p);
    stats_current_clear(p->stats);
}

/* Hints, once, at what helps a green worker that patches nothing, when a library made the call. */
static void hint(struct heartbeat *p, const char *by) {
    const struct worker *worker = p->worker;

    if (p->hinted || worker->fiber_io == NULL || worker->patches != NULL ||
        strstr(by, " near=") == NULL)
        return;
    p->hinted = true;
    log_write(
        LOG_LEVEL_WARN,
        "a library blocks this green worker: --patch on, or --db-mode patched, lets most waits "
        "of libraries park; --patch report says which");
}

static void on_turn(void *arg, nsec_t began, nsec_t ended) {
    struct heartbeat *p = arg;
    nsec_t span = ended - began;

    hist_shared_record(&p->stats->loop_lag, span);
    if (span > atomic_load_explicit(&p->stats->loop_lag_max, memory_order_relaxed))
        atomic_store_explicit(&p->stats->loop_lag_max, span, memory_order_relaxed);
    if (p->warn > 0 && span >= p->warn) {
        static struct log_rate rate = { .per_second = 10 };
        bool named = p->longest * 2 >= span;
        char what[4 * STATS_WHAT_BYTES], by[BLOCKER_TEXT_BYTES];

        escape_quoted(what, sizeof(what), slice_str(named ? p->longest_what : ""));
        blocker_tell(p->blocker, began, by);
        log_limited(&rate, LOG_LEVEL_WARN, "the loop was held up for_seconds=%.3f%s%s%s%s",
                    (double)span / NSEC_PER_SEC, named ? " request=\"" : "", what,
                    named ? "\"" : "", by);
        hint(p, by);
    }
    p->longest = 0;
}

int heartbeat_start(struct heartbeat *p, struct loop *loop, const struct worker *worker) {
    const struct serve_config *config = worker->config;

    *p = (struct heartbeat){ .loop = loop,
                             .stats = worker->stats,
                             .worker = worker,
                             .beat = { .fire = on_beat },
                             .tend = { .fire = on_tend },
                             .beat_every = worker_idle_interval(worker),
                             .warn = config->loop_lag_warn };
    if (p->warn > 0)
        p->blocker = blocker_watch(loop, p->warn);
    if (p->warn > 0 || config->control != NULL)
        loop_observe(loop, on_turn, p);
    p->watches_requests = p->warn > 0 || p->beat_every > 0;
    if (worker->tend != NULL && timer_set(loop, &p->tend, clock_now()) < 0)
        return -ENOMEM;
    if (p->beat_every == 0)
        return 0;
    loop_on_awake(loop, prefork_worker_beat_at);
    return timer_set(loop, &p->beat, deadline_after(clock_now(), p->beat_every));
}

void heartbeat_stop(struct heartbeat *p) {
    if (p->loop == NULL)
        return;
    loop_observe(p->loop, NULL, NULL);
    loop_on_awake(p->loop, NULL);
    timer_cancel(p->loop, &p->beat);
    timer_cancel(p->loop, &p->tend);
    blocker_free(p->blocker);
}
