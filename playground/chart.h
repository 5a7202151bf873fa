/* SPDX-License-Identifier: MIT */
/* The charts of the page: what they show, on which axis. Rows that were skipped are left out. */
#ifndef PLAYGROUND_CHART_H
#define PLAYGROUND_CHART_H

#include "playground/result.h"

/* Rows of the same load share an axis; those of another one stand below it, with an axis of their
 * own. */

/* Per row its threads and what it holds in flight, on one logarithmic axis. */
void chart_waits(const struct play_result *results, size_t count, FILE *out);

/* Two small charts with a bar per row: CPU time and memory. */
void chart_costs(const struct play_result *results, size_t count, FILE *out);

/* A bar per row from 0 to its time, a rule at the ideal, a dot at the tutorial's figure. */
void chart_times(const struct play_result *results, size_t count, FILE *out);

/* A line per row from p50 to the slowest request, with marks at p50, p90 and p99. */
void chart_latencies(const struct play_result *results, size_t count, FILE *out);

/* Of one row: response times over the time of its load and their distribution; threads, requests
 * and calls in flight, connections. */
void chart_over_time(const struct play_result *result, FILE *out);

#endif
