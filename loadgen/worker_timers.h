/* SPDX-License-Identifier: MIT */
/* What a worker does at set times: limits, planned requests, the ramp, the view of each second. */
#ifndef LOADGEN_WORKER_TIMERS_H
#define LOADGEN_WORKER_TIMERS_H

#include "loadgen/worker.h"

void worker_timers_init(struct load_worker *w);

/* After plan_init: arms what the run's options ask for. 0 or -ENOMEM, as all below. */
NODISCARD int worker_timers_start(struct load_worker *w);

/* Open model: wakes up for the next planned request, when somebody is idle. */
NODISCARD int worker_timers_arm_arrival(struct load_worker *w);

/* The next connection of the ramp. */
NODISCARD int worker_timers_arm_ramp(struct load_worker *w);

/* Once: how long clients wait for the server to close while nobody knows whether it does. `span` is
 * what a response took. */
NODISCARD int worker_timers_arm_trial(struct load_worker *w, nsec_t now, nsec_t span);
void worker_timers_close(struct load_worker *w);

/* Keeps those with which the first worker attends to the others: ticks, rows and probes. */
void worker_timers_attend(struct load_worker *w);

/* Looks how late the loop is; nothing before the next look is due. */
void worker_timers_probe(struct load_worker *w, nsec_t now);

#endif
