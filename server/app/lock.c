/* SPDX-License-Identifier: MIT */
/* A lock is a semaphore of one permit, made at its first use: only then it is known whether fibers
 * or threads wait. */
#include "server/app/lock.h"
#include "base/alloc.h"
#include "base/log.h"
#include "fiber/semaphore.h"
#include <assert.h>
#include <errno.h>
#include <stdatomic.h>

struct lock {
    struct semaphore *semaphore;
    struct srv_request *_Atomic holder;
    struct lock *next_held; /* by the same request */
    struct lock *next;      /* of the worker */
};

static_assert(sizeof(struct srv_mutex) >= sizeof(_Atomic(struct lock *)), "it holds a pointer");

static _Atomic(struct lock *) *slot_of(struct srv_mutex *mutex) {
    return (void *)mutex->opaque;
}

static void lock_free(struct lock *lock) {
    if (lock != NULL)
        semaphore_free(lock->semaphore);
    mem_free(lock);
}

static struct lock *lock_new(struct io_fiber *fiber_io) {
    struct lock *lock = mem_calloc(1, sizeof(*lock));

    if (lock != NULL)
        lock->semaphore = semaphore_new(1, fiber_io);
    if (lock != NULL && lock->semaphore != NULL)
        return lock;
    lock_free(lock);
    return NULL;
}

/* Makes the lock unless another thread is faster. NULL without memory. */
static struct lock *find_or_make(struct srv_request *rq, struct srv_mutex *mutex) {
    struct srv_worker *own = srv_worker_of(rq);
    struct lock *lock = atomic_load(slot_of(mutex)), *expected = NULL;

    if (lock != NULL)
        return lock;
    lock = lock_new(rq->session->worker->fiber_io);
    if (lock == NULL)
        return NULL;
    if (!atomic_compare_exchange_strong(slot_of(mutex), &expected, lock)) {
        lock_free(lock);
        return expected;
    }
    lock->next = atomic_load(&own->locks);
    while (!atomic_compare_exchange_weak(&own->locks, &lock->next, lock))
        continue;
    return lock;
}

int srv_lock(struct srv_request *rq, struct srv_mutex *mutex) {
    struct lock *lock = rq->failed == 0 ? find_or_make(rq, mutex) : NULL;
    int rc;

    if (lock == NULL)
        return request_stick(rq, -ENOMEM);
    if (atomic_load(&lock->holder) == rq)
        return srv_fail(rq, 500, "the handler locks what it has locked");
    rc = semaphore_acquire(lock->semaphore, rq->io, rq->deadline);
    if (rc < 0)
        return request_stick(rq, rc);
    atomic_store(&lock->holder, rq);
    lock->next_held = rq->held;
    rq->held = lock;
    return 0;
}

void srv_unlock(struct srv_request *rq, struct srv_mutex *mutex) {
    struct lock *lock = atomic_load(slot_of(mutex)), **at = &rq->held;

    if (lock == NULL || atomic_load(&lock->holder) != rq)
        return;
    while (*at != lock)
        at = &(*at)->next_held;
    *at = lock->next_held;
    atomic_store(&lock->holder, NULL);
    semaphore_release(lock->semaphore);
}

void lock_release_all(struct srv_request *rq) {
    static struct log_rate rate = { .per_second = 1 };
    struct lock *lock;

    while ((lock = rq->held) != NULL) {
        log_limited(&rate, LOG_LEVEL_WARN, "the handler has left a mutex locked");
        rq->held = lock->next_held;
        atomic_store(&lock->holder, NULL);
        semaphore_release(lock->semaphore);
    }
}

void lock_free_all(struct srv_worker *own) {
    struct lock *lock = atomic_exchange(&own->locks, NULL), *next;

    for (; lock != NULL; lock = next) {
        next = lock->next;
        lock_free(lock);
    }
}
