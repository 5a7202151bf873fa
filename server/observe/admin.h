/* SPDX-License-Identifier: MIT */
/* The control endpoint of serve (--control): a small process of its own that shows what the workers
 * count, so that a worker that is stuck, or full, can still be looked at.
 *
 *   /metrics  Prometheus text     /stats     JSON, over all workers
 *   /requests JSON, what each request does now and what it waits for
 *   /healthz  200 while a worker lives       /readyz  200 while one takes requests, and the server
 *                                                     is not about to stop */
#ifndef SERVER_ADMIN_H
#define SERVER_ADMIN_H

#include "net/address.h"
#include "proc/helper.h"
#include "server/config.h"
#include "server/observe/stats.h"

struct admin {
    const struct serve_config *config;
    int stats_fd;        /* stats_open's */
    struct stats *stats; /* in the process: `count` of them so far, by worker index - 1 */
    unsigned count;
    const atomic_bool *leaving; /* shared: the server is about to stop */
    struct helper helper;
    bool active;      /* the process is to be there */
    int fd;           /* the listening socket, for a successor; -1: none */
    int inherited_fd; /* from a predecessor or a service manager; -1: none */
    bool borrowed;    /* the manager goes on listening there */
    struct address bound;
};

/* Listens; does nothing without --control. Call before privileges are dropped. 0 or -errno with a
 * reason; admin_stop in both cases. */
NODISCARD int admin_open(struct admin *o, struct error *err);

/* Forks; with a predecessor, when this server takes its place: until then that one's answers. 0 or
 * -errno with a reason. */
NODISCARD int admin_start(struct admin *o, struct error *err);

/* Starts it again when it has died; as helper_tend. */
nsec_t admin_tend(struct admin *o, nsec_t now);

/* Ends the process: a successor's answers from now on. */
void admin_rest(struct admin *o);

/* Ends the process, and takes its socket out of the file system unless a successor has it. */
void admin_stop(struct admin *o);

#endif
