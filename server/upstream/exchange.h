/* SPDX-License-Identifier: MIT */
/* One GET of the upstream without its socket, for every client: the straight one
 * (server/upstream/upstream.c), the one of callbacks (server/upstream/event.c), and libcurl's
 * (server/upstream/curl.c).
 *
 *   exchange_init(&x, &target, &arena)          once per request
 *   exchange_begin(&x, uses)                    once per connection that is tried
 *   exchange_request(&x, suffix, &out)          then write `out`
 *   exchange_room(&x), read, exchange_take(&x, n)   until that is not 0
 */
#ifndef SERVER_EXCHANGE_H
#define SERVER_EXCHANGE_H

#include "base/arena.h"
#include "http/conn.h"
#include "server/upstream/target.h"

struct upstream_answer {
    uint16_t status;
    struct slice body; /* in the arena, with a NUL behind it; ptr is never NULL */
};

struct upstream_exchange {
    const struct upstream_target *target;
    struct arena *arena; /* the request's */
    const char *why;     /* the failure in one line: static, or in the arena */
    struct http_conn http;
    struct buf in; /* received, not parsed yet */
    char *body;    /* gathered in the arena */
    size_t body_len, body_cap;
    uint64_t expected; /* bytes of the body, when they were announced; else 0 */
    uint32_t uses;     /* earlier requests on this connection */
    uint16_t status;
    bool got_bytes; /* the answer has begun */
};

void exchange_init(struct upstream_exchange *x, const struct upstream_target *target,
                   struct arena *arena);

/* A connection is there, used `uses` times before. */
void exchange_begin(struct upstream_exchange *x, uint32_t uses);

/* Encodes the request into `out`. 0, -ENOMEM. */
NODISCARD int exchange_request(struct upstream_exchange *x, struct slice suffix, struct buf *out);

/* Room for the next read into `in`. 0, or -errno as buf_reserve. */
NODISCARD int exchange_room(struct upstream_exchange *x);

/* Takes `size` bytes that were read into `in`; 0: the upstream has closed its side. 1 when the
 * answer is complete, 0 when more bytes are needed; -ECONNRESET, -EPROTO, -EMSGSIZE, -ENOMEM. */
NODISCARD int exchange_take(struct upstream_exchange *x, size_t size);

/* Appends a piece of the body, whose room grows by doubling; outgrown room stays in the arena until
 * the request ends. exchange_take does this itself. 0, -ENOMEM, or -EMSGSIZE above
 * SERVER_UPSTREAM_BODY_BYTES_MAX. */
NODISCARD int exchange_append(struct upstream_exchange *x, struct slice piece);

/* After a complete answer: whether the connection may serve another request. */
bool exchange_keeps(struct upstream_exchange *x);

/* Died before a byte came: on a reused connection that is the server's idle time-out racing with
 * us, and another connection may be tried (RFC 9112 section 9.3.1; GET is idempotent). */
bool exchange_was_stale(const struct upstream_exchange *x, int rc);

/* Puts "upstream WHAT: reason" into `why`, or that it did not answer in time, and returns rc. */
int exchange_fail(struct upstream_exchange *x, int rc, const char *what);

/* Says in `why` that the answer is bad, or that there was none. -EPROTO, -ECONNRESET. */
NODISCARD int exchange_refuse(struct upstream_exchange *x, const char *why);

struct upstream_answer exchange_answer(const struct upstream_exchange *x);

/* Gives the receive buffer back. */
void exchange_end(struct upstream_exchange *x);

#endif
