/* SPDX-License-Identifier: MIT */
/* One loop and everything that its exchanges share. */
#ifndef SLOWAPI_REACTOR_H
#define SLOWAPI_REACTOR_H

#include "base/buf.h"
#include "http/limits.h"
#include "net/binds.h"
#include "net/listener.h"
#include "net/signals.h"
#include "slowapi/config.h"
#include "slowapi/limits.h"

struct exchange;

struct reactor {
    const struct slowapi_config *config;
    struct binds *binds;
    struct loop *loop;
    struct signals *signals;
    struct acceptor acceptors[BINDS_MAX];
    size_t acceptor_count;
    struct timer grace; /* the end of patience with a graceful stop */

    struct http_limits limits;
    struct exchange *exchanges; /* all that are open, newest first */
    size_t open_count;
    bool draining; /* no new connections; the rest answers and closes */

    /* Used within one callback only, so that a connection that waits owns neither. */
    struct buf out;
    char in[SLOWAPI_RECV_BYTES];
};

/* Serves until a signal ends it, and closes the listening sockets then; not before fork. `ready` is
 * called once, when it can serve; it may be NULL. 0, or -errno with a reason. */
NODISCARD int reactor_run(const struct slowapi_config *config, struct binds *binds,
                          void (*ready)(void), struct error *err);

/* An exchange has ended: the last one ends a graceful stop. */
void reactor_left(struct reactor *r);

#endif
