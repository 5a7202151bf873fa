/* SPDX-License-Identifier: MIT */
/* The HTTP client of handlers: requests over a pool of keep-alive connections, straight code over
 * `io`. */
#ifndef SERVER_UPSTREAM_H
#define SERVER_UPSTREAM_H

#include "server/upstream/exchange.h"

struct upstream;

/* `fiber_io` as for semaphore_new. NULL with a reason. */
NODISCARD struct upstream *upstream_new(const struct upstream_config *config,
                                        struct io_fiber *fiber_io, struct error *err);
void upstream_free(struct upstream *u);

/* One request and its answer. Waits end at `deadline` or at the time-out of the exchange, whichever
 * is first. A reused connection that dies before the first byte of the answer is replaced once, if
 * the request may be sent twice (RFC 9112 section 9.3.1). 0, or -errno with one line in *ret_why
 * (static or in the arena): -ECONNREFUSED, -ECONNRESET, -EPROTO, -EMSGSIZE, -ENOENT (name), ... ;
 * -ETIMEDOUT; -ECANCELED; -ENOMEM; -EINVAL (the request). */
NODISCARD int upstream_ask(struct upstream *u, struct io *io, struct arena *arena,
                           const struct upstream_request *request, nsec_t deadline,
                           struct upstream_answer *ret, const char **ret_why);

#endif
