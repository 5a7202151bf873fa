/* SPDX-License-Identifier: MIT */
/* A queue of cancel requests, and the thread that makes them. */
#include "server/upstream/db_cancels.h"
#include "base/alloc.h"
#include "net/thread.h"
#include "server/limits.h"
#include "server/upstream/db_conn.h"
#include <pthread.h>
#include <sys/queue.h>

struct db_cancel {
    void *request; /* db_conn's */
    STAILQ_ENTRY(db_cancel) link;
};

/* Cancel requests block, and nobody waits for them: a thread makes one after the other, and lives
 * as long as there are some. Kept by the database and, while one runs, by the thread; whoever
 * leaves last frees it. */
struct db_cancels {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t idle;  /* not running any more */
    STAILQ_HEAD(, db_cancel) queue;
    uint32_t waiting;
    bool running; /* the thread */
    bool closed;  /* the database has left */
};

struct db_cancels *db_cancels_new(void) {
    struct db_cancels *c = mem_calloc(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->idle, NULL);
    STAILQ_INIT(&c->queue);
    return c;
}

static void cancels_destroy(struct db_cancels *c) {
    pthread_cond_destroy(&c->idle);
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
}

static struct db_cancel *cancels_pull(struct db_cancels *c) {
    struct db_cancel *first = STAILQ_FIRST(&c->queue);

    if (first != NULL) {
        STAILQ_REMOVE_HEAD(&c->queue, link);
        c->waiting--;
    }
    return first;
}

static void *cancels_run(void *arg) {
    struct db_cancels *c = arg;
    struct db_cancel *each;
    bool closed;

    pthread_mutex_lock(&c->lock);
    while ((each = cancels_pull(c)) != NULL) {
        pthread_mutex_unlock(&c->lock);
        db_cancel_end(each->request, true);
        mem_free(each);
        pthread_mutex_lock(&c->lock);
    }
    c->running = false;
    closed = c->closed;
    pthread_cond_signal(&c->idle);
    pthread_mutex_unlock(&c->lock);
    if (closed)
        cancels_destroy(c);
    return NULL;
}

static bool cancels_enqueue(struct db_cancels *c, struct db_cancel *added) {
    bool taken;

    pthread_mutex_lock(&c->lock);
    taken = c->waiting < SERVER_DB_CANCELS_MAX;
    if (taken) {
        STAILQ_INSERT_TAIL(&c->queue, added, link);
        c->waiting++;
        if (!c->running)
            c->running = thread_start(NULL, SERVER_THREAD_STACK_BYTES, cancels_run, c) == 0;
        if (!c->running) { /* the queue holds nothing else in that case */
            cancels_pull(c);
            taken = false;
        }
    }
    pthread_mutex_unlock(&c->lock);
    return taken;
}

/* Takes a request of a connection, from any thread. */
void db_cancels_add(void *arg, void *request) {
    struct db_cancel *added = mem_alloc(sizeof(*added));

    if (added != NULL) {
        added->request = request;
        if (cancels_enqueue(arg, added))
            return;
        mem_free(added);
    }
    db_cancel_end(request, false);
}

/* Lets them finish until then. Requests that still wait after that are dropped, and one that still
 * runs is left to its thread, which cleans up. */
void db_cancels_free(struct db_cancels *c, nsec_t until) {
    struct timespec at = { .tv_sec = until / NSEC_PER_SEC, .tv_nsec = until % NSEC_PER_SEC };
    struct db_cancel *each;
    bool running;
    int rc = 0;

    if (c == NULL)
        return;
    pthread_mutex_lock(&c->lock);
    while (c->running && rc == 0)
        rc = pthread_cond_clockwait(&c->idle, &c->lock, CLOCK_MONOTONIC, &at);
    while ((each = cancels_pull(c)) != NULL) {
        db_cancel_end(each->request, false);
        mem_free(each);
    }
    c->closed = true;
    running = c->running;
    pthread_mutex_unlock(&c->lock);
    if (!running)
        cancels_destroy(c);
}
