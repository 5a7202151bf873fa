/* SPDX-License-Identifier: MIT */
/* The life of connections (slowapi/worker.h): how they begin, and how all of a worker end. */
#ifndef SLOWAPI_CONN_H
#define SLOWAPI_CONN_H

#include "slowapi/worker.h"

/* Takes over a descriptor that was accepted on listening address `bind`. Out of memory: logged and
 * closed. Returns for how long no worker is to accept anything there: 0, but for a fault. */
NODISCARD nsec_t slow_conn_open(struct slow_worker *w, int fd, unsigned bind,
                                const struct address *peer);

/* Closes connections that wait for ever, and soon those that wait for a request; the others answer
 * and close. The last one that closes stops the loop. */
void slow_conn_drain_all(struct slow_worker *w);

void slow_conn_close_all(struct slow_worker *w);

#endif
