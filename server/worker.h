/* SPDX-License-Identifier: MIT */
/* One worker process, as the model that runs it sees it. */
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

#include "server/config.h"
#include <pthread.h>
#include <stdatomic.h>

struct access_log;
struct background_task;
struct crowd_place;
struct srv_app;
struct db;
struct stats;
struct io_fiber;
struct lock;
struct patches;
struct request_ids;
struct origins;
struct semaphore;
struct tls_context;
struct upstream;

/* --max-requests: how many answers a worker gives before it asks for a successor. */
struct worker_quota {
    atomic_ullong answered;
    unsigned long long limit; /* 0: none */
};

/* The tasks of a worker that outlive requests: server/app/background.h. */
struct background {
    const struct worker *worker; /* NULL: no task can begin yet */
    pthread_mutex_t lock;        /* of all below */
    struct background_task *tasks;
    unsigned count;
    bool closing;
};

/* The worker of <srv/app.h>, as its calls have it. */
struct srv_worker {
    const struct option_strings *config; /* KEY=VALUE */
    unsigned number;                     /* from 1; 0 while it is only checked */
    void *data;                          /* the application's own */
    struct background background;        /* tasks; none while it is only checked */
    _Atomic(struct lock *) locks;        /* all that it has used */
};

struct worker {
    const struct serve_config *config;
    const struct srv_app *app; /* serves requests */
    struct srv_worker *own;    /* the worker, as the application knows it */
    unsigned index;            /* 1-based; 1 when there is no master */
    const int *listen_fds;     /* opened before fork, shared between workers */
    size_t listen_count;
    const bool *listen_borrowed; /* somebody else has bound it, and sets its options */
    struct tls_context *tls;     /* for new connections that speak https; NULL: none does */
    /* Made by backends_open, as they differ between fibers and threads; NULL under model event. */
    struct io_fiber *fiber_io;        /* NULL: threads wait */
    struct patches *patches;          /* NULL: applications are not patched */
    struct tls_context *upstream_tls; /* https is called with it; NULL: by nobody, or libcurl */
    struct upstream *upstream;
    struct semaphore *upstream_semaphore; /* limits the calls in progress; NULL: no limit */
    struct origins *origins;              /* other servers that handlers call */
    struct db *db;
    void (*retire)(const struct worker *worker); /* gives back what is idle of them; or NULL */
    struct worker_quota *quota;
    struct request_ids *ids;
    struct access_log *access_log; /* NULL: none */
    struct stats *stats;           /* shared with the control endpoint */
    struct crowd_place *place;     /* among the workers */
    atomic_bool *leaving;          /* shared by all: the server is about to stop; or NULL */
    void (*ready)(void);           /* called once the worker can serve */
    /* In a worker without a master: it has begun to stop for good. NULL: a master knows. */
    void (*stopping)(void *arg);
    /* Looks after the processes beside it, in a worker without a master: its accepting thread calls
     * it, now and at the time that it returns. NULL: a master does. */
    nsec_t (*tend)(void *arg, nsec_t now);
    /* HUP, in a worker without a master whose loop gets signals: reads certificates anew. Or NULL.
     */
    void (*reload)(struct worker *worker);
    void *arg; /* for stopping, tend and reload */
};

/* Tells the control endpoint and the master that the worker can serve. */
void worker_ready(const struct worker *worker);

/* Tells that the worker takes no new connections; when it retires, others do, on the same sockets.
 */
void worker_stopping(const struct worker *worker, bool retires);

/* The span of accepting after TERM: --graceful-delay, or 0 when a master waits. Tells that it has
 * begun: the server is not ready any more, for whoever asks. Async-signal-safe. */
nsec_t worker_delay(const struct worker *worker);
void worker_leaving(const struct worker *worker);
bool worker_is_leaving(const struct worker *worker);

/* The span between two beats for --timeout, while the worker is idle, and while its only thread
 * waits for a request's sake; 0: none, since no master looks. An idle worker seldom wakes up for
 * that: it beats whenever it has something to do, so that its silence counts from then on. */
nsec_t worker_idle_interval(const struct worker *worker);
nsec_t worker_beat_interval(const struct worker *worker);

/* Counts an answer against --max-requests. */
void worker_count_answer(const struct worker *worker);

#endif
