/* SPDX-License-Identifier: MIT */
/* Model `threaded`: a thread per connection, made when it comes and gone when it closes. */
#include "base/alloc.h"
#include "base/log.h"
#include "proc/signals.h"
#include "server/backends.h"
#include "server/model/blocking.h"
#include "server/model/model.h"
#include "server/observe/stats.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static int threaded_run(struct worker *worker, struct error *err);

const struct model model_threaded = {
    .name = "threaded",
    .summary = "a thread per connection, which blocks while it waits",
    .run = threaded_run,
};

struct threaded {
    struct blocking blocking;
    struct worker *worker;
    pthread_attr_t attr;
    struct {
        pthread_mutex_t lock; /* guards all below */
        pthread_cond_t fewer; /* a thread has ended */
        unsigned live;
    } shared;
};

/* The argument of a new thread, which frees it. */
struct threaded_connection {
    struct threaded *t;
    struct accepted accepted;
};

static void *connection_run(void *arg) {
    struct threaded_connection *c = arg;
    struct threaded *t = c->t;

    pthread_setname_np(pthread_self(), "request"); /* to its starter it may be gone already */
    blocking_serve(&t->blocking, t->worker, &c->accepted, false);
    mem_free(c);
    pthread_mutex_lock(&t->shared.lock);
    t->shared.live--;
    pthread_cond_signal(&t->shared.fewer);
    pthread_mutex_unlock(&t->shared.lock);
    return NULL;
}

static int start_thread(struct threaded *t, const struct accepted *accepted) {
    struct threaded_connection *c = mem_alloc(sizeof(*c));
    pthread_t thread;
    int rc;

    if (c == NULL)
        return -ENOMEM;
    *c = (struct threaded_connection){ .t = t, .accepted = *accepted };
    rc = pthread_create(&thread, &t->attr, connection_run, c);
    if (rc != 0) {
        mem_free(c);
        return -rc;
    }
    return 0;
}

/* Threads are what this model runs out of: it says so to the client instead of letting it wait. */
static void refuse(struct threaded *t, const struct accepted *accepted, int rc) {
    static struct log_rate rate = { .per_second = 1 };

    log_limited(&rate, LOG_LEVEL_WARN, "no thread for a connection error=\"%s\"",
                strerrordesc_np(-rc));
    blocking_refuse(&t->blocking, t->worker, accepted, "no thread is left for this request");
}

static void threaded_accepted(void *arg, const struct accepted *accepted) {
    struct threaded *t = arg;
    unsigned max = (unsigned)t->worker->config->max_threads, live;
    int rc = -EAGAIN;

    pthread_mutex_lock(&t->shared.lock);
    live = ++t->shared.live;
    pthread_mutex_unlock(&t->shared.lock);
    if (max == 0 || live <= max)
        rc = start_thread(t, accepted);
    if (rc == 0)
        return;
    refuse(t, accepted, rc);
    pthread_mutex_lock(&t->shared.lock);
    t->shared.live--;
    pthread_mutex_unlock(&t->shared.lock);
}

/* Threads end by themselves, with the last answer or the keep-alive of their connection, or with
 * cancel_fd when patience ends. */
static void join_all(struct threaded *t) {
    nsec_t until = deadline_after(clock_now(), t->worker->config->graceful_timeout);
    struct timespec at = { .tv_sec = until / NSEC_PER_SEC, .tv_nsec = until % NSEC_PER_SEC };
    int rc = 0;

    pthread_mutex_lock(&t->shared.lock);
    while (t->shared.live > 0 && rc == 0)
        rc = pthread_cond_clockwait(&t->shared.fewer, &t->shared.lock, CLOCK_MONOTONIC, &at);
    if (t->shared.live > 0 && stats_get(t->worker->stats, STATS_slots_busy) > 0)
        log_write(LOG_LEVEL_WARN, "graceful stop takes too long, cancelling threads=%u",
                  t->shared.live);
    while (t->shared.live > 0)
        pthread_cond_wait(&t->shared.fewer, &t->shared.lock);
    pthread_mutex_unlock(&t->shared.lock);
}

static int threaded_open(struct threaded *t, struct error *err) {
    int rc = blocking_open(&t->blocking, t->worker, err);

    if (rc < 0)
        return rc;
    pthread_mutex_init(&t->shared.lock, NULL);
    pthread_cond_init(&t->shared.fewer, NULL);
    pthread_attr_init(&t->attr);
    pthread_attr_setdetachstate(&t->attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&t->attr, SERVER_THREAD_STACK_BYTES);
    return backends_open(t->worker, NULL, err);
}

static int threaded_run(struct worker *worker, struct error *err) {
    struct threaded t = { .worker = worker, .blocking.takes_turns = true };
    int rc = threaded_open(&t, err);

    if (rc == 0) {
        worker_ready(worker);
        rc = blocking_accept(&t.blocking, worker, threaded_accepted, &t);
        if (rc < 0)
            error_set(err, rc, "cannot accept connections: %s", strerrordesc_np(-rc));
        join_all(&t);
    }
    signals_hold();
    backends_close(worker);
    blocking_close(&t.blocking);
    return rc;
}
