/* SPDX-License-Identifier: MIT */
/* The counters of a run as Prometheus reads them, while it goes on: an HTTP endpoint on a thread of
 * its own, so that those who ask do not disturb the load.
 *
 *   metrics_open(&m, "127.0.0.1:9100", &err)    before the load: the address may be in use
 *   metrics_start(m, live, &err)                counters are those of the last full second
 *   metrics_run_ended(m); metrics_hold(m, span) one more answer, with the final ones
 *   metrics_free(m)
 */
#ifndef BENCH_METRICS_H
#define BENCH_METRICS_H

#include "loadgen/live.h"

struct load_metrics;

/* Listens on HOST:PORT, :PORT, PORT or unix:/path; without a host on 127.0.0.1. 0; or -errno with
 * the reason, and *ret is NULL. */
NODISCARD int metrics_open(struct load_metrics **ret, const char *address, struct error *err);

/* Begins to answer, and says on stderr where. `live` stays until metrics_free. 0 or -errno with the
 * reason. */
NODISCARD int metrics_start(struct load_metrics *m, struct live *live, struct error *err);

/* The counters are final: answers from now on are those that metrics_hold waits for. */
void metrics_run_ended(struct load_metrics *m);

/* Waits until somebody has asked since then, for `span` at most. */
void metrics_hold(struct load_metrics *m, nsec_t span);

void metrics_free(struct load_metrics *m); /* NULL-safe */

#endif
