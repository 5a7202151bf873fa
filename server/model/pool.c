/* SPDX-License-Identifier: MIT */
/* Model `pool`: a loop accepts, reads and parks; a bounded number of threads serve whole requests.
 */
#include "base/alloc.h"
#include "base/log.h"
#include "net/thread.h"
#include "proc/signals.h"
#include "server/app/background.h"
#include "server/app/handle.h"
#include "server/backends.h"
#include "server/conn/front.h"
#include "server/conn/front_stop.h"
#include "server/heartbeat.h"
#include "server/limits.h"
#include "server/model/model.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int pool_run(struct worker *worker, struct error *err);

const struct model model_pool = {
    .name = "pool",
    .summary = "a fixed number of threads, fed by a loop that keeps slow and idle clients off them",
    .run = pool_run,
};

/* One serving thread. */
struct pool_thread {
    struct pool *pool;
    pthread_t id;
    struct io_block io;
    int cancel_fd;  /* readable: the request it serves is abandoned */
    bool cancelled; /* cancel_fd was made readable; under the pool's lock */
};

struct pool {
    struct front front;
    struct loop *loop;
    struct signals *signals;
    struct heartbeat heartbeat;
    struct watch wake; /* an eventfd: something stands in shared.done */
    struct pool_thread *threads;
    unsigned started; /* threads; only the loop's thread changes it */
    struct {
        pthread_mutex_t lock; /* guards all below */
        pthread_cond_t work;  /* `todo` has grown, or closing */
        struct client_list todo, done;
        bool closing;
    } shared;
};

/* --- a thread --------------------------------------------------------------------- */

/* The next request, or NULL when the pool closes. */
static struct client *pool_thread_take(struct pool_thread *thread) {
    struct pool *p = thread->pool;
    struct client *c;

    pthread_mutex_lock(&p->shared.lock);
    while ((c = TAILQ_FIRST(&p->shared.todo)) == NULL && !p->shared.closing)
        pthread_cond_wait(&p->shared.work, &p->shared.lock);
    if (c != NULL) {
        TAILQ_REMOVE(&p->shared.todo, c, queued);
        c->task = thread;
    }
    pthread_mutex_unlock(&p->shared.lock);
    return c;
}

static void pool_thread_give_back(struct pool_thread *thread, struct client *c) {
    struct pool *p = thread->pool;
    bool first, cancelled;
    uint64_t count = 1;

    pthread_mutex_lock(&p->shared.lock);
    c->task = NULL; /* nobody cancels this thread from here on */
    cancelled = thread->cancelled;
    thread->cancelled = false;
    first = TAILQ_EMPTY(&p->shared.done);
    TAILQ_INSERT_TAIL(&p->shared.done, c, queued);
    pthread_mutex_unlock(&p->shared.lock);

    if (first && write(p->wake.fd, &count, sizeof(count)) < 0)
        log_write(LOG_LEVEL_ERROR, "cannot wake the loop error=\"%s\"", strerrordesc_np(errno));
    if (cancelled && read(thread->cancel_fd, &count, sizeof(count)) < 0)
        log_write(LOG_LEVEL_ERROR, "cannot clear a cancel error=\"%s\"", strerrordesc_np(errno));
}

static void *pool_thread_run(void *arg) {
    struct pool_thread *thread = arg;
    struct client *c;

    while ((c = pool_thread_take(thread)) != NULL) {
        session_begin(&c->session, clock_now());
        c->end = handle_serve(&c->session, &thread->io.io);
        pool_thread_give_back(thread, c);
    }
    return NULL;
}

