/* SPDX-License-Identifier: MIT */
/* One connection of the load: connects, writes a request, reads the response, and takes the next
 * one.
 *
 *            connect             written             first byte            END, kept alive
 *   IDLE --> CONNECTING --> WAITING ---------> RECEIVING ----------------> WAITING (next request)
 *    ^           |             |                   |         \              or RESTING (none is
 * due) |           +-- failure --+-------------------+          \ END, not kept
 *    +<--- PAUSED (until the turn ends) ---+                   PARTING --> IDLE (server closed)
 *
 * In a steady keep-alive run a request costs one recv and one send: the next one is written by the
 * code that has just read the end of the last one, and input goes to a buffer of the worker. */
#ifndef LOADGEN_CLIENT_H
#define LOADGEN_CLIENT_H

#include "base/buf.h"
#include "http/conn.h"
#include "loadgen/tally.h"
#include "loadgen/timeouts.h"
#include "net/watch.h"

struct load_worker;

enum client_state {
    CLIENT_IDLE,   /* no descriptor, nothing to do */
    CLIENT_PAUSED, /* no descriptor; goes on when the turn of the loop ends, or a little later */
    CLIENT_CONNECTING,
    CLIENT_WAITING, /* the request is being written, or was; no byte of the response yet */
    CLIENT_RECEIVING,
    CLIENT_RESTING, /* open, and nothing to ask for */
    CLIENT_PARTING, /* answered; the server is expected to close */
};

struct load_client {
    struct watch watch;
    struct http_conn http;
    struct buf in; /* an unfinished head or chunk line; empty, and without memory, otherwise */
    struct load_worker *worker;
    struct load_client *next_idle; /* the worker's list */
    struct timeout timeout;        /* of the request or of the parting */
    struct timeout retry;          /* of a connect that the kernel asked to try again */
    struct deferred again;         /* after a failure: the next attempt, from a fresh stack */
    nsec_t planned, started, connected, written, first_byte;
    uint64_t sent_bytes, body_bytes; /* of the current exchange */
    size_t sample;                   /* its record, when records are kept */
    uint32_t exchanges;              /* begun on this connection */
    uint32_t matched;                /* of the text that is expected in the body */
    uint16_t status;
    uint8_t state;      /* enum client_state */
    uint8_t address;    /* which of the target's addresses is being tried */
    bool holds_request; /* taken from the plan, neither answered nor failed yet */
    bool write_failed;  /* what the server said before it stopped listening is still to be read */
};

/* An answered connection that is watched apart from its client, which goes on: whether the server
 * closes what it should is not known yet, and waiting for it would cost a short run its rate. */
struct parting {
    struct watch watch;
    struct timeout timeout;
    bool is_open;
};

/* Its time is up: the server does not close. */
void parting_expired(struct parting *p);
void parting_close(struct parting *p);

void client_init(struct load_client *c, struct load_worker *w);

/* Takes the next request of the plan and starts it, or rests when there is none. `now` is
 * clock_now(). */
void client_start(struct load_client *c, nsec_t now);

/* Its timeout has expired. */
void client_expired(struct load_client *c);
void client_parting_expired(struct load_client *c);

/* The server has not closed so far: a client that waits for it goes on. */
void client_trial_ends(struct load_client *c, nsec_t now);
void client_retry_expired(struct load_client *c);

/* How far its request has come. */
struct timing client_timing(const struct load_client *c, nsec_t now);

/* Gives descriptor and memory back; its timeout is left alone. Idempotent. */
void client_close(struct load_client *c);

/* --- between client.c and client_response.c ------------------------------------------------- */

/* The request came to its end without a response: counted, and the client goes on after the turn.
 */
void client_fail(struct load_client *c, enum failure reason, nsec_t now);

/* Reads what is there, until the response ends or nothing is left. */
void client_read(struct load_client *c);

/* PARTING: reads until the server has closed. RESTING: the same, for a server that lost patience.
 */
void client_parting_ready(struct load_client *c);
void client_resting_ready(struct load_client *c);

#endif
