/* SPDX-License-Identifier: MIT */
/* One GET of the upstream without its socket: what the straight client
 * (server/upstream/upstream.c) and the one of callbacks (server/upstream/event.c) have in common.
 *
 *   fetch_init(&x, &target, &arena)          once per request
 *   fetch_begin(&x, uses)                    once per connection that is tried
 *   fetch_request(&x, suffix, &out)          then write `out`
 *   fetch_room(&x), read, fetch_take(&x, n)   until that is not 0
 */
#ifndef SERVER_FETCH_H
#define SERVER_FETCH_H

#include "http/conn.h"
#include "server/upstream/gather.h"
#include "server/upstream/target.h"

struct fetch {
    const struct upstream_target *target;
    struct arena *arena; /* the request's */
    const char *why;     /* what failed, in one line: static, or in the arena */
    struct http_conn http;
    struct buf in; /* received, not parsed yet */
    struct gather body;
    uint64_t expected; /* bytes of the body, when they were announced */
    uint32_t uses;     /* of this connection by earlier requests */
    uint16_t status;
    bool got_bytes; /* of an answer */
};

void fetch_init(struct fetch *x, const struct upstream_target *target, struct arena *arena);

/* A connection is there, used `uses` times before. */
void fetch_begin(struct fetch *x, uint32_t uses);

/* Encodes the request into `out`. 0, -ENOMEM. */
NODISCARD int fetch_request(struct fetch *x, struct slice suffix, struct buf *out);

/* Room for the next read into `in`. 0, or -errno as buf_reserve. */
NODISCARD int fetch_room(struct fetch *x);

/* Takes `size` bytes that were read into `in`; 0: the upstream has closed its side. 1 when the
 * answer is complete, 0 when more bytes are needed; -ECONNRESET, -EPROTO, -EMSGSIZE, -ENOMEM. */
NODISCARD int fetch_take(struct fetch *x, size_t size);

/* After a complete answer: whether the connection may serve another request. */
bool fetch_keeps(struct fetch *x);

/* Died before a byte came: on a reused connection that is the server's idle time-out racing with
 * us, and another connection may be tried (RFC 9112 section 9.3.1; GET is idempotent). */
bool fetch_was_stale(const struct fetch *x, int rc);

/* Puts "upstream WHAT: reason" into `why`, or that it did not answer in time, and returns rc. */
int fetch_fail(struct fetch *x, int rc, const char *what);

struct upstream_answer fetch_answer(const struct fetch *x);

/* Gives the receive buffer back. */
void fetch_end(struct fetch *x);

#endif
