/* SPDX-License-Identifier: MIT */
/* The balance of new connections among the workers of a server.
 *
 * A new connection wakes one idle worker, the first in a queue (net/acceptor.h). A worker goes to
 * the end of it when it has accepted a connection beside others, and when its only one turns out to
 * be kept: so connections that stay are dealt out evenly, and a trickle of short ones stays with
 * one worker. A worker that has more than its share lets the others go first (net/crowd.h). A
 * worker with slots stands in the queue only while it has a slot for one more: a
 * connection counts as a request from its start to its first request, at the longest for
 * SERVER_EXPECT_NSEC, so that a burst of connections is dealt out by slots although no request has
 * arrived yet. A full worker leaves new connections to the others and to the backlog. The others
 * may be full, too, so it looks at the backlog after a while. With a bounded queue, in length or in
 * time, it takes what it finds there, if only to turn it down. Without one it takes one connection,
 * and only if a slot went from one of its connections to another since: these would lock out all
 * new ones. */
#ifndef SERVER_BALANCE_H
#define SERVER_BALANCE_H

#include "net/acceptor.h"
#include "net/listeners.h"
#include "server/worker.h"

struct balance {
    const struct worker *worker;
    struct loop *loop;
    struct acceptor acceptors[LISTENERS_MAX];
    struct timer look; /* at the backlog, while full */
    uint32_t slots;    /* requests served at once; 0 = no limit */
    uint32_t used;     /* slots, and requests that wait for one */
    uint32_t expected; /* connections that are about to send their first request */
    bool on;           /* there are slots, and other workers */
    bool reused;       /* while full: a slot went from one of its connections to another */
    bool learns;       /* whether connections had better wait for their first bytes */
    bool closed;
    unsigned prompt;        /* connections that brought theirs, as far as they count */
    unsigned prompt_needed; /* for them to wait */
    nsec_t deferred_at;     /* time at which their wait was first seen; 0: none is */
};

/* Starts accepting on the worker's sockets: `accepted` gets the descriptor, and the balance as
 * acceptor->arg. 0 or -errno. */
NODISCARD int balance_open(struct balance *b, const struct worker *worker, struct loop *loop,
                           uint32_t slots,
                           void (*accepted)(struct acceptor *, int fd, const struct address *));

/* Accepts no more. */
void balance_close(struct balance *b);

/* A connection was accepted, which makes `count`; the only one of `count` was answered and kept. */
void balance_accepted(struct balance *b, uint32_t count);
void balance_kept(struct balance *b, uint32_t count);

/* A connection, which was counted among the worker's (crowd_count), has ended. */
void balance_left(struct balance *b);

/* A connection was accepted from the listener with that index, with its first bytes or without.
 * Learns from that whether TCP connections had better wait for their bytes in the kernel, so that
 * one wake-up serves both: they do when a number of them has brought theirs, until one comes
 * without, which doubles the number; but not one that was made before, as those of the first
 * moment may be. The socket is shared, and so is what one worker decides. */
void balance_came(struct balance *b, unsigned listener, bool with_bytes);

/* A new connection is about to send a request; it has sent one, or had its moment. Without
 * `balance->on` neither is needed. */
void balance_expect(struct balance *b);
void balance_settle(struct balance *b);

/* Tells how many slots are used, and waited for, from now on. `goes_on`: a request was answered, or
 * read after an answer. A worker that is full now was so before it could accept, and a slot went
 * from one of its connections to another. */
void balance_use(struct balance *b, uint32_t used, bool goes_on);

#endif
