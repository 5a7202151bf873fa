/* SPDX-License-Identifier: MIT */
/* A connection and the request on it: one small struct, whatever it waits for; and what the
 * connections of a worker share.
 *
 *         first byte    whole head      whole request    due           written
 *   IDLE ----------> HEAD ---------> BODY ----------> SLEEP ---> (answer) ------> IDLE, or closed
 *                      |              |                            |  socket full
 *                      +----- bad ----+--------------> (answer)    +--> SEND --> the same
 *                                                         |  the client may still be sending
 *                                                         +--> LINGER --> closed
 *
 * An answer that opens a WebSocket leads to SOCKET instead of IDLE. A head that comes whole goes
 * from IDLE to BODY. A fault may let a connection HANG instead: asleep until its client leaves, or,
 * before anything is read, for a while and then IDLE. */
#ifndef SLOWAPI_WORKER_H
#define SLOWAPI_WORKER_H

#include "base/buf.h"
#include "http/conn.h"
#include "net/acceptor.h"
#include "net/address.h"
#include "net/linger.h"
#include "net/watch.h"
#include "slowapi/limits.h"
#include "slowapi/plan.h"
#include "slowapi/reply.h"
#include "slowapi/secure.h"

struct logger;
struct relay_worker;
struct slow_upstream;

struct slow_listener {
    struct acceptor acceptor;
    struct timer resume; /* the end of a slow accept */
};

/* One loop, and everything that its connections share. */
struct slow_worker {
    const struct slowapi_config *config;
    struct listeners *sockets;
    const struct slow_secure *secure; /* for the addresses that speak TLS */
    struct loop *loop;
    struct signals *signals;
    struct crowd_place *place; /* among the workers; NULL: it is alone */
    struct slow_listener listeners[LISTENERS_MAX];
    size_t listener_count;
    struct control *control;    /* NULL without --control */
    struct relay_worker *relay; /* NULL without --tcp */
    struct logger *access_log;  /* NULL: none */
    struct timer supervise;     /* the next look after the logger, in a process without a master */
    struct timer grace;         /* the end of patience with a graceful stop */

    struct slow_upstream *upstream; /* the service behind; NULL: none */
    struct planner planner;
    struct http_limits limits, usual; /* usual: when `limits` are lenient */
    struct slow_conn *conns;          /* all that are open, newest first */
    size_t open_count;
    bool draining; /* no new connections; the rest answers and closes */
    bool retiring; /* draining, and idle connections may still ask once */

    /* Used within one callback only, so that a connection that waits owns neither. */
    struct buf out;
    char in[SLOWAPI_RECV_BYTES];
};

/* A yield lets the other workers accept first: connections that have come stay in the backlog. */
void each_acceptor(struct slow_worker *w, void (*act)(struct acceptor *));

enum slow_conn_state {
    CONN_IDLE,   /* nothing of a request has come; owns no buffer */
    CONN_HEAD,   /* `in` holds an incomplete head */
    CONN_BODY,   /* the request is planned; its body is thrown away as it comes */
    CONN_SOCKET, /* a WebSocket that is open; the states up to here take input */
    CONN_PACED,  /* BODY, of which no more is to be read before `deadline` */
    CONN_SLEEP,  /* due at `deadline`, or its next piece; `in` holds the rest, mostly nothing */
    CONN_HANG,   /* a fault: asleep for ever, or until the connection is read from */
    CONN_SEND,   /* `out` holds what the socket did not take; empty: others have their turn */
    CONN_LINGER, /* answered for good, our side is shut; input is thrown away */
    CONN_CLOSED, /* the memory goes when the turn ends */
};

