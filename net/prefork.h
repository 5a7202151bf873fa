/* SPDX-License-Identifier: MIT */
/* A master process and its workers: fork, watch, respawn, stop. The master serves nothing and has one thread.
 *
 * TERM stops gracefully, a second one at once; INT and QUIT at once. A worker whose master died gets SIGTERM from the kernel
 * (PR_SET_PDEATHSIG) and leaves. */
#ifndef NET_PREFORK_H
#define NET_PREFORK_H

#include "base/clock.h"
#include "base/error.h"
#include <stdbool.h>

struct prefork_config {
    const char *name;          /* process titles and log lines: "srv serve" */
    const char *title;         /* shown for workers: "green"; may be NULL */
    unsigned workers;          /* 1 at least; 1 still has a master */
    nsec_t graceful_timeout;   /* after TERM; then SIGKILL */
    int (*worker)(void *arg, unsigned index); /* runs in the child; its result is the exit code */
    void *arg;
};

/* A worker calls it when it can serve: a worker that dies before that is not respawned for ever (back-off, then give up). */
void prefork_worker_ready(void);

/* Returns the exit code of the whole: 0 after a graceful stop, 3 when workers cannot even start. */
NODISCARD int prefork_run(const struct prefork_config *config);

#endif
