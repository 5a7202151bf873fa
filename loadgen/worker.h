/* SPDX-License-Identifier: MIT */
/* One loop with its connections and its counters: a thread of the run. Workers share struct live
 * only. */
#ifndef LOADGEN_WORKER_H
#define LOADGEN_WORKER_H

#include "loadgen/client.h"

/* The parts of a run; all of them outlive the workers. */
struct worker_setup {
    const struct loadgen_config *config;
    const struct request *request;
    const struct target *target;
    const struct expect_body *expect;
    const struct secure *secure;           /* NULL: without TLS */
    const struct loadgen_sources *sources; /* NULL: the system chooses */
    struct load_mix *mix;                  /* NULL: the one request */
    const struct secure *secures;          /* a mix's, by the number of the host */
    struct live *live;
    struct share share;
};

/* Makes its share of the connections; nothing is connected yet. 0 or -errno with the reason. */
NODISCARD int worker_init(struct load_worker *w, const struct worker_setup *setup,
                          struct error *err);

/* Waits for `start` (CLOCK_MONOTONIC), and runs until the plan is done, the time is up, or
 * somebody asked for the end. The first worker then stays until the others have ended, too: its
 * loop has the signals, the rows and --abort-if. 0 or -errno (the loop failed); the counters are
 * valid either way. */
NODISCARD int worker_run(struct load_worker *w, nsec_t start);

void worker_free(struct load_worker *w);

#endif
