/* SPDX-License-Identifier: MIT */
/* The HTTP client of handlers: GETs over a pool of keep-alive connections, straight code over `io`.
 */
#ifndef SERVER_UPSTREAM_H
#define SERVER_UPSTREAM_H

#include "base/arena.h"
#include "fiber/connpool.h"
#include "fiber/resolve.h"

struct upstream;

struct upstream_config {
    const char *url;            /* http[s]://host[:port][/path]; must outlive the upstream */
    nsec_t timeout;             /* span of one exchange, from connect to the last byte */
    bool curl;                  /* through libcurl, which https always is */
    const char *ca_path;        /* trusted certificates for https (PEM); NULL: the system's */
    const char *bind;           /* numeric IP address to connect from; NULL: the kernel's choice */
    struct resolve_rules rules; /* of the host's name; its texts must outlive the upstream */
};

struct upstream_answer {
    uint16_t status;
    struct slice body; /* in the arena */
};

/* `fiber_io` as for connpool_new. NULL with a reason. */
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
