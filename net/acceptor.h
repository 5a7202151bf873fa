/* SPDX-License-Identifier: MIT */
/* Accepting connections on a loop. */
#ifndef NET_ACCEPTOR_H
#define NET_ACCEPTOR_H

#include "net/address.h"
#include "net/crowd.h"
#include "net/loop.h"
#include <event2/event.h>
#include <event2/event_struct.h>

/* A listener of several processes is `shared`: a new connection wakes one of those that sleep, the
 * first in a queue. A process that has something to do besides lets the others go first
 * (acceptor_yield): so connections that stay are dealt out in turns, while a trickle of short ones
 * wakes the same process, whose caches are warm. A process that has more connections than its share
 * (net/crowd.h) leaves the queue for a moment: in a burst the others are still waking up. Its
 * connections that end meanwhile may end the moment (acceptor_look_again). A process that leaves
 * the queue, because it is full, ahead or stops, hands on what has woken it.
 *
 * `accepted` gets a non-blocking, close-on-exec descriptor that it owns. Bounded per turn for
 * fairness. Out of descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM): logged (rate limited),
 * accepting pauses and is tried again, no spin. */
struct acceptor {
    struct event event;
    struct loop *loop;
    struct timer pause;
    int fd;
    unsigned burst; /* connections accepted per turn */
    bool running, shared;
    bool waits;        /* for others, because it was ahead of them */
    nsec_t pause_span; /* length of the back-off; 0 after a success */
    void (*accepted)(struct acceptor *, int fd, const struct address *peer);
    bool (*may_accept)(struct acceptor *); /* asked before each; NULL: it always may */
    struct crowd_place *place;             /* of the process among others; NULL: none */
    void *arg;
};

/* Starts accepting from a listening socket, at most `burst` connections per turn; among others
 * (`shared`) one, so that each gets its share. 0 or -errno. */
NODISCARD int acceptor_open(struct acceptor *a, struct loop *loop, int listen_fd, unsigned burst,
                            bool shared,
                            void (*accepted)(struct acceptor *, int, const struct address *),
                            void *arg);

/* Stops and restarts: a worker that is full leaves new connections to the others. Idempotent. */
void acceptor_pause(struct acceptor *a);
void acceptor_resume(struct acceptor *a);

/* A connection has ended: who waits for others may be no longer ahead of them. */
void acceptor_look_again(struct acceptor *a);

/* Among others: goes to the end of the queue. */
void acceptor_yield(struct acceptor *a);

/* Accepts what waits right now, at most `burst`, also while paused. */
void acceptor_glance(struct acceptor *a, unsigned burst);

/* Does not close the listening socket. Inside `accepted`, free the acceptor's memory through
 * loop_defer. */
void acceptor_close(struct acceptor *a);

#endif
