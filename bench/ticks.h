/* SPDX-License-Identifier: MIT */
/* A line of JSON for each tenth of a second of a run, written when that ends, for programs that
 * follow the run:
 *
 *   {"second": 0.1, "seconds": 0.1, "ended": 50, "failed": 0, "in_flight": 50, "mean_us": 100312.5,
 *    "latency_us": [[98303, 12], [106495, 38]], "planned": 0, "late": 0, "dropped": 0,
 *    "statuses": {"200": 50}, "failures": {}}
 *
 * Latencies are in bands (loadgen/band.h): the largest of the band, and how many. What stands
 * behind them counts from the start of the run. */
#ifndef BENCH_TICKS_H
#define BENCH_TICKS_H

#include "loadgen/live.h"
#include <stdio.h>

struct ticks {
    struct live_watcher watcher; /* for live_watch */
    FILE *out;
    struct live_totals *sum; /* too large for a stack */
    int rc;                  /* 0, or the -errno that a line met */
};

/* Watches the run from its start; the file is open, and stays the caller's. */
void ticks_start(struct ticks *t, struct live *l, FILE *out);

/* Drops its memory, after the run; zeroed, it has none. */
void ticks_free(struct ticks *t);

#endif
