/* SPDX-License-Identifier: MIT */
/* What a worker with a loop does now and then: it beats for the master (--timeout), or looks after
 * the processes beside it when it has none, and it measures how long the turns of the loop take
 * (--loop-lag-warn, /metrics), by whose fault. */
#ifndef SERVER_PULSE_H
#define SERVER_PULSE_H

#include "fiber/fiber.h"
#include "server/observe/stats.h"
#include "server/worker.h"

struct client;

struct heartbeat {
    struct loop *loop;
    struct stats *stats;
    const struct worker *worker;
    struct timer beat, tend;
    nsec_t beat_every;
    nsec_t warn;            /* 0: never */
    bool watches_requests;  /* somebody wants to know who has the thread */
    nsec_t run_at, longest; /* when a request got the thread; the longest that one kept it */
    char longest_what[RUNNING_WHAT_BYTES];
};

/* How often a worker beats; 0: not at all, since no master looks. */
nsec_t heartbeat_interval(const struct serve_config *config);

/* Starts what the configuration asks for. `fibers`: their arguments are struct clients; NULL: the
 * loop's thread runs no requests. 0 or -errno. */
NODISCARD int heartbeat_start(struct heartbeat *heartbeat, struct loop *loop, struct fibers *fibers,
                              const struct worker *worker);

/* For loops without fibers: the request of this client gets the thread; NULL: it gives it back. */
void heartbeat_switch(struct heartbeat *heartbeat, const struct client *client);

/* Before the loop goes. */
void heartbeat_stop(struct heartbeat *heartbeat);

#endif
