/* SPDX-License-Identifier: MIT */
/* The pool of idle keep-alive connections: newest on top, the oldest leave first. */
#include "fiber/connpool.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct idle {
    struct idle *newer, *older; /* `older` also links the spare ones */
    struct connpool *pool;
    nsec_t since;
    int fd; /* -1 when spare */
    uint32_t uses;
};

/*  newest <-> ... <-> oldest: taken and put on the left, expired and evicted on the right */
struct connpool {
    struct connpool_config config;
    struct connpool_stats stats;
    struct idle *newest, *oldest, *spare;
    struct io_fiber *fiber_io; /* NULL: shared between threads, `lock` counts */
    pthread_mutex_t lock;
    struct timer expiry; /* lazy: not later than what the oldest needs; fibers only */
    uint32_t touched;    /* of the entries; the others cost no memory yet */
    struct idle entries[];
};

static void pool_lock(struct connpool *pool) {
    if (pool->fiber_io == NULL)
        pthread_mutex_lock(&pool->lock);
}

static void pool_unlock(struct connpool *pool) {
    if (pool->fiber_io == NULL)
        pthread_mutex_unlock(&pool->lock);
}

static void close_fd(struct connpool *pool, int fd) {
    if (pool->fiber_io != NULL)
        io_close(io_fiber_io(pool->fiber_io), fd);
    else
        close(fd);
}

/* --- the list; under the lock --------------------------------------------------------------- */

static void push(struct connpool *pool, struct idle *entry) {
    entry->newer = NULL;
    entry->older = pool->newest;
    *(pool->newest != NULL ? &pool->newest->newer : &pool->oldest) = entry;
    pool->newest = entry;
    pool->stats.idle++;
}

/* Takes it out and returns its descriptor; the entry is spare afterwards. */
static int pull(struct connpool *pool, struct idle *entry) {
    int fd = entry->fd;

    *(entry->newer != NULL ? &entry->newer->older : &pool->newest) = entry->older;
    *(entry->older != NULL ? &entry->older->newer : &pool->oldest) = entry->newer;
    pool->stats.idle--;

    entry->fd = -1;
    entry->older = pool->spare;
    pool->spare = entry;
    return fd;
}

static bool expired(const struct connpool *pool, const struct idle *entry, nsec_t now) {
    return now > deadline_after(entry->since, pool->config.idle_span_max);
}

static void close_expired(struct connpool *pool, nsec_t now) {
    while (pool->oldest != NULL && expired(pool, pool->oldest, now))
        close_fd(pool, pull(pool, pool->oldest));
}

/* --- watching (fibers) ---------------------------------------------------------------------- */

/* Wakes up for the oldest. When that one was taken meanwhile, it fires early and looks again. */
static void arm_expiry(struct connpool *pool) {
    if (pool->fiber_io == NULL || pool->oldest == NULL || timer_armed(&pool->expiry))
        return;

    nsec_t at = deadline_after(pool->oldest->since, pool->config.idle_span_max);
    int rc = timer_set(io_fiber_loop(pool->fiber_io), &pool->expiry, deadline_after(at, 1));
    if (rc != 0) /* then they expire at the next take or put */
        log_write(LOG_LEVEL_WARN, "no timer for idle connections error=\"%s\"", strerror(-rc));
}

static void on_expiry(struct timer *timer) {
    struct connpool *pool = CONTAINER_OF(timer, struct connpool, expiry);

    close_expired(pool, clock_now());
    arm_expiry(pool);
}

/* Whether nothing came while it was idle, neither bytes nor the end. */
static bool is_quiet(int fd) {
    char byte;

    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EINTR);
}

/* The watch outlives a take until the connection's next wait: then the entry is spare, or holds
 * another one. */
static void on_idle_event(void *arg, int fd) {
    struct idle *entry = arg;
    struct connpool *pool = entry->pool;

    if (entry->fd != fd)
        return;
    pull(pool, entry);
    pool->stats.dead++;
    close_fd(pool, fd);
}

/* --- public --------------------------------------------------------------------------------- */

struct connpool *connpool_new(const struct connpool_config *config, struct io_fiber *fiber_io) {
    struct connpool *pool =
        mem_calloc(1, sizeof(*pool) + (size_t)config->idle_count_max * sizeof(pool->entries[0]));
    if (pool == NULL)
        return NULL;

    pool->config = *config;
    pool->fiber_io = fiber_io;
    pool->expiry.fire = on_expiry;
    pthread_mutex_init(&pool->lock, NULL);
    return pool;
}

void connpool_free(struct connpool *pool) {
    if (pool == NULL)
        return;

    if (pool->fiber_io != NULL)
        timer_cancel(io_fiber_loop(pool->fiber_io), &pool->expiry);
    while (pool->newest != NULL)
        close_fd(pool, pull(pool, pool->newest));
    pthread_mutex_destroy(&pool->lock);
    mem_free(pool);
}

/* The newest descriptor that is young enough, or -ENOENT. */
static int pop(struct connpool *pool, nsec_t now, uint32_t *ret_uses) {
    int fd = -ENOENT;

    pool_lock(pool);
    close_expired(pool, now);
    if (pool->newest != NULL) {
        *ret_uses = pool->newest->uses;
        fd = pull(pool, pool->newest);
        pool->stats.reused++;
    }
    pool_unlock(pool);
    return fd;
}

int connpool_take(struct connpool *pool, nsec_t now, uint32_t *ret_uses) {
    for (;;) {
        int fd = pop(pool, now, ret_uses);
        if (fd < 0 || pool->fiber_io != NULL || is_quiet(fd))
            return fd;

        close_fd(pool, fd);
        pool_lock(pool);
        pool->stats.reused--;
        pool->stats.dead++;
        pool_unlock(pool);
    }
}

static void make_spare(struct connpool *pool) {
    struct idle *entry = &pool->entries[pool->touched];

    if (pool->touched == pool->config.idle_count_max) {
        close_fd(pool, pull(pool, pool->oldest));
        return;
    }
    *entry = (struct idle){ .pool = pool, .fd = -1 };
    pool->spare = entry;
    pool->touched++;
}

/* Stores it, or says false: then it is the caller's to close. */
static bool store(struct connpool *pool, int fd, uint32_t uses, nsec_t now) {
    if (pool->config.idle_count_max == 0)
        return false;
    if (pool->spare == NULL)
        make_spare(pool);
    struct idle *entry = pool->spare;
    if (pool->fiber_io != NULL && io_fiber_idle(pool->fiber_io, fd, on_idle_event, entry) != 0)
        return false;

    pool->spare = entry->older;
    entry->fd = fd;
    entry->uses = uses;
    entry->since = now;
    push(pool, entry);
    pool->stats.stored++;
    return true;
}

void connpool_put(struct connpool *pool, int fd, uint32_t uses, nsec_t now) {
    ASSERT(fd >= 0);

    pool_lock(pool);
    close_expired(pool, now);
    bool stored = store(pool, fd, uses, now);
    pool_unlock(pool);

    if (stored)
        arm_expiry(pool);
    else
        close_fd(pool, fd);
}

struct connpool_stats connpool_stats(struct connpool *pool) {
    pool_lock(pool);
    struct connpool_stats stats = pool->stats;
    pool_unlock(pool);
    return stats;
}
