/* SPDX-License-Identifier: MIT */
/* How many connections each of the processes has that accept from the same sockets.
 *
 *     crowd = crowd_new(processes);         before fork
 *     crowd_enter(&place, crowd, index);    in each of them
 *     crowd_count(&place, 1);               a connection came; -1: it has gone
 *     if (crowd_is_ahead(&place, now))      before an accept: the others go first,
 *         crowd_waited(&place, ...);        ... and a moment later this one may accept again
 *     crowd_leave(&place);
 *
 * A process is ahead when it has more than one and a half times what the others have on average,
 * and two: so a burst is dealt out evenly enough, and nobody waits for others because of a chance
 * difference. A process that has waited accepts one connection; when some wait still, because the
 * others hang, are stopped or have more to do than they can, twice as many as the last time. So
 * connections wait for processes that do not come a few times, not each of them; how many the
 * others take says nothing about that, since they may be ahead of one that hangs themselves. */
#ifndef NET_CROWD_H
#define NET_CROWD_H

#include "base/attr.h"
#include "base/clock.h"
#include <stdatomic.h>
#include <stdbool.h>

/* The moment for which a process that is ahead lets the others go first. */
#define CROWD_WAIT_NSEC (20 * NSEC_PER_MSEC)

/* The time after which what a wait in vain allowed is cut down: the others may have come back. */
#define CROWD_FREE_NSEC (200 * NSEC_PER_MSEC)
enum { CROWD_FREE_LATER = 8 };

struct crowd;

/* One process. NULL stands for one without others: all of the below does nothing then. */
struct crowd_place {
    struct crowd *crowd;
    unsigned index;
    unsigned credit;   /* connections to accept after the next wait in vain */
    unsigned free;     /* connections to accept although it is ahead */
    nsec_t free_until; /* time at which those are cut down */
};

/* Memory that processes forked from now on share, for `count` (at least 1) of them. NULL when out
 * of memory. */
NODISCARD struct crowd *crowd_new(unsigned count);
void crowd_free(struct crowd *crowd); /* NULL-safe */

/* Takes the index-th place (from 0, below the count), whose last owner has gone. */
void crowd_enter(struct crowd_place *place, struct crowd *crowd, unsigned index);

/* Accepts no more. */
void crowd_leave(const struct crowd_place *place);

/* Tells whether the process accepts at present: one that is full does not. */
void crowd_accepts(const struct crowd_place *place, bool accepts);

/* Counts connections: 1 or -1. From any thread. */
void crowd_count(const struct crowd_place *place, int change);

/* Whether the others are to accept first. To be asked once before each connection. */
NODISCARD bool crowd_is_ahead(struct crowd_place *place, nsec_t now);

/* Whether it would have to wait still: connections that end meanwhile end a wait early. */
NODISCARD bool crowd_is_still_ahead(const struct crowd_place *place);

/* The others had their moment: `in_vain`, connections wait still. */
void crowd_waited(struct crowd_place *place, nsec_t now, bool in_vain);

#endif
