/* SPDX-License-Identifier: MIT */
/* A semaphore: a limited number of permits; who finds none waits, first in first out.
 *
 *   rc = semaphore_acquire(semaphore, io, deadline);
 *   if (rc < 0)
 *       return rc;                    without a permit
 *   ...                               at most `permits` are here
 *   semaphore_release(semaphore);     the permit goes to whoever waits longest
 *
 * A permit that becomes free is handed over, so nobody can overtake those who wait. */
#ifndef FIBER_SEMAPHORE_H
#define FIBER_SEMAPHORE_H

#include "fiber/io.h"

struct semaphore;

struct semaphore_stats {
    uint32_t permits, taken, waiting;
    uint64_t waited; /* acquired after a wait */
    uint64_t turned; /* gave up: deadline or cancellation */
};

/* With `fiber_io` it belongs to the fibers of that loop, which park; NULL makes it shared between
 * threads, which wait on an eventfd of their own. `permits` is 1 at least. NULL when out of memory.
 */
NODISCARD struct semaphore *semaphore_new(uint32_t permits, struct io_fiber *fiber_io);
void semaphore_free(struct semaphore *semaphore); /* NULL-safe; nobody may hold a permit or wait */

/* 0: release it once. -ETIMEDOUT at the deadline, -ECANCELED; -errno when threads have no
 * descriptor left to wait on. A free permit is taken whatever the deadline says. */
NODISCARD int semaphore_acquire(struct semaphore *semaphore, struct io *io, nsec_t deadline);
void semaphore_release(struct semaphore *semaphore);

/* Counts of now, for tests: waiting cannot be seen from outside. */
struct semaphore_stats semaphore_stats(struct semaphore *semaphore);

#endif
