/* SPDX-License-Identifier: MIT */
/* A worker tells its master and the control endpoint how it is. */
#include "server/worker.h"
#include "proc/prefork.h"
#include "server/observe/stats.h"

#define BEAT_INTERVAL_MIN (10 * NSEC_PER_MSEC)

void worker_ready(const struct worker *worker) {
    atomic_store(&worker->stats->life, STATS_READY);
    worker->ready();
}

void worker_stopping(const struct worker *worker, bool retires) {
    atomic_store(&worker->stats->life, STATS_STOPPING);
    if (worker->retire != NULL)
        worker->retire(worker); /* successors may need what the server has left */
    if (!retires && worker->stopping != NULL)
        worker->stopping(worker->arg);
}

nsec_t worker_delay(const struct worker *worker) {
    return worker->config->workers == 0 ? worker->config->graceful_delay : 0;
}

void worker_leaving(const struct worker *worker) {
    if (worker->leaving != NULL)
        atomic_store(worker->leaving, true);
}

bool worker_is_leaving(const struct worker *worker) {
    return atomic_load(&worker->stats->life) == STATS_STOPPING ||
           (worker->leaving != NULL && atomic_load(worker->leaving));
}

nsec_t worker_idle_interval(const struct worker *worker) {
    const struct serve_config *config = worker->config;

    if (config->workers == 0 || config->timeout == 0)
        return 0;
    return nsec_max(config->timeout / 4, BEAT_INTERVAL_MIN);
}

nsec_t worker_beat_interval(const struct worker *worker) {
    return nsec_min(worker_idle_interval(worker), NSEC_PER_SEC);
}

void worker_count_answer(const struct worker *worker) {
    struct worker_quota *quota = worker->quota;

    if (quota->limit > 0 && atomic_fetch_add(&quota->answered, 1) + 1 == quota->limit)
        prefork_worker_replace();
}
