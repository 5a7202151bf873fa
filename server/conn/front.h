/* SPDX-License-Identifier: MIT */
/* The event-driven front of a worker: accepts, reads whole requests, parks idle connections.
 *
 *   accept -> READING -(whole request)-> QUEUED -(a slot is free)-> BUSY -> front_return -> READING
 *                \-(refused)-> LINGERING -> closed                           \-> SENDING -> READING
 *
 * A model with a limited number of slots (threads, async cores) stops accepting while it is full,
 * when there are other workers: new connections go to one that has room ("balance among workers" in
 * front.c). Requests on connections it has already wait in the queue, first in first out; one that
 * finds a bounded queue (max_queue) full is turned down at once.
 *
 * A client that leaves while its request is queued or served takes the request with it. One that
 * only closes its sending side is asked whether it is still there (session_ask).
 *
 * Slow and idle clients stay here and hold neither a fiber nor a thread: only complete requests
 * reach the model, and what a client does not take of its answer at once is sent from here. */
#ifndef SERVER_FRONT_H
#define SERVER_FRONT_H

#include "net/acceptor.h"
#include "net/binds.h"
#include "server/conn/client.h"

struct front {
    struct worker *worker;
    struct loop *loop;
    /* A request is complete: serve it, then front_return. It may come back at once. */
    void (*dispatch)(struct client *client);
    /* Cancel what serves this client; it must still come back through front_return. */
    void (*abandon)(struct client *client);
    struct acceptor acceptors[BINDS_MAX];
    uint32_t slots; /* requests served at once; 0 = no limit */
    struct client_list clients;
    struct client_list queue; /* through `queued` */
    struct timer delay;       /* before a graceful stop */
    struct timer patience;    /* of a graceful stop */
    struct timer glance;      /* of a full worker among others: at the backlog */
    struct deferred later;    /* the rest of a long queue */
    uint32_t count;           /* of clients */
    uint32_t busy, waiting;   /* requests that are being served, and in the queue */
    uint32_t doubted;         /* of the waiting: client_is_doubted */
    uint32_t fresh;           /* clients that are expected to send a request at any moment */
    bool passed_on;           /* while full: a slot went from one of its connections to another */
    bool stopping, retiring, pumping;
};

/* Starts accepting on the worker's sockets. 0 or -errno with a reason. */
NODISCARD int front_open(struct front *front, struct error *err);

/* The worker serves from now on, until it was told to stop and its clients are gone; then as
 * front_close. 0 or -errno with a reason. */
NODISCARD int front_run(struct front *front, struct error *err);

/* The model is done with a request of this client; `end` is request_serve's result. May dispatch
 * the next, pipelined request. */
void front_return(struct client *client, enum session_end end);

/* Graceful: no new connections; running requests are finished, and idle connections stay until
 * their next request or until their keep-alive runs out, so that no request is lost. Answers say
 * close. At most for `patience` nanoseconds; then, or with 0 at once, all is cancelled. The loop
 * stops when all clients are gone. Again: shortens it. */
void front_stop(struct front *front, nsec_t patience);

/* The same for the graceful time-out, while a successor accepts on the same sockets. */
void front_retire(struct front *front);

/* For signals_new, whose argument is the front. RETIRE as above. TERM: graceful, as long as the
 * configuration says; a second one, INT, QUIT: at once. */
void front_signal(void *front, int signo);

/* Answers a dispatched request with an error, from the loop, and takes it back. */
void front_refuse(struct client *client, uint16_t status, const char *why);

/* After the loop has stopped. */
void front_close(struct front *front);

/* --- for server/conn/client.c ---------------------------------------------------- */

/* A client came, or closed. */
void front_remember(struct client *client);
void front_forget(struct client *client);

/* Its request is complete: it is served, queued, or turned down. */
void front_enqueue(struct client *client);
void front_dequeue(struct client *client);

/* Requests wait for others to end: for a slot, for a place among the calls of the upstream, or for
 * a database connection. */
bool front_is_short(const struct front *front);

/* It has waited in the queue for too long: turned down. */
void front_expire(struct client *client);

/* The balance among workers, whose rules stand in front.c. A new connection is about to send a
 * request; it has sent one, or had its moment; it is kept after its first answer; a request was
 * answered, or read after an answer. */
void front_expect_request(struct client *client);
void front_settle(struct client *client);
void front_keep(struct front *front);
void front_pass_on(struct front *front);

#endif
