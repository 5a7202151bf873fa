/* SPDX-License-Identifier: MIT */
/* The signs of life of a worker with a loop: beats for the master (--timeout), and how long the
 * turns of the loop take (--loop-lag-warn, /metrics), by whose fault. */
#ifndef SERVER_PULSE_H
#define SERVER_PULSE_H

#include "net/fiber.h"
#include "server/stats.h"
#include "server/worker.h"

struct pulse {
    struct loop *loop;
    struct stats *stats;
    struct timer beat;
    nsec_t beat_every;
    nsec_t warn;            /* 0: never */
    nsec_t run_at, longest; /* when a request got the thread; the longest that one kept it */
    char longest_what[RUNNING_WHAT_BYTES];
};

/* How often a worker beats; 0: not at all, since no master looks. */
nsec_t pulse_interval(const struct serve_config *config);

/* Starts what the configuration asks for. `fibers`: their arguments are struct clients; NULL: the
 * loop's thread runs no requests. 0 or -errno. */
NODISCARD int pulse_start(struct pulse *pulse, struct loop *loop, struct fibers *fibers,
                          const struct worker *worker);

/* Before the loop goes. */
void pulse_stop(struct pulse *pulse);

#endif
