/* SPDX-License-Identifier: MIT */
/* A concurrency model: how many requests wait at once, and what waits for them. One small file
 * each. */
#ifndef SERVER_MODEL_H
#define SERVER_MODEL_H

#include "base/error.h"
#include "server/worker.h"

struct model {
    const char *name;
    const char *summary; /* who waits where, in one sentence, for --help */
    /* Serves until told to stop. 0 after a graceful stop; -errno with a reason when it cannot
     * start. */
    int (*run)(struct worker *worker, struct error *err);
};

extern const struct model model_pool;
extern const struct model model_single;
extern const struct model model_threaded;
extern const struct model model_event;
extern const struct model model_evhttp;
extern const struct model model_green;

/* By name; NULL when there is none. */
const struct model *model_find(const char *name);

#endif
