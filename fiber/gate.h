/* SPDX-License-Identifier: MIT */
/* Lets a limited number through at the same time; everybody else waits, first in first out.
 *
 *   rc = gate_enter(gate, io, deadline);
 *   if (rc < 0)
 *       return rc;                    not inside
 *   ...                               at most `places` are here
 *   gate_leave(gate);                 the place goes to whoever waits longest
 *
 * A place that becomes free is handed over, so nobody can overtake those who wait. */
#ifndef FIBER_GATE_H
#define FIBER_GATE_H

#include "fiber/io.h"

struct gate;

struct gate_stats {
    uint32_t places, inside, waiting;
    uint64_t waited; /* entered after a wait */
    uint64_t turned; /* gave up: deadline or cancellation */
};

/* With `fiber_io` it belongs to the fibers of that loop, which park; NULL makes it shared between
 * threads, which wait on an eventfd of their own. `places` is 1 at least. NULL when out of memory.
 */
NODISCARD struct gate *gate_new(uint32_t places, struct io_fiber *fiber_io);
void gate_free(struct gate *gate); /* NULL-safe; nobody may be inside or waiting */

/* 0: inside, leave it once. -ETIMEDOUT at the deadline, -ECANCELED; -errno when threads have no
 * descriptor left to wait on. A free place is taken whatever the deadline says. */
NODISCARD int gate_enter(struct gate *gate, struct io *io, nsec_t deadline);
void gate_leave(struct gate *gate);

struct gate_stats gate_stats(struct gate *gate);

#endif
