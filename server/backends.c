/* SPDX-License-Identifier: MIT */
/* Opens the upstream and the database of a worker, and closes them. */
#include "server/backends.h"
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
        .patches = worker->patches,
        .stats = worker->stats,
    };

    return db_new(&db, fiber_io);
}

static void retire(const struct worker *worker) {
    db_retire(worker->db);
}

int backends_open(struct worker *worker, struct io_fiber *fiber_io, struct error *err) {
    struct upstream_config config =
        upstream_config_of(worker->config, worker->index, worker->upstream_tls);

    worker->fiber_io = fiber_io;
    worker->upstream = upstream_new(&config, fiber_io, err);
    if (worker->upstream == NULL)
        return -EINVAL;
    if (worker->config->upstream_max > 0) {
        worker->upstream_semaphore =
            semaphore_new((uint32_t)worker->config->upstream_max, fiber_io);
        if (worker->upstream_semaphore == NULL)
            return error_set(err, -ENOMEM, "out of memory");
    }
    worker->origins = origins_new(&config, (uint32_t)worker->config->upstream_max, fiber_io);
    if (worker->origins == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    worker->retire = retire;
    worker->db = open_db(worker, fiber_io);
    return worker->db != NULL ? 0 : error_set(err, -ENOMEM, "out of memory");
}

void backends_close(struct worker *worker) {
    semaphore_free(worker->upstream_semaphore);
    upstream_free(worker->upstream);
    origins_free(worker->origins);
    db_free(worker->db);
}
