/* SPDX-License-Identifier: MIT */
/* A semaphore that is fair, has deadlines, and can be waited for by fibers and by threads. */
#include "fiber/gate.h"
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
    bool granted;        /* out of the queue, and inside */
};

struct gate {
    struct io_fiber *fiber_io;
    struct gate_stats stats;
    TAILQ_HEAD(, permit_waiter) queue;
    pthread_mutex_t lock; /* guards all above, when threads share it */
};

static void gate_lock(struct gate *gate) {
    if (gate->fiber_io == NULL)
        pthread_mutex_lock(&gate->lock);
}

static void gate_unlock(struct gate *gate) {
    if (gate->fiber_io == NULL)
        pthread_mutex_unlock(&gate->lock);
}

struct gate *gate_new(uint32_t places, struct io_fiber *fiber_io) {
    struct gate *gate = mem_calloc(1, sizeof(*gate));

    if (gate == NULL)
        return NULL;
    gate->fiber_io = fiber_io;
    gate->stats.places = places;
    TAILQ_INIT(&gate->queue);
    pthread_mutex_init(&gate->lock, NULL);
    return gate;
}

void gate_free(struct gate *gate) {
    if (gate == NULL)
        return;
    ASSERT(gate->stats.inside == 0 && TAILQ_EMPTY(&gate->queue));
    pthread_mutex_destroy(&gate->lock);
    mem_free(gate);
}

/* --- waiting; the lock is held by the caller, and given up meanwhile ------------------------- */

static int wait_as_fiber(struct gate *gate, struct permit_waiter *me, nsec_t deadline) {
    struct fibers *fibers = io_fiber_fibers(gate->fiber_io);
    int rc;

    do
        rc = fiber_park(fibers, deadline);
    while (rc == 0 && !me->granted);
    return rc;
}

/* One write makes the eventfd readable for good: a wait that returns 0 was granted. */
static int wait_as_thread(struct gate *gate, struct permit_waiter *me, struct io *io,
                          nsec_t deadline) {
    int rc;

    gate_unlock(gate);
    rc = io_wait(io, me->event_fd, IO_READ, deadline);
    gate_lock(gate);
    return rc;
}

/* A place that came together with the end of the wait is kept: the next wait will tell. */
static int queue_up(struct gate *gate, struct permit_waiter *me, struct io *io, nsec_t deadline) {
    int rc;

    TAILQ_INSERT_TAIL(&gate->queue, me, link);
    gate->stats.waiting++;
    rc = gate->fiber_io != NULL ? wait_as_fiber(gate, me, deadline)
                                : wait_as_thread(gate, me, io, deadline);
    if (me->granted) {
        gate->stats.waited++;
        return 0;
    }
    TAILQ_REMOVE(&gate->queue, me, link);
    gate->stats.waiting--;
    gate->stats.turned++;
    return rc;
}

static int enter_or_wait(struct gate *gate, struct io *io, struct permit_waiter *me,
                         nsec_t deadline) {
    int rc = 0;

    gate_lock(gate);
    if (gate->stats.inside < gate->stats.places)
        gate->stats.inside++;
    else
        rc = queue_up(gate, me, io, deadline);
    gate_unlock(gate);
    return rc;
}

/* --- public ----------------------------------------------------------------------------------- */

/* Threads see first whether they have to wait: the eventfd is made outside the lock, and rarely. */
static bool enter_at_once(struct gate *gate) {
    bool entered;

    gate_lock(gate);
    entered = gate->stats.inside < gate->stats.places;
    gate->stats.inside += entered;
    gate_unlock(gate);
    return entered;
}

int gate_enter(struct gate *gate, struct io *io, nsec_t deadline) {
    struct permit_waiter me = { .event_fd = -1 };
    int rc;

    if (enter_at_once(gate))
        return 0;
    if (gate->fiber_io != NULL) {
        me.fiber = fiber_self(io_fiber_fibers(gate->fiber_io));
        ASSERT(me.fiber != NULL);
        return enter_or_wait(gate, io, &me, deadline);
    }
    me.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (me.event_fd < 0)
        return -errno;
    rc = enter_or_wait(gate, io, &me, deadline);
    io_close(io, me.event_fd);
    return rc;
}

/* The eventfd lives as long as its owner has not seen `granted` under the lock. */
static void hand_over(struct gate *gate, struct permit_waiter *next) {
    TAILQ_REMOVE(&gate->queue, next, link);
    gate->stats.waiting--;
    next->granted = true;
    if (next->fiber != NULL)
        fiber_wake(next->fiber);
    else
        eventfd_write(next->event_fd, 1);
}

void gate_leave(struct gate *gate) {
    struct permit_waiter *next;

    gate_lock(gate);
    ASSERT(gate->stats.inside > 0);
    next = TAILQ_FIRST(&gate->queue);
    if (next != NULL)
        hand_over(gate, next);
    else
        gate->stats.inside--;
    gate_unlock(gate);
}

struct gate_stats gate_stats(struct gate *gate) {
    struct gate_stats stats;

    gate_lock(gate);
    stats = gate->stats;
    gate_unlock(gate);
    return stats;
}
