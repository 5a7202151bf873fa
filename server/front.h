/* SPDX-License-Identifier: MIT */
/* The event-driven front of a worker: accepts, reads whole requests, parks idle connections.
 *
 *   accept -> READING -(whole request)-> BUSY: the model's dispatch -> front_return -> READING ...
 *                \-(refused)-> LINGERING -> closed
 *
 * Slow and idle clients stay here and hold neither a fiber nor a thread; only complete requests
 * reach the model. */
#ifndef SERVER_FRONT_H
#define SERVER_FRONT_H

#include "net/binds.h"
#include "net/listener.h"
#include "server/session.h"
#include <sys/queue.h>

enum client_state { CLIENT_READING, CLIENT_BUSY, CLIENT_LINGERING, CLIENT_GONE };

struct client {
    struct session session;
    struct watch watch;
    struct timer timer; /* lazy: armed at `deadline` or earlier */
    nsec_t deadline;
    struct front *front;
    struct fiber *fiber; /* of the model, while BUSY */
    struct deferred freeing;
    TAILQ_ENTRY(client) link;
    enum client_state state;
    unsigned lingered_bytes;
};

TAILQ_HEAD(client_list, client);

struct front {
    struct worker *worker;
    struct loop *loop;
    /* A request is complete: serve it, then front_return. Called from the loop or from
     * front_return. */
    void (*dispatch)(struct client *client);
    /* Cancel what serves this client; it must still come back through front_return. */
    void (*abandon)(struct client *client);
    struct acceptor acceptors[BINDS_MAX];
    struct client_list clients;
    struct timer patience; /* of a graceful stop */
    uint32_t count, busy;
    bool stopping;
};

/* Starts accepting on the worker's sockets. 0 or -errno with a reason. */
NODISCARD int front_open(struct front *front, struct error *err);

/* The model is done with a request of this client; `end` is session_serve's result. May dispatch
 * the next, pipelined request. */
void front_return(struct client *client, enum session_end end);

/* Graceful: no new connections, idle ones closed, running requests finished (their answers say
 * close), at most for `patience` nanoseconds; then, or with 0 at once, they are cancelled. The loop
 * stops when all clients are gone. Again: shortens it. */
void front_stop(struct front *front, nsec_t patience);

/* After the loop has stopped. */
void front_close(struct front *front);

#endif