struct slow_conn {
    struct watch watch;
    struct timer timer;    /* fires at or before `deadline` */
    struct deferred later; /* frees the connection when closed, else goes on reading */
    struct slow_conn *prev, *next;
    struct slow_worker *worker;
    struct http_conn http;
    struct buf in, out;
    nsec_t deadline; /* end of the state */
    union {
        nsec_t delay;       /* planned, until the answer begins */
        nsec_t progress_at; /* the time when the client last took something of it */
    };
    struct reply *reply;               /* owned; NULL: the plain answer */
    struct reply_step step;            /* the step that follows when `out` is written */
    uint64_t client;                   /* a hash of its address */
    struct slow_secure_faults *faults; /* faults of its handshake; NULL: none */
    union {
        struct linger_state linger;
        uint32_t unacked_bytes; /* in the kernel, at the last look */
    };
    uint32_t work_bytes; /* done in this callback, bytes and what costs as much */
    uint8_t state;       /* enum slow_conn_state */
    uint8_t bind;        /* the listening address it came in at */
    bool eof;            /* the client has closed its side */
    bool in_flight;      /* a request waits for the end of its answer */
    bool is_timed;       /* the answer has begun */
    bool is_reused;      /* answered before */
    bool client_left;    /* hung up while its request was in flight */
    bool is_shaking;     /* its TLS handshake has not come to an end */
    char peer[];         /* with an access log only: its address, ADDRESS_TEXT_BYTES */
};

/* --- the account: all is counted once, however it ends ---------------------------------------- */

void worker_count(struct slow_worker *w, int change); /* 1 or -1 connections, of all kinds */
void account_open(struct slow_conn *c, struct slow_worker *w); /* the worker has one more */
void account_data(struct slow_conn *c, struct slice data);     /* a part of the request's body */
void account_handshake(struct slow_conn *c);                   /* the end of TLS's, once */

/* --- a request that is planned waits, is answered, and the connection is kept or ends --------- */

/* The others have their turn. */
static inline bool conn_is_tired(const struct slow_conn *c) {
    return c->work_bytes >= SLOWAPI_TURN_BYTES;
}

nsec_t conn_patience(const struct slow_worker *w); /* time for an idle connection */
void conn_arm(struct slow_conn *c);                /* fires at c->deadline at the latest */

/* A deadline that moves away is only noted: the timer finds out when it fires. */
static inline void conn_enter(struct slow_conn *c, enum slow_conn_state state, nsec_t deadline) {
    c->state = (uint8_t)state;
    c->deadline = UNLIKELY(c->reply != NULL) ? nsec_min(deadline, c->reply->cut_at) : deadline;
    if (!timer_armed(&c->timer) || c->timer.at > c->deadline)
        conn_arm(c);
}
bool conn_is_gone(const struct slow_conn *c);         /* nobody waits for the answer */
void conn_wait_until(struct slow_conn *c, nsec_t at); /* sleeps, unless the client has gone */
void conn_await(struct slow_conn *c);                 /* sleeps until the upstream has news */
void conn_answer(struct slow_conn *c);                /* answers by its plan */
void conn_go_on(struct slow_conn *c);                 /* with an answer that had to wait */
void conn_send_rest(struct slow_conn *c);             /* goes on, with room in the socket */
void conn_look_at_progress(struct slow_conn *c);      /* asks whether the client takes it */
bool conn_cut(struct slow_conn *c);                   /* a fault ends it now, if one does */
/* Answers without a plan, for the last time when `last`. */
void conn_answer_plainly(struct slow_conn *c, uint16_t status, struct slice text, bool last);
/* Takes all that came on a WebSocket, or ends it. */
void conn_talk(struct slow_conn *c, struct slice input, bool ends);
/* The ends: an answer for good; the client closes first; we do; the client did; RST. */
void conn_refuse(struct slow_conn *c, uint16_t status, const char *text);
void conn_linger(struct slow_conn *c);
void conn_drop(struct slow_conn *c);
void conn_drop_gone(struct slow_conn *c);
void conn_reset(struct slow_conn *c, const char *outcome);
void conn_leave_tls(struct slow_conn *c); /* back to bare bytes, without a word to the client */

#endif
