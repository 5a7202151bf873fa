/* SPDX-License-Identifier: MIT */
/* The HTTP client of handlers: GETs over a pool of keep-alive connections, straight code over `io`.
 */
#ifndef SERVER_UPSTREAM_H
#define SERVER_UPSTREAM_H

#include "server/upstream/exchange.h"

struct upstream;

/* `fiber_io` as for semaphore_new. NULL with a reason. */
NODISCARD struct upstream *upstream_new(const struct upstream_config *config,
                                        struct io_fiber *fiber_io, struct error *err);
void upstream_free(struct upstream *u);

/* One GET of the URL with `suffix` appended. Waits end at `deadline` or at the configured time-out,
 * whichever is first. A reused connection that dies before the first byte of the answer is replaced
 * once (RFC 9112 section 9.3.1; GET is idempotent). 0, or -errno with one line in *ret_why (static
 * or in the arena): -ECONNREFUSED, -ECONNRESET, -EPROTO, -ENOENT (name), ... ; -ETIMEDOUT;
 * -ECANCELED; -ENOMEM. */
NODISCARD int upstream_get(struct upstream *u, struct io *io, struct arena *arena,
                           struct slice suffix, nsec_t deadline, struct upstream_answer *ret,
                           const char **ret_why);

#endif
