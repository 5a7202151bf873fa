/* SPDX-License-Identifier: MIT */
/* The HTTP client of handlers: requests over a pool of keep-alive connections, straight code over
 * `io`. */
#ifndef SERVER_UPSTREAM_H
#define SERVER_UPSTREAM_H

#include "fiber/semaphore.h"
#include "server/upstream/exchange.h"
#include <sys/queue.h>

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

/* --- the servers that handlers call beside --upstream: one client for each, with its kept
 * connections and its places, made when it is called first ------------------------------------
 *
 *   origins_take(o, "http://host:port", now, &origin, err)   then ask origin->upstream
 *   origins_give_back(o, origin, now)                        it stays for a while
 *
 * At most SERVER_ORIGINS_MAX are kept, the last used ones: more that are in use at the same time
 * end with their calls. */

struct origins;

struct origin {
    struct upstream *upstream;
    struct semaphore *semaphore; /* limits the calls in progress; NULL: no limit */
    /* Private. */
    TAILQ_ENTRY(origin) link;
    char *url;
    unsigned users;
    nsec_t used_at;
    bool listed;
};

/* `config` without URL and source address holds for all of them; `calls_max` (0: no limit) for each
 * by itself. `fiber_io` as for semaphore_new. NULL when out of memory. */
NODISCARD struct origins *origins_new(const struct upstream_config *config, uint32_t calls_max,
                                      struct io_fiber *fiber_io);
void origins_free(struct origins *o); /* NULL-safe; nobody may be inside */

/* `url` is http[s]://HOST[:PORT] or unix:/PATH, without a target. From any thread, if threads share
 * the worker. 0 with one that is the caller's to give back; -EINVAL with a reason; -ENOMEM. */
NODISCARD int origins_take(struct origins *o, struct slice url, nsec_t now, struct origin **ret,
                           struct error *err);
void origins_give_back(struct origins *o, struct origin *origin, nsec_t now);

#endif
