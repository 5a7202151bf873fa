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
#include "net/watch.h"

struct reactor;

enum exchange_state {
    EXCHANGE_IDLE,   /* nothing of a request has come; owns no buffer */
    EXCHANGE_HEAD,   /* `in` holds an incomplete head */
    EXCHANGE_BODY,   /* the request is planned; its body is thrown away as it comes */
    EXCHANGE_SLEEP,  /* due at `deadline`; `in` holds what came after the request, mostly nothing */
    EXCHANGE_SEND,   /* `out` holds what the socket did not take */
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
    nsec_t deadline; /* of the state */
    nsec_t delay;    /* planned */
    char *refusal;   /* the line of a refused request; owned, NULL when it is not refused */
    uint32_t lingered_bytes;
    uint16_t status; /* planned */
    uint8_t state;   /* enum exchange_state */
    bool eof;        /* the client has closed its side */
};

/* Takes over an accepted descriptor. Out of memory: logged and closed. */
void exchange_open(struct reactor *r, int fd);

/* Closes those that wait for a request; the others answer and close. */
void exchange_drain_all(struct reactor *r);

void exchange_close_all(struct reactor *r);

/* --- between exchange.c and exchange_read.c ----------------------------------------------------
 */

void exchange_enter(struct exchange *e, enum exchange_state state, nsec_t deadline);
void exchange_close(struct exchange *e);

/* Answers what was planned, or refuses for good with a static text. What the socket does not take
 * at once is sent later. */
void exchange_answer(struct exchange *e);
void exchange_refuse(struct exchange *e, uint16_t status, const char *text);

/* Sleeps until the answer is due; a client that has gone meanwhile ends it. */
void exchange_sleep(struct exchange *e);

/* Reads and answers until the socket is dry, a request sleeps, or others should have a turn. */
void exchange_read(struct exchange *e);

#endif
