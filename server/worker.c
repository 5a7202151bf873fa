/* SPDX-License-Identifier: MIT */
/* What the models need of a worker, and what it counts for its master. */
#include "server/worker.h"
#include "fiber/semaphore.h"
#include "proc/prefork.h"
#include "server/observe/stats.h"
#include "server/upstream/db.h"
#include "server/upstream/upstream.h"
#include <errno.h>

static struct db *open_db(const struct worker *worker, struct io_fiber *fiber_io) {
    const struct serve_config *config = worker->config;
    struct db_config db = {
        .conninfo = config->db.conninfo,
        .mode = (enum db_mode)config->db.mode,
        .pool = (uint32_t)config->db.pool,
        .workers = config->workers > 0 ? (uint32_t)config->workers : 1,
        .per_request = config->db.per_request,
        .unprepared = config->db.prepare == DB_PREPARE_OFF,
        .result_bytes_max = config->db.result_bytes_max,
        .reset = config->db.reset,
        .wait = config->queue_timeout > 0 ? config->queue_timeout : NSEC_NEVER,
        .run = config->db.timeout,
        .idle = config->db.idle,
        .lifetime = config->db.lifetime,
        .stats = worker->stats,
    };

    return db_new(&db, fiber_io);
}

void worker_stopping(const struct worker *worker, bool retires) {
    atomic_store(&worker->stats->life, STATS_STOPPING);
    db_retire(worker->db); /* successors may need what the server has left */
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

void worker_count_answer(const struct worker *worker) {
    struct worker_quota *quota = worker->quota;

    if (quota->limit > 0 && atomic_fetch_add(&quota->answered, 1) + 1 == quota->limit)
        prefork_worker_replace();
}

struct upstream_config worker_upstream(const struct worker *worker) {
    const struct serve_config *config = worker->config;
    const struct option_strings *binds = &config->upstream_binds;
    static const int families[] = {
        [UPSTREAM_ANY] = AF_UNSPEC, [UPSTREAM_IPV4] = AF_INET, [UPSTREAM_IPV6] = AF_INET6
    };

    return (struct upstream_config){
        .url = config->upstream_url,
        .timeout = config->upstream_timeout,
        .curl = config->upstream_client == UPSTREAM_CURL,
        .ca_path = config->upstream_ca,
        .bind = binds->count > 0 ? binds->items[(worker->index - 1) % binds->count] : NULL,
        .rules = { .overrides = config->upstream_resolve.items,
                   .override_count = config->upstream_resolve.count,
                   .family = families[config->upstream_family] },
    };
}

int worker_open(struct worker *worker, struct io_fiber *fiber_io, struct error *err) {
    struct upstream_config config = worker_upstream(worker);

    worker->upstream = upstream_new(&config, fiber_io, err);
    if (worker->upstream == NULL)
        return -EINVAL;
    if (worker->config->upstream_max > 0) {
        worker->upstream_semaphore =
            semaphore_new((uint32_t)worker->config->upstream_max, fiber_io);
        if (worker->upstream_semaphore == NULL)
            return error_set(err, -ENOMEM, "out of memory");
    }
    worker->db = open_db(worker, fiber_io);
    return worker->db != NULL ? 0 : error_set(err, -ENOMEM, "out of memory");
}

void worker_close(struct worker *worker) {
    semaphore_free(worker->upstream_semaphore);
    upstream_free(worker->upstream);
    db_free(worker->db);
}

void worker_ready(const struct worker *worker) {
    atomic_store(&worker->stats->life, STATS_READY);
    worker->ready();
}
