/* SPDX-License-Identifier: MIT */
/* Parts of a request that run beside its handler: fibers where handlers are fibers, threads where
 * they have threads. The calls of <srv/app.h> are their interface. */
#ifndef SERVER_TASK_H
#define SERVER_TASK_H

#include "srv/app.h"

/* Cancels the parts of the request that still run, waits for their end and frees all. */
void task_end_all(struct srv_request *rq);

#endif
