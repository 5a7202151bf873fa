/* SPDX-License-Identifier: MIT */
/* A request that goes to the service behind, and the answer that becomes the reply's. */
#ifndef SLOWAPI_FORWARD_H
#define SLOWAPI_FORWARD_H

#include "slowapi/reply.h"
#include "slowapi/upstream.h"

struct forward_origin {
    int fd; /* the client's socket */
    bool is_secure, is_told;
};

/* An exchange with the head of the request in it, which fills in `reply` when it has an answer.
 * NULL when out of memory. */
NODISCARD struct slow_exchange *forward_new(struct slow_upstream *u, struct reply *reply,
                                            const struct http_head *head,
                                            const struct forward_origin *origin);

/* Begins it; its owner and notify are set. */
void forward_begin(struct slow_exchange *x, const struct http_head *head);

/* A fault at a percentage of a body wants to know how long that is: of one without a length the
 * first SLOWAPI_AHEAD_BYTES count. 0, or -EAGAIN: notify comes, and it is to be called again. */
NODISCARD int forward_look_ahead(struct reply *reply, struct slow_exchange *x);

/* Makes the failure of an exchange that has no answer the reply: 502, or 504 when it took too long.
 * 0 or -ENOMEM. */
NODISCARD int forward_fail(struct reply *reply, const struct slow_exchange *x);

#endif
