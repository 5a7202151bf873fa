/* SPDX-License-Identifier: MIT */
/* What every model prepares for its worker. */
#include "server/worker.h"
#include "server/upstream.h"
#include <errno.h>

int worker_upstream_open(struct worker *worker, struct io_fiber *fiber_io, struct error *err) {
    struct upstream_config config = { .url = worker->config->upstream_url,
                                      .timeout = worker->config->upstream_timeout };

    worker->upstream = upstream_new(&config, fiber_io, err);
    return worker->upstream != NULL ? 0 : -EINVAL;
}
