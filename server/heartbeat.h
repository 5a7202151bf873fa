/* SPDX-License-Identifier: MIT */
/* Regular work of a worker with a loop: it beats for the master (--timeout), or looks after
 * the processes beside it when it has none, and it measures how long the turns of the loop take
 * (--loop-lag-warn, /metrics), by whose fault. */
#ifndef SERVER_HEARTBEAT_H
#define SERVER_HEARTBEAT_H

#include "http/head.h"
#include "net/loop.h"
#include "server/observe/stats.h"
#include "server/worker.h"

struct blocker;

struct heartbeat {
    struct loop *loop;
    struct stats *stats;
    const struct worker *worker;
    struct timer beat, tend;
    nsec_t beat_every;
    nsec_t warn;             /* 0: never */
    struct blocker *blocker; /* looks at turns that long; or NULL */
    bool hinted;             /* --patch was recommended */
    bool watches_requests;   /* somebody wants to know who has the thread */
    nsec_t run_at, longest;  /* time at which a request got the thread; longest span of one */
    char longest_what[STATS_WHAT_BYTES];
};

/* Starts what the configuration asks for. 0 or -errno. */
NODISCARD int heartbeat_start(struct heartbeat *heartbeat, struct loop *loop,
                              const struct worker *worker);

/* Notes that the request with this head gets the loop's thread; NULL: that it gives it back. */
void heartbeat_switch(struct heartbeat *heartbeat, const struct http_head *head);

/* Before the loop goes. */
void heartbeat_stop(struct heartbeat *heartbeat);

#endif
