/* SPDX-License-Identifier: MIT */
/* The list of idle connections, and its end by age, by number and by news. */
#include "net/idle_pool.h"
#include "base/log.h"
#include "net/thread.h"
#include "net/tls.h"
#include "net/watch.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define STACK_BYTES (256 * 1024) /* libraries close connections on it */

static void pool_lock(struct idle_pool *pool) {
    if (pool->config.loop == NULL)
        pthread_mutex_lock(&pool->lock);
}

static void pool_unlock(struct idle_pool *pool) {
    if (pool->config.loop == NULL)
        pthread_mutex_unlock(&pool->lock);
}

static void on_timer(struct timer *timer);

void idle_pool_init(struct idle_pool *pool, const struct idle_pool_config *config) {
    *pool = (struct idle_pool){ .config = *config, .sweep_at = NSEC_NEVER };
    pool->timer.fire = on_timer;
    TAILQ_INIT(&pool->list);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->sooner, NULL);
}

/* --- taking out; under the lock -------------------------------------------------------------- */

static void unlist(struct idle_pool *pool, struct idle *idle) {
    TAILQ_REMOVE(&pool->list, idle, link);
    idle->listed = false;
    pool->count--;
}

/* NULL: none ends before the new sweep_at. */
static struct idle *find_ended(struct idle_pool *pool, nsec_t now) {
    nsec_t next = NSEC_NEVER;
    struct idle *idle;

    TAILQ_FOREACH_REVERSE(idle, &pool->list, idle_list, link) {
        if (now > idle->ends_at)
            return idle;
        next = nsec_min(next, idle->ends_at);
        if (!pool->mixed)
            break;
    }
    pool->sweep_at = next;
    return NULL;
}

/* One that has ended, or is one too many. */
static struct idle *pull_ended(struct idle_pool *pool, nsec_t now) {
    struct idle *idle = NULL;

    if (pool->count > pool->config.count_max)
        idle = TAILQ_LAST(&pool->list, idle_list);
    else if (now > pool->sweep_at)
        idle = find_ended(pool, now);
    if (idle != NULL)
        unlist(pool, idle);
    return idle;
}

static struct idle *pull_newest(struct idle_pool *pool) {
    struct idle *idle = TAILQ_FIRST(&pool->list);

    if (idle == NULL)
        return NULL;
    unlist(pool, idle);
    pool->reused++;
    return idle;
}

/* --- closing --------------------------------------------------------------------------------- */

static void sweep(struct idle_pool *pool, nsec_t now) {
    struct idle *idle;

    for (;;) {
        pool_lock(pool);
        idle = pull_ended(pool, now);
        pool_unlock(pool);
        if (idle == NULL)
            return;
        pool->config.close(pool, idle);
    }
}

/* Wakes up for the first that ends; when that one was taken meanwhile, this is early and looks
 * again. */
static void arm(struct idle_pool *pool) {
    int rc = pool->sweep_at != NSEC_NEVER
                 ? timer_set(pool->config.loop, &pool->timer, deadline_after(pool->sweep_at, 1))
                 : 0;

    if (rc < 0) /* old ones leave at the next take or put, then */
        log_write(LOG_LEVEL_WARN, "no timer for idle connections error=\"%s\"",
                  strerrordesc_np(-rc));
}

static void on_timer(struct timer *timer) {
    struct idle_pool *pool = CONTAINER_OF(timer, struct idle_pool, timer);

    sweep(pool, clock_now());
    arm(pool);
}

