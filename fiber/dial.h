/* SPDX-License-Identifier: MIT */
/* Connects by callbacks: looks a name up, tries its addresses one after the other, and ends by
 * calling `done`, once.
 *
 *   d->done = on_connected;
 *   dial_begin(d, loop, &endpoint, deadline);      done may come before this returns
 *   dial_cancel(d);                                done does not come any more
 *
 * The memory stays until the turn of the loop that `done` or dial_cancel came in has ended. */
#ifndef FIBER_DIAL_H
#define FIBER_DIAL_H

#include "fiber/resolve.h"
#include "net/watch.h"

struct dialler {
    /* Takes a connected socket, non-blocking, which is its own; or -errno with the reason in
     * `why`. */
    void (*done)(struct dialler *d, int fd);
    struct error why;
    /* Private. */
    struct loop *loop;
    const struct endpoint *to;
    struct lookup *lookup;
    struct watch watch; /* of the look-up, then of the socket that connects */
    struct address *addresses;
    size_t count, next;
    struct timer timer;
};

/* `to` outlives the dial. -ETIMEDOUT when `deadline` passes. */
void dial_begin(struct dialler *d, struct loop *loop, const struct endpoint *to, nsec_t deadline);

/* Safe at any time. */
void dial_cancel(struct dialler *d);

#endif
