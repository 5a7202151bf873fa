/* SPDX-License-Identifier: MIT */
/* A connection and the request on it: one small struct, whatever it waits for.
 *
 *            first byte      head        end          due            written
 *   IDLE ------------> HEAD ------> BODY ----> SLEEP -----> (answer) --------> IDLE, or closed
 *                        |            |                        | socket full
 *                        +--- bad ----+-----> (answer)         +--> SEND --> the same
 *                                                | the client may still be sending
 *                                                +--> LINGER --> closed
 *
 * States are passed through within one callback when nothing has to be waited for. */
#ifndef SLOWAPI_EXCHANGE_H
#define SLOWAPI_EXCHANGE_H

#include "base/buf.h"
#include "http/conn.h"
#include "net/address.h"
#include "net/watch.h"
#include "slowapi/reply.h"

struct reactor;

enum exchange_state {
    EXCHANGE_IDLE,  /* nothing of a request has come; owns no buffer */
    EXCHANGE_HEAD,  /* `in` holds an incomplete head */
    EXCHANGE_BODY,  /* the request is planned; its body is thrown away as it comes */
    EXCHANGE_SLEEP, /* due at `deadline`, or its next piece; `in` holds what came after the request,
                       mostly nothing */
    EXCHANGE_HANG,  /* a fault: as asleep, and for ever or until it is read from */
    EXCHANGE_SEND,  /* `out` holds what the socket did not take; empty: others have their turn */
    EXCHANGE_LINGER, /* answered for good, our side is shut; input is thrown away */
    EXCHANGE_CLOSED, /* the memory goes when the turn ends */
};

struct exchange {
    struct watch watch;
    struct timer timer;    /* fires at or before `deadline` */
    struct deferred later; /* frees it when closed, else goes on reading */
    struct exchange *prev, *next;
    struct reactor *reactor;
    struct http_conn conn;
    struct buf in, out;
    nsec_t deadline;        /* of the state */
    nsec_t delay;           /* planned */
    struct reply *reply;    /* owned; NULL: the plain answer */
    struct reply_step step; /* what follows when `out` is written */
    uint64_t client;        /* a hash of its address */
    nsec_t progress_at;     /* when the client last took something of its answer */
    union {
        uint32_t lingered_bytes; /* thrown away */
        uint32_t unacked_bytes;  /* in the kernel, at the last look */
    };
    uint32_t work_bytes; /* done in this callback, bytes and what costs as much */
    uint8_t state;       /* enum exchange_state */
    uint8_t bind;        /* where it came in */
    bool eof;            /* the client has closed its side */
    bool in_flight;      /* a request waits for the end of its answer */
    bool is_timed;       /* ... which has begun */
    bool is_reused;      /* answered before */
    bool client_left;    /* hung up while its request was in flight */
    char peer[];         /* with an access log only: its address, ADDRESS_TEXT_BYTES */
};

/* Takes over a descriptor that was accepted on listening address `bind`. Out of memory: logged and
 * closed. */
void exchange_open(struct reactor *r, int fd, unsigned bind, const struct address *peer);

/* Closes those that wait for ever, and soon those that wait for a request; the others answer and
 * close. */
void exchange_drain_all(struct reactor *r);

void exchange_close_all(struct reactor *r);

#endif
