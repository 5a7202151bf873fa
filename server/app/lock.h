/* SPDX-License-Identifier: MIT */
/* Locks of an application: srv_lock and srv_unlock of <srv/app.h>. */
#ifndef SERVER_LOCK_H
#define SERVER_LOCK_H

#include "server/app/request.h"

/* Releases what the request holds, at its end: a handler that forgot must not stop the others. */
void lock_release_all(struct srv_request *rq);

/* Frees the locks of the worker, when no request is left. */
void lock_free_all(struct srv_worker *own);

#endif
