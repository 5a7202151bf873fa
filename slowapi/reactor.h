/* SPDX-License-Identifier: MIT */
/* One loop and everything that its exchanges share. */
#ifndef SLOWAPI_REACTOR_H
#define SLOWAPI_REACTOR_H

#include "base/buf.h"
#include "http/limits.h"
#include "net/acceptor.h"
#include "net/binds.h"
#include "proc/logger.h"
#include "proc/signals.h"
#include "slowapi/config.h"
#include "slowapi/limits.h"
#include "slowapi/plan.h"

struct exchange;

struct entrance {
    struct acceptor acceptor;
    struct timer resume; /* the end of a slow accept */
};

struct reactor {
    const struct slowapi_config *config;
    struct binds *binds;
    struct loop *loop;
    struct signals *signals;
    struct entrance entrances[BINDS_MAX];
    size_t entrance_count;
    struct control *control;   /* NULL without --control */
    struct logger *access_log; /* NULL: none */
    struct timer tend;         /* the next look after the logger, in a process without a master */
    struct timer grace;        /* the end of patience with a graceful stop */

    struct planner planner;
    struct http_limits limits;
    struct exchange *exchanges; /* all that are open, newest first */
    size_t open_count;
    bool draining; /* no new connections; the rest answers and closes */
    bool retiring; /* the same, and idle connections may still ask once */

    /* Used within one callback only, so that a connection that waits owns neither. */
    struct buf out;
    char in[SLOWAPI_RECV_BYTES];
};

/* What the workers are given, made before they are forked. */
struct reactor_setup {
    const struct slowapi_config *config;
    struct binds *binds;
    struct shared *shared;
    struct logger *access_log; /* NULL: none */
    int control_fd;            /* -1: none */
};

/* Serves until a signal ends it, and closes the listening sockets then; not before fork. `worker`
 * is its index. `ready` is called once, when it can serve; it may be NULL. 0, or -errno with a
 * reason.
 */
NODISCARD int reactor_run(const struct reactor_setup *setup, unsigned worker, void (*ready)(void),
                          struct error *err);

/* No worker accepts anything on listening address `bind` for `span`. */
void reactor_pause_accepting(struct reactor *r, unsigned bind, nsec_t span);

/* Lets the other workers accept first: what has come stays. */
void reactor_yield(struct reactor *r);

/* An exchange has ended: the last one ends a graceful stop. */
void reactor_left(struct reactor *r);

#endif
