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

#endif
