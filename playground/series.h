/* SPDX-License-Identifier: MIT */
/* What was seen of each process of a playground, over the time of its load. */
#ifndef PLAYGROUND_SERIES_H
#define PLAYGROUND_SERIES_H

#include "playground/catalogue.h"
#include "playground/gauge.h"
#include "playground/probe.h"

#define SERIES_POINTS_MAX 2048 /* even; beyond it every second point goes */

struct series_point {
    nsec_t elapsed;            /* since the load was started */
    struct probe_sample total; /* the measured processes */
    struct probe_sample of[PLAY_PROCESSES_MAX];
    /* TCP connections that were open to each process of the row. One to the slow API, which is the
     * first process, is a call in flight, or kept for the next call. */
    uint32_t connections[PLAY_PROCESSES_MAX];
    /* Requests that each has yet to answer, GAUGE_UNKNOWN when nobody said. The slow API says it
     * itself; for the process that takes the load, its clients do. */
    uint32_t in_flight[PLAY_PROCESSES_MAX];
};

/* Zeroed is empty. */
struct series {
    struct series_point *points;
    size_t count, capacity;
    size_t stride, skipped; /* every stride-th point is kept */
};

/* 0 or -ENOMEM. */
NODISCARD int series_add(struct series *s, const struct series_point *point);
void series_free(struct series *s);

/* TCP connections of this host to one port, seen from both of their ends. */
struct series_sockets {
    uint32_t accepted; /* established, in the server's backlog or beyond it */
    uint32_t made;     /* of clients that connect, or wait for what the server has yet to say */
};

/* Counts those to each of `ports`; 0 is the port of nobody. All 0 when the kernel does not tell.
 * sock_diag(7) */
void series_count_sockets(const uint16_t *ports, size_t count, struct series_sockets *ret);

#endif
