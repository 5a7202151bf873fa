/* SPDX-License-Identifier: MIT */
/* The backends of a worker: what its handlers call, made from the configuration. */
#ifndef SERVER_BACKENDS_H
#define SERVER_BACKENDS_H

#include "fiber/io.h"
#include "server/worker.h"

/* Makes worker->upstream, its semaphore and worker->db from the configuration, connecting to
 * nothing; `fiber_io` as for semaphore_new. 0 or -errno with a reason; backends_close in both
 * cases. */
NODISCARD int backends_open(struct worker *worker, struct io_fiber *fiber_io, struct error *err);

/* Before the loop goes, when no request is left. Harmless before backends_open. */
void backends_close(struct worker *worker);

#endif
