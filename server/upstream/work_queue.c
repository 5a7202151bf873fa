/* SPDX-License-Identifier: MIT */
/* A queue of blocking calls and the thread that makes them. */
#include "server/upstream/work_queue.h"
#include "base/alloc.h"
#include "net/thread.h"
#include "server/limits.h"
#include <pthread.h>
#include <sys/queue.h>

struct work {
    void (*run)(void *), (*drop)(void *);
    void *arg;
    STAILQ_ENTRY(work) link;
};

/* Kept by its owner and, while one runs, by the thread; whoever leaves last frees it. */
struct work_queue {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t idle;  /* not running any more */
    STAILQ_HEAD(, work) queue;
    uint32_t waiting, waiting_max;
    bool running; /* the thread */
    bool closed;  /* the owner has left */
};

struct work_queue *work_queue_new(uint32_t waiting_max) {
    struct work_queue *e = mem_calloc(1, sizeof(*e));

    if (e == NULL)
        return NULL;
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->idle, NULL);
    STAILQ_INIT(&e->queue);
    e->waiting_max = waiting_max;
    return e;
}

static void destroy(struct work_queue *e) {
    pthread_cond_destroy(&e->idle);
    pthread_mutex_destroy(&e->lock);
    mem_free(e);
}

static struct work *pull(struct work_queue *e) {
    struct work *first = STAILQ_FIRST(&e->queue);

    if (first != NULL) {
        STAILQ_REMOVE_HEAD(&e->queue, link);
        e->waiting--;
    }
    return first;
}

static void *run_all(void *arg) {
    struct work_queue *e = arg;
    struct work *each;
    bool closed;

    pthread_mutex_lock(&e->lock);
    while ((each = pull(e)) != NULL) {
        pthread_mutex_unlock(&e->lock);
        each->run(each->arg);
        mem_free(each);
        pthread_mutex_lock(&e->lock);
    }
    e->running = false;
    closed = e->closed;
    pthread_cond_signal(&e->idle);
    pthread_mutex_unlock(&e->lock);
    if (closed)
        destroy(e);
    return NULL;
}

static bool enqueue(struct work_queue *e, struct work *added) {
    bool taken;

    pthread_mutex_lock(&e->lock);
    taken = e->waiting < e->waiting_max;
    if (taken) {
        STAILQ_INSERT_TAIL(&e->queue, added, link);
        e->waiting++;
        if (!e->running)
            e->running = thread_start(NULL, SERVER_THREAD_STACK_BYTES, run_all, e) == 0;
        if (!e->running) { /* the queue holds nothing else in that case */
            pull(e);
            taken = false;
        }
    }
    pthread_mutex_unlock(&e->lock);
    return taken;
}

void work_queue_add(struct work_queue *e, void (*run)(void *), void (*drop)(void *), void *arg) {
    struct work *added = mem_alloc(sizeof(*added));

    if (added != NULL) {
        *added = (struct work){ .run = run, .drop = drop, .arg = arg };
        if (enqueue(e, added))
            return;
        mem_free(added);
    }
    drop(arg);
}

void work_queue_free(struct work_queue *e, nsec_t until) {
    struct timespec at = { .tv_sec = until / NSEC_PER_SEC, .tv_nsec = until % NSEC_PER_SEC };
    struct work *each;
    bool running;
    int rc = 0;

    if (e == NULL)
        return;
    pthread_mutex_lock(&e->lock);
    while (e->running && rc == 0)
        rc = pthread_cond_clockwait(&e->idle, &e->lock, CLOCK_MONOTONIC, &at);
    while ((each = pull(e)) != NULL) {
        each->drop(each->arg);
        mem_free(each);
    }
    e->closed = true;
    running = e->running;
    pthread_mutex_unlock(&e->lock);
    if (!running)
        destroy(e);
}
