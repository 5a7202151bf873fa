/* SPDX-License-Identifier: MIT */
/* What one worker process serves with: handed to the model that runs it. */
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

#include "server/config.h"
#include "server/limits.h"

struct upstream;

struct worker {
    const struct serve_config *config;
    unsigned index;        /* 1-based; 1 when there is no master */
    const int *listen_fds; /* opened before fork, shared between workers */
    size_t listen_count;
    struct upstream *upstream; /* the model makes it: pools differ between fibers and threads */
    void (*ready)(void);       /* called once the worker can serve */
};

struct io_fiber;

/* Makes worker->upstream from the configuration; `fiber_io` as for connpool_new. 0 or -errno with a
 * reason. upstream_free is the model's duty. */
NODISCARD int worker_upstream_open(struct worker *worker, struct io_fiber *fiber_io,
                                   struct error *err);

#endif
