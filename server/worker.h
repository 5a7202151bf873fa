/* SPDX-License-Identifier: MIT */
/* What one worker process serves with: handed to the model that runs it. */
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

#include "server/config.h"
#include "server/limits.h"
#include <stdatomic.h>

struct access_log;
struct db;
struct stats;
struct semaphore;
struct upstream;

/* --max-requests: how many answers a worker gives before it asks for a successor. */
struct worker_quota {
    atomic_ullong answered;
    unsigned long long limit; /* 0: none */
};

struct worker {
    const struct serve_config *config;
    unsigned index;        /* 1-based; 1 when there is no master */
    const int *listen_fds; /* opened before fork, shared between workers */
    size_t listen_count;
    /* Made by backends_open, since they differ between fibers and threads; NULL under model event. */
    struct upstream *upstream;
    struct semaphore *upstream_semaphore; /* limits the calls in progress; NULL: no limit */
    struct db *db;
    void (*retire)(const struct worker *worker); /* gives back what is idle of them; or NULL */
    struct worker_quota *quota;
    struct access_log *access_log; /* NULL: none */
    struct stats *stats;           /* its own, shared with the control endpoint */
    atomic_bool *leaving;          /* shared by all: the server is about to stop; or NULL */
    void (*ready)(void);           /* called once the worker can serve */
    /* In a worker without a master: it has begun to stop for good. NULL: a master knows. */
    void (*stopping)(void *arg);
    /* Looks after the processes beside it, in a worker without a master: its accepting thread calls
     * it, now and at the time that it returns. NULL: a master does. */
    nsec_t (*tend)(void *arg, nsec_t now);
    void *arg; /* of both */
};

/* It can serve from now on: tells the control endpoint and the master. */
void worker_ready(const struct worker *worker);

/* It takes no new connections from now on; when it retires, others do, on the same sockets. */
void worker_stopping(const struct worker *worker, bool retires);

/* How long it goes on accepting after TERM: --graceful-delay, or 0 when a master waits. And from
 * then on it does so: the server is not ready any more, for who asks. Async-signal-safe. */
nsec_t worker_delay(const struct worker *worker);
void worker_leaving(const struct worker *worker);
bool worker_is_leaving(const struct worker *worker);

/* It has given an answer: counts it against --max-requests. */
void worker_count_answer(const struct worker *worker);

#endif
