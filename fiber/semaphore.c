/* SPDX-License-Identifier: MIT */
/* A semaphore that is fair, has deadlines, and can be waited for by fibers and by threads. */
#include "fiber/semaphore.h"
#include "base/alloc.h"
#include "base/assert.h"
#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/queue.h>

/* On the stack of whoever waits. */
struct permit_waiter {
    TAILQ_ENTRY(permit_waiter) link;
    struct fiber *fiber; /* NULL for a thread */
    int event_fd;        /* a thread's */
    bool granted;        /* out of the queue, with a permit */
};

struct semaphore {
    struct io_fiber *fiber_io;
    struct semaphore_stats stats;
    TAILQ_HEAD(, permit_waiter) queue;
    pthread_mutex_t lock; /* guards all above, when threads share it */
};

static void semaphore_lock(struct semaphore *semaphore) {
    if (semaphore->fiber_io == NULL)
        pthread_mutex_lock(&semaphore->lock);
}

static void semaphore_unlock(struct semaphore *semaphore) {
    if (semaphore->fiber_io == NULL)
        pthread_mutex_unlock(&semaphore->lock);
}

struct semaphore *semaphore_new(uint32_t permits, struct io_fiber *fiber_io) {
    struct semaphore *semaphore = mem_calloc(1, sizeof(*semaphore));

    if (semaphore == NULL)
        return NULL;
    semaphore->fiber_io = fiber_io;
    semaphore->stats.permits = permits;
    TAILQ_INIT(&semaphore->queue);
    pthread_mutex_init(&semaphore->lock, NULL);
    return semaphore;
}

void semaphore_free(struct semaphore *semaphore) {
    if (semaphore == NULL)
        return;
    ASSERT(semaphore->stats.taken == 0 && TAILQ_EMPTY(&semaphore->queue));
    pthread_mutex_destroy(&semaphore->lock);
    mem_free(semaphore);
}

/* --- waiting; the lock is held by the caller, and given up meanwhile ------------------------- */

static int wait_as_fiber(struct semaphore *semaphore, struct permit_waiter *me, nsec_t deadline) {
    struct fibers *fibers = io_fiber_fibers(semaphore->fiber_io);
    int rc;

    do
        rc = fiber_park(fibers, deadline);
    while (rc == 0 && !me->granted);
    return rc;
}

/* One write makes the eventfd readable for good: a wait that returns 0 was granted. */
static int wait_as_thread(struct semaphore *semaphore, struct permit_waiter *me, struct io *io,
                          nsec_t deadline) {
    int rc;

    semaphore_unlock(semaphore);
    rc = io_wait(io, me->event_fd, IO_READ, deadline);
    semaphore_lock(semaphore);
    return rc;
}

/* A permit that came together with the end of the wait is kept: the next wait will tell. */
static int queue_up(struct semaphore *semaphore, struct permit_waiter *me, struct io *io,
                    nsec_t deadline) {
    int rc;

    TAILQ_INSERT_TAIL(&semaphore->queue, me, link);
    semaphore->stats.waiting++;
    rc = semaphore->fiber_io != NULL ? wait_as_fiber(semaphore, me, deadline)
                                     : wait_as_thread(semaphore, me, io, deadline);
    if (me->granted) {
        semaphore->stats.waited++;
        return 0;
    }
    TAILQ_REMOVE(&semaphore->queue, me, link);
    semaphore->stats.waiting--;
    semaphore->stats.turned++;
    return rc;
}

static int take_or_wait(struct semaphore *semaphore, struct io *io, struct permit_waiter *me,
                        nsec_t deadline) {
    int rc = 0;

    semaphore_lock(semaphore);
    if (semaphore->stats.taken < semaphore->stats.permits)
        semaphore->stats.taken++;
    else
        rc = queue_up(semaphore, me, io, deadline);
    semaphore_unlock(semaphore);
    return rc;
}

/* --- public ----------------------------------------------------------------------------------- */

/* Threads see first whether they have to wait: the eventfd is made outside the lock, and rarely. */
static bool take_at_once(struct semaphore *semaphore) {
    bool took;

    semaphore_lock(semaphore);
    took = semaphore->stats.taken < semaphore->stats.permits;
    semaphore->stats.taken += took;
    semaphore_unlock(semaphore);
    return took;
}

int semaphore_acquire(struct semaphore *semaphore, struct io *io, nsec_t deadline) {
    struct permit_waiter me = { .event_fd = -1 };
    int rc;

    if (take_at_once(semaphore))
        return 0;
    if (semaphore->fiber_io != NULL) {
        me.fiber = fiber_self(io_fiber_fibers(semaphore->fiber_io));
        ASSERT(me.fiber != NULL);
        return take_or_wait(semaphore, io, &me, deadline);
    }
    me.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (me.event_fd < 0)
        return -errno;
    rc = take_or_wait(semaphore, io, &me, deadline);
    io_close(io, me.event_fd);
    return rc;
}

/* The eventfd lives as long as its owner has not seen `granted` under the lock. */
static void hand_over(struct semaphore *semaphore, struct permit_waiter *next) {
    TAILQ_REMOVE(&semaphore->queue, next, link);
    semaphore->stats.waiting--;
    next->granted = true;
    if (next->fiber != NULL)
        fiber_wake(next->fiber);
    else
        eventfd_write(next->event_fd, 1);
}

void semaphore_release(struct semaphore *semaphore) {
    struct permit_waiter *next;

    semaphore_lock(semaphore);
    ASSERT(semaphore->stats.taken > 0);
    next = TAILQ_FIRST(&semaphore->queue);
    if (next != NULL)
        hand_over(semaphore, next);
    else
        semaphore->stats.taken--;
    semaphore_unlock(semaphore);
}

struct semaphore_stats semaphore_stats(struct semaphore *semaphore) {
    struct semaphore_stats stats;

    semaphore_lock(semaphore);
    stats = semaphore->stats;
    semaphore_unlock(semaphore);
    return stats;
}
