/* SPDX-License-Identifier: MIT */
/* Many deadlines of one and the same span, in constant time each.
 *
 *     ends.next                       ends.prev
 *     oldest ---> ... ---> ... ---> newest        deadlines never decrease from left to right
 *
 * All have the same span and start when they join: joining is appending, and one timer, for the
 * oldest, is enough. The timer is only moved when it fires, so that a request that ends in time
 * costs no timer work at all. */
#ifndef NET_TIMEOUTS_H
#define NET_TIMEOUTS_H

#include "net/loop.h"

struct timeout {
    struct timeout *prev, *next; /* NULL, NULL when not in a queue */
    nsec_t at;
};

struct timeouts {
    struct timer timer;
    struct loop *loop;
    struct timeout ends; /* next: oldest, prev: newest */
    nsec_t span;
    void (*expired)(struct timeouts *, struct timeout *); /* has already left the queue */
};

/* `span` in nanoseconds. The queue must stay where it is afterwards. */
void timeouts_init(struct timeouts *q, struct loop *loop, nsec_t span,
                   void (*expired)(struct timeouts *, struct timeout *));
void timeouts_close(struct timeouts *q);

/* (Re)starts it: expires at now + span. `now` never decreases between calls. `t` was zeroed before
 * its first use. 0, or -ENOMEM from the timer. */
NODISCARD int timeouts_join(struct timeouts *q, struct timeout *t, nsec_t now);

/* Idempotent. */
void timeouts_leave(struct timeout *t);

#endif