static void *reap(void *arg) {
    struct idle_pool *pool = arg;

    pthread_mutex_lock(&pool->lock);
    while (!pool->shut) {
        nsec_t at = deadline_after(pool->sweep_at, 1);
        struct timespec until = { .tv_sec = at / NSEC_PER_SEC, .tv_nsec = at % NSEC_PER_SEC };

        pthread_cond_clockwait(&pool->sooner, &pool->lock, CLOCK_MONOTONIC, &until);
        pthread_mutex_unlock(&pool->lock);
        sweep(pool, clock_now());
        pthread_mutex_lock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Under the lock. One more is there, which may be the first to end. */
static void plan_sweep(struct idle_pool *pool, nsec_t ends_at) {
    bool sooner = ends_at < pool->sweep_at;

    if (sooner)
        pool->sweep_at = ends_at;
    if (pool->config.loop != NULL) {
        if (sooner || !timer_armed(&pool->timer))
            arm(pool);
    } else if (pool->config.reaps && sooner) {
        if (!pool->reaping)
            pool->reaping = thread_start(&pool->reaper, STACK_BYTES, reap, pool) == 0;
        pthread_cond_signal(&pool->sooner);
    }
}

/* --- use ------------------------------------------------------------------------------------- */

static void bury(struct idle_pool *pool, struct idle *idle) {
    pool_lock(pool);
    pool->reused--;
    pool->dead++;
    pool_unlock(pool);
    pool->config.close(pool, idle);
}

struct idle *idle_pool_take(struct idle_pool *pool, nsec_t now) {
    struct idle *ended, *newest;

    for (;;) {
        pool_lock(pool);
        ended = pull_ended(pool, now);
        newest = ended == NULL ? pull_newest(pool) : NULL;
        pool_unlock(pool);
        if (ended != NULL)
            pool->config.close(pool, ended);
        else if (newest == NULL || pool->config.is_quiet == NULL || pool->config.is_quiet(newest))
            return newest;
        else
            bury(pool, newest);
    }
}

void idle_pool_put(struct idle_pool *pool, struct idle *idle, nsec_t now, nsec_t ends_at) {
    bool kept, ended;

    idle->since = now;
    idle->ends_at = nsec_min(ends_at, deadline_after(now, pool->config.span_max));
    pool_lock(pool);
    kept = !pool->shut && pool->config.count_max > 0 && now < idle->ends_at;
    if (kept) {
        TAILQ_INSERT_HEAD(&pool->list, idle, link);
        idle->listed = true;
        pool->count++;
        pool->stored++;
        pool->mixed |= ends_at != NSEC_NEVER;
        plan_sweep(pool, idle->ends_at);
    }
    ended = pool->count > pool->config.count_max || now > pool->sweep_at;
    pool_unlock(pool);
    if (!kept)
        pool->config.close(pool, idle);
    if (ended)
        sweep(pool, now);
}

void idle_pool_expel(struct idle_pool *pool, struct idle *idle) {
    bool listed;

    pool_lock(pool);
    listed = idle->listed;
    if (listed) {
        unlist(pool, idle);
        pool->dead++;
    }
    pool_unlock(pool);
    if (listed)
        pool->config.close(pool, idle);
}

static struct idle *pull_oldest(struct idle_pool *pool, nsec_t since_max) {
    struct idle *idle;

    pool_lock(pool);
    idle = TAILQ_LAST(&pool->list, idle_list);
    if (idle != NULL && idle->since > since_max)
        idle = NULL;
    if (idle != NULL)
        unlist(pool, idle);
    pool_unlock(pool);
    return idle;
}

unsigned idle_pool_drop(struct idle_pool *pool, nsec_t since_max) {
    struct idle *idle;
    unsigned n = 0;

    for (; (idle = pull_oldest(pool, since_max)) != NULL; n++)
        pool->config.close(pool, idle);
    return n;
}

bool idle_socket_is_quiet(int fd) {
    char byte;

    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EINTR);
}

bool idle_watch_is_quiet(struct watch *watch) {
    if (watch->ready & IO_HANGUP)
        return false;
    if (watch->tls != NULL)
        return watch->tls->send_failure == 0 && watch_peek(watch) == -EAGAIN;
    if (!(watch->ready & IO_READ))
        return true;
    if (!idle_socket_is_quiet(watch->fd))
        return false;
    watch_drained(watch, IO_READ);
    return true;
}

/* --- the end --------------------------------------------------------------------------------- */

void idle_pool_shut(struct idle_pool *pool) {
    pool_lock(pool);
    pool->shut = true;
    pthread_cond_signal(&pool->sooner);
    pool_unlock(pool);
    idle_pool_drop(pool, NSEC_NEVER);
}

void idle_pool_end(struct idle_pool *pool) {
    idle_pool_shut(pool);
    if (pool->config.loop != NULL)
        timer_cancel(pool->config.loop, &pool->timer);
    if (pool->reaping)
        pthread_join(pool->reaper, NULL);
    pthread_cond_destroy(&pool->sooner);
    pthread_mutex_destroy(&pool->lock);
}