static int pool_thread_start(struct pool *p) {
    struct pool_thread *thread = &p->threads[p->started];
    int rc;

    *thread =
        (struct pool_thread){ .pool = p, .cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
    if (thread->cancel_fd < 0)
        return -errno;
    io_block_init(&thread->io, thread->cancel_fd);
    rc = thread_start(&thread->id, SERVER_THREAD_STACK_BYTES, pool_thread_run, thread);
    if (rc < 0) {
        close(thread->cancel_fd);
        return rc;
    }
    pthread_setname_np(thread->id, "pool");
    p->started++;
    return 0;
}

/* --- the loop's side --------------------------------------------------------------- */

static struct pool *pool_of(struct client *c) {
    return CONTAINER_OF(c->front, struct pool, front);
}

/* One thread for each request in progress, up to the limit. Eager pools have all of theirs already.
 */
static void pool_grow(struct pool *p) {
    static struct log_rate rate = { .per_second = 1 };
    int rc = 0;

    if (p->front.busy > p->started)
        rc = pool_thread_start(p);
    if (rc < 0)
        log_limited(&rate, LOG_LEVEL_WARN, "cannot start a thread threads=%u error=\"%s\"",
                    p->started, strerrordesc_np(-rc));
}

static void pool_dispatch(struct client *c) {
    struct pool *p = pool_of(c);

    pool_grow(p);
    if (p->started == 0) {
        front_refuse(c, 503, "no thread is left for this request");
        return;
    }
    pthread_mutex_lock(&p->shared.lock);
    TAILQ_INSERT_TAIL(&p->shared.todo, c, queued);
    pthread_cond_signal(&p->shared.work);
    pthread_mutex_unlock(&p->shared.lock);
}

static void pool_thread_cancel(struct pool_thread *thread) {
    uint64_t one = 1;

    thread->cancelled = true;
    if (write(thread->cancel_fd, &one, sizeof(one)) < 0)
        log_write(LOG_LEVEL_ERROR, "cannot cancel error=\"%s\"", strerrordesc_np(errno));
}

/* Under the lock. False when a thread was faster: it is done already. */
static bool pool_take_back(struct pool *p, struct client *c) {
    struct client *each;

    TAILQ_FOREACH(each, &p->shared.todo, queued) {
        if (each == c) {
            TAILQ_REMOVE(&p->shared.todo, c, queued);
            return true;
        }
    }
    return false;
}

/* Not taken by a thread yet, it comes back unserved. */
static void pool_abandon(struct client *c) {
    struct pool *p = pool_of(c);
    bool unserved = false;

    pthread_mutex_lock(&p->shared.lock);
    if (c->task != NULL)
        pool_thread_cancel(c->task);
    else
        unserved = pool_take_back(p, c);
    pthread_mutex_unlock(&p->shared.lock);
    if (unserved)
        front_return(c, session_drop(&c->session, loop_now(p->loop)));
}

/* The eventfd is never read: edge-triggered, it announces every write. */
static void pool_collect(struct watch *w, unsigned what UNUSED) {
    struct pool *p = CONTAINER_OF(w, struct pool, wake);
    struct client_list done;
    struct client *c;

    w->ready &= ~(unsigned)IO_READ;
    TAILQ_INIT(&done);
    pthread_mutex_lock(&p->shared.lock);
    TAILQ_CONCAT(&done, &p->shared.done, queued);
    pthread_mutex_unlock(&p->shared.lock);
    while ((c = TAILQ_FIRST(&done)) != NULL) {
        TAILQ_REMOVE(&done, c, queued);
        front_return(c, c->end);
    }
}

/* --- life ------------------------------------------------------------------------------ */

static int start_threads(struct pool *p, struct error *err) {
    const struct serve_config *config = p->front.worker->config;
    int rc = 0;

    p->threads = mem_calloc((size_t)config->threads, sizeof(*p->threads));
    if (p->threads == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    while (rc == 0 && config->spawn == SPAWN_EAGER && p->started < config->threads)
        rc = pool_thread_start(p);
    return rc < 0 ? error_set(err, rc, "cannot start thread %u of %u: %s", p->started + 1,
                              (unsigned)config->threads, strerrordesc_np(-rc))
                  : 0;
}

static int pool_open(struct pool *p, struct worker *worker, struct error *err) {
    int fd, rc;

    pthread_mutex_init(&p->shared.lock, NULL);
    pthread_cond_init(&p->shared.work, NULL);
    TAILQ_INIT(&p->shared.todo);
    TAILQ_INIT(&p->shared.done);
    p->wake.fd = -1;
    p->loop = loop_new(err);
    if (p->loop == NULL)
        return -EIO;
    p->front = (struct front){ .worker = worker,
                               .loop = p->loop,
                               .slots = (uint32_t)worker->config->threads,
                               .dispatch = pool_dispatch,
                               .abandon = pool_abandon };
    p->signals = signals_new(p->loop, front_signal, &p->front, err);
    if (p->signals == NULL)
        return -EIO;
    signals_enforce();
    fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    rc = fd < 0 ? -errno : watch_open(&p->wake, p->loop, fd, pool_collect);
    if (rc < 0)
        return error_set(err, rc, "cannot make an eventfd: %s", strerrordesc_np(-rc));
    p->wake.ready &= ~(unsigned)IO_READ;
    rc = backends_open(worker, NULL, err);
    if (rc == 0)
        rc = start_threads(p, err);
    if (rc < 0)
        return rc;
    rc = heartbeat_start(&p->heartbeat, p->loop, worker);
    if (rc < 0)
        return error_set(err, rc, "out of memory");
    return front_open(&p->front, err);
}

static void pool_close(struct pool *p, struct worker *worker) {
    pthread_mutex_lock(&p->shared.lock);
    p->shared.closing = true;
    pthread_cond_broadcast(&p->shared.work);
    pthread_mutex_unlock(&p->shared.lock);
    for (unsigned i = 0; i < p->started; i++) {
        pthread_join(p->threads[i].id, NULL);
        close(p->threads[i].cancel_fd);
    }
    mem_free(p->threads);
    if (p->wake.fd >= 0) {
        watch_close(&p->wake);
        close(p->wake.fd);
    }
    signals_hold();
    background_close(worker);
    backends_close(worker);
    heartbeat_stop(&p->heartbeat);
    signals_free(p->signals);
    loop_free(p->loop);
}

static int pool_run(struct worker *worker, struct error *err) {
    struct pool *p = mem_calloc(1, sizeof(*p));
    int rc;

    if (p == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    rc = pool_open(p, worker, err);
    if (rc == 0) {
        background_open(worker);
        rc = front_run(&p->front, err);
    }
    pool_close(p, worker);
    mem_free(p);
    return rc;
}
