/* SPDX-License-Identifier: MIT */
/* Tasks of an application that outlive requests: srv_background of <srv/app.h>. */
#ifndef SERVER_BACKGROUND_H
#define SERVER_BACKGROUND_H

#include "server/worker.h"

/* Begins the tasks that wait for that; from here on they begin at once. After what handlers call is
 * there; nothing happens for a worker without an application of its own. */
void background_open(const struct worker *worker);

/* Cancels the tasks and waits for their end; runs the loop of fibers meanwhile. A task that ignores
 * its cancellation for SERVER_BACKGROUND_SECONDS ends the process. Harmless before
 * background_open. */
void background_close(const struct worker *worker);

#endif
