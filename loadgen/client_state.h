/* SPDX-License-Identifier: MIT */
/* The connections of one loop. Each of them lives through one request after the other:
 *
 *          connect              first byte             last byte, kept alive
 *   IDLE ---------> CONNECTING, ----------> RECEIVING ----------------------> WAITING
 *    ^  due         SECURING, WAITING         |    \                          (the next request)
 *    |                 |                      |     \ last byte, not kept     or RESTING
 *    |                 +------ failure -------+      \                        (none is due)
 *    |                          |                     v
 *    +---- PAUSED (until the    v                  PARTING ---> IDLE (the server has closed)
 *          turn ends) <---------+
 *
 * In a steady keep-alive run a request costs one recv and one send: the next one is written by the
 * code that has just read the end of the last one, and input goes to a buffer of the worker. */
#ifndef LOADGEN_CLIENT_STATE_H
#define LOADGEN_CLIENT_STATE_H

#include "base/buf.h"
#include "http/conn.h"
#include "loadgen/answers.h"
#include "loadgen/codings.h"
#include "loadgen/counters.h"
#include "loadgen/live.h"
#include "loadgen/parting.h"
#include "loadgen/plan.h"
#include "loadgen/request.h"
#include "loadgen/secure.h"
#include "loadgen/selfcheck.h"
#include "loadgen/stages.h"
#include "loadgen/streams.h"
#include "loadgen/target.h"
#include "loadgen/users.h"
#include "net/timeouts.h"
#include "net/watch.h"

struct load_mix;
struct load_worker;
struct mix_request;

enum load_client_state {
    LOAD_IDLE,   /* no descriptor, nothing to do */
    LOAD_PAUSED, /* no descriptor; goes on when the turn of the loop ends, or a little later */
    LOAD_CONNECTING,
    LOAD_SECURING, /* with https: a proxy's tunnel and the TLS handshake */
    LOAD_WAITING,  /* the request is being written, or was; no byte of the response yet */
    LOAD_RECEIVING,
    LOAD_RESTING, /* open, and nothing to ask for */
    LOAD_PARTING, /* answered; the server is expected to close */
};

/* Whether the body is held back until the server wants it (--expect-continue). */
enum load_hold { HOLD_NOT, HOLD_BODY, HOLD_FOR_GOOD };

struct load_client {
    struct watch watch;
    struct http_conn http;
    struct buf in; /* an unfinished head or chunk line; empty, and without memory, otherwise */
    struct secure_conn *secure; /* an open connection's to https */
    struct stream *stream;      /* events of the answer, with --stream; else NULL */
    struct load_worker *worker;
    const struct request *request; /* the current exchange's, or the last one's */
    struct load_client *next_idle; /* the worker's list */
    struct timeout timeout;        /* for the request or the parting */
    struct timeout retry;  /* for a connect that the kernel asked to try again, or for 100 */
    struct deferred again; /* after a failure: the next attempt, from a fresh stack */
    nsec_t planned, started, connected, written, first_byte;
    nsec_t dialed;                   /* connected, and not yet secure */
    uint64_t sent_bytes, body_bytes; /* in the current exchange */
    size_t sample;                   /* the number of the record, when records are kept */
    uint32_t exchanges;              /* begun on this connection */
    uint32_t matched;                /* bytes of the text that is expected in the body */
    uint16_t status;
    uint8_t state;      /* enum load_client_state */
    uint8_t pool;       /* the number of its host's */
    uint8_t address;    /* the one of the host's that is being tried */
    bool holds_request; /* taken from the plan, neither answered nor failed yet */
    uint8_t holds_body; /* enum load_hold */
    bool write_failed;  /* the server stopped listening; its last words are still to be read */
};

/* With --think: the pause of a client after each of its requests. */
struct load_thinker {
    struct timer timer; /* armed while it thinks */
    struct load_worker *worker;
    bool owes; /* a request was begun since the last pause */
};

/* The connections of a worker to one host. A mix may have several: whoever needs a connection takes
 * the one that was used last of those that are free, so that a host has at most as many as there
 * are connections at once. */
struct load_pool {
    struct target_dialer dialer;
    const struct secure *secure;
    struct tls_session session;
    struct load_client *idle;              /* without a request, the last used first */
    struct answers_address *own_addresses; /* NULL: the answers have the first host's */
};

/* One loop with its connections and its counters: a thread of the run (loadgen/worker.h). */
struct load_worker {
    struct loop *loop;
    const struct loadgen_config *config;
    const struct request *request; /* the one that exchanges hold */
    const struct expect_body *expect;
    struct live *live;
    struct share share;
    struct load_plan plan;
    struct load_mix *mix;        /* NULL: all requests are the one */
    struct mix_request **filled; /* each client's, when it has had one; NULL without a mix */
    struct load_pool *pools;
    uint32_t pool_count;
    struct counters counters;
    struct answers answers;
    struct live_state state;
    struct lateness lateness;
    bool is_warm; /* the first request that counts has begun */
    struct timeouts timeouts, partings, retries, continues;
    struct parting parting; /* the server's doings when it should close */
    struct load_client *clients;
    struct load_client *clients_end; /* behind the last one that may take requests now */
    struct stream *streams;          /* one for each client; NULL: answers are none */
    char *in;                        /* the buffer that every recv goes to first */
    uint32_t client_count;           /* in all pools */
    uint32_t at_once;                /* the most that have a request at once */
    uint32_t started, busy;          /* started: once; busy: not resting */
    struct load_thinker *thinkers;   /* one per client; NULL without --think */
    uint32_t thinking;               /* a part of the busy ones */
    struct rng think_rng;
    char *piece;         /* the part of a body that is sent from its file; NULL: it is in memory */
    struct users *users; /* NULL without --follow and --cookies */
    bool is_plain;       /* none of the features that look at every request is on */
    bool has_too_many_hops;  /* the answer that is judged now */
    struct codings *codings; /* NULL without --compressed */

    struct timer arrival_timer; /* open model: the next planned request */
    struct timer ramp_timer;    /* the next connection to start */
    struct timer trial_timer;   /* the end of the trial */
    struct timer stage_timer;   /* stages of connections: their number changes */
    struct timer begin_timer;   /* the start of the run */
    struct timer stop_timer, drain_timer;
    struct timer tick_timer;  /* every second: live_publish */
    struct timer row_timer;   /* a moment later, on the first worker: live_close_row */
    struct timer probe_timer; /* many times a second: is the loop late, shall it stop? */

    nsec_t start, next_tick, ticked_at;
    nsec_t begin_late; /* the start came, and the loop slept on */
    nsec_t cpu;        /* spent by the thread on what is measured */
    nsec_t cpu_began;  /* the thread's clock when that began */

    bool found_idle;                 /* the planned request goes to a connection that was free */
    bool trial_began, trial_is_over; /* the wait for its close, while that is unknown */
    bool starts_serially;            /* ab: the others wait for the first response */
    bool stopping;
    bool attends; /* the first worker has ended and stays for the others */
    enum run_end end;
};

#endif
