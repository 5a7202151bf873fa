/* SPDX-License-Identifier: MIT */
/* A worker to test a part of it: its configuration, in which nothing ends by itself, and counters.
 */
#ifndef TESTS_SERVER_WORKER_RIG_H
#define TESTS_SERVER_WORKER_RIG_H

#include "base/log.h"
#include "server/conn/proxied.h"
#include "server/observe/stats.h"
#include "server/worker.h"
#include <stdlib.h>

#define SPAN (20 * NSEC_PER_SEC)

/* Sets all three; a test may change them afterwards. */
static inline void worker_set_up(struct worker *worker, struct serve_config *config,
                                 struct worker_quota *quota, const struct srv_app *app) {
    *config = (struct serve_config){ .upstream_timeout = SPAN,
                                     .header_timeout = SPAN,
                                     .body_timeout = SPAN,
                                     .send_timeout = SPAN,
                                     .keep_alive = SPAN,
                                     .graceful_timeout = SPAN,
                                     .max_queue = -1,
                                     .limits = HTTP_LIMITS_DEFAULT };
    static struct request_ids ids;

    *worker = (struct worker){ .config = config,
                               .app = app,
                               .index = 1,
                               .quota = quota,
                               .ids = &ids,
                               .stats = calloc(1, sizeof(*worker->stats)) };
    stats_start(worker->stats, true);
    log_set_level(LOG_LEVEL_ERROR);
}

static inline void worker_tear_down(struct worker *worker) {
    free(worker->stats);
}

#endif
