/* SPDX-License-Identifier: MIT */
/* The control endpoint of serve (--control): a small process of its own that shows what the workers
 * count, so that a worker that is stuck, or full, can still be looked at.
 *
 *   /metrics  Prometheus text     /stats     JSON, over all workers
 *   /requests JSON, what each request does now and what it waits for
 *   /healthz  200 while a worker lives       /readyz  200 while one takes requests */
#ifndef SERVER_OVERVIEW_H
#define SERVER_OVERVIEW_H

#include "net/address.h"
#include "server/config.h"
#include "server/stats.h"

struct overview {
    const struct serve_config *config;
    const struct stats *stats; /* `count` of them: by worker index - 1 */
    unsigned count;
    const int *listen_fds; /* the process does not keep them */
    size_t listen_count;
    pid_t pid;        /* 0: not running */
    int fd;           /* its listening socket, for a successor; -1: none */
    int inherited_fd; /* from a predecessor; -1: none */
    struct address bound;
    nsec_t start_at; /* when to start it again, after it has died */
};

/* Listens and forks. Does nothing without --control. 0 or -errno with a reason. */
NODISCARD int overview_start(struct overview *o, struct error *err);

/* Starts it again when it has died: at once, or a second after its last start. Returns when to come
 * back, or NSEC_NEVER. */
nsec_t overview_tend(struct overview *o, nsec_t now);

/* Ends the process and waits for it. */
void overview_stop(struct overview *o);

#endif
