/* SPDX-License-Identifier: MIT */
/* The event-driven front of a worker: accepts, reads whole requests, queues them, hands them to the
 * model, writes what is left of answers, parks idle connections. front_stop.h stops it.
 *
 *   accept -> READING -(whole request, a slot is free)--------> BUSY -> front_return -> READING
 *               |  \-(none is)-> QUEUED -(a slot is free)-------^           \-> SENDING -> READING
 *               \-(refused)-> LINGERING -> closed
 *
 * A model with a limited number of slots (threads, async cores) stops accepting while it is full,
 * when there are other workers (server/conn/balance.h). Requests on connections it has already wait
 * in the queue, first in first out; one that finds a bounded queue (max_queue) full is turned down
 * at once.
 *
 * A client that leaves while its request is queued or served takes the request with it. One that
 * only closes its sending side is probed (session_probe).
 *
 * Slow and idle clients stay here and hold neither a fiber nor a thread: only complete requests
 * reach the model, and what a client does not take of its answer at once is sent from here. */
#ifndef SERVER_FRONT_H
#define SERVER_FRONT_H

#include "net/linger.h"
#include "net/watch.h"
#include "server/conn/balance.h"
#include "server/conn/session.h"
#include <sys/queue.h>

struct front;

enum client_state {
    CLIENT_READING,
    CLIENT_QUEUED,
    CLIENT_BUSY,
    CLIENT_SENDING,
    CLIENT_LINGERING,
    CLIENT_GONE
};

/* One client connection. */
struct client {
    struct session session;
    struct watch watch;
    struct timer timer; /* lazy: armed at `deadline` or earlier */
    nsec_t deadline;
    nsec_t probe_at; /* time to probe a half-closed client; else NSEC_NEVER */
    nsec_t probe_by; /* latest time for that, though nobody needs its slot */
    struct front *front;
    void *task;                 /* the model's, while BUSY */
    struct deferred deferred;   /* reads what is left, or frees the memory */
    TAILQ_ENTRY(client) link;   /* in front.clients */
    TAILQ_ENTRY(client) queued; /* while QUEUED; and the model's while BUSY */
    enum client_state state;
    enum session_end end;       /* for models that pass it from another thread */
    struct linger_state linger; /* while LINGERING */
    uint8_t probes;             /* sent for this request */
    bool abandoned;             /* while BUSY: the request was cancelled */
    bool expected;              /* just accepted, no request yet: counted by the balance */
};

TAILQ_HEAD(client_list, client);

struct front {
    struct worker *worker;
    struct loop *loop;
    /* Serves a complete request, then calls front_return. It may do so at once. */
    void (*dispatch)(struct client *client);
    /* Cancels what serves this client; it must still come back through front_return. */
    void (*abandon)(struct client *client);
    struct balance balance;
    uint32_t slots; /* requests served at once; 0 = no limit */
    struct client_list clients;
    struct client_list queue; /* through `queued` */
    struct timer delay;       /* before a graceful stop */
    struct timer patience;    /* ends a graceful stop */
    struct deferred rest;     /* pumps the rest of a long queue */
    uint32_t count;           /* clients */
    uint32_t busy, waiting;   /* requests that are being served, and in the queue */
    uint32_t unsure;          /* among the waiting: half-closed, and not probed yet */
    bool stopping, retiring, pumping;
};

/* Starts accepting on the worker's sockets. 0 or -errno with a reason. */
NODISCARD int front_open(struct front *front, struct error *err);

/* The worker serves from now on, until it was told to stop and its clients are gone. 0 or -errno
 * with a reason. */
NODISCARD int front_run(struct front *front, struct error *err);

/* The model is done with a request of this client; `end` is what session_answer, session_finish or
 * session_drop said. May dispatch the next, pipelined request. */
void front_return(struct client *client, enum session_end end);

/* Answers a dispatched request with an error, from the loop, and takes it back. */
void front_refuse(struct client *client, uint16_t status, const char *why);

/* Cancels what waits and what is served, and closes all other clients. For a stop. */
void front_abandon(struct front *front);

/* Gives clients that have not sent a request yet a moment: they may be about to. For a stop. */
void front_hurry_silent(struct front *front);

#endif
