/* SPDX-License-Identifier: MIT */
/* Idle keep-alive connections to one address: last in, first out, watched while idle.
 *
 * With an io_fiber (one thread) an idle connection that becomes readable or hangs up leaves at
 * once. Without (threads), checkout peeks (recv MSG_PEEK must say EAGAIN), and a mutex guards the
 * list. */
#ifndef FIBER_CONNPOOL_H
#define FIBER_CONNPOOL_H

#include "fiber/io.h"

struct connpool;

struct connpool_config {
    uint32_t idle_count_max; /* more than this are closed, the least recently used first */
    nsec_t idle_span_max;    /* one that is idle for longer is not reused and is closed */
};

struct connpool_stats {
    uint64_t reused, stored, dead; /* dead: closed by the peer while idle */
    uint32_t idle;
};

/* `fiber_io` NULL makes it shared between threads. NULL when out of memory. */
NODISCARD struct connpool *connpool_new(const struct connpool_config *config,
                                        struct io_fiber *fiber_io);
void connpool_free(struct connpool *pool); /* NULL-safe; closes what is idle */

/* A live idle connection (its uses in *ret_uses), or -ENOENT: connect a new one. The caller owns
 * it. */
NODISCARD int connpool_take(struct connpool *pool, nsec_t now, uint32_t *ret_uses);

/* Gives one back: only when its last response was completely framed and nothing is left over. Owns
 * it from here on, and may close it. */
void connpool_put(struct connpool *pool, int fd, uint32_t uses, nsec_t now);

struct connpool_stats connpool_stats(struct connpool *pool);

#endif
