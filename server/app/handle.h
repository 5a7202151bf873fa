/* SPDX-License-Identifier: MIT */
/* Runs the application on a request that has its slot. Parts of a request that run beside its
 * handler are fibers where handlers are fibers, and threads where they have threads; the calls of
 * <srv/app.h> are their interface. */
#ifndef SERVER_HANDLE_H
#define SERVER_HANDLE_H

#include "server/app/request.h"

/* Serves the session's current request, which has its slot, without waiting for the client. */
NODISCARD enum session_end handle_serve(struct session *s, struct io *io);

/* Runs the application on it and leaves the encoded answer in `out`, an error answer included. 0,
 * or -ECANCELED, -ENOMEM: close without an answer. */
NODISCARD int handle_run(struct session *s, struct io *io);

/* Runs the handler of the worker's application, by its routes if it has any, and ends the parts
 * that it leaves behind. What it returned: for request_answer. */
NODISCARD int handle_request(struct srv_request *rq);

/* Calls code of the application that is no handler; returns what that does. Its waits park where
 * the worker's applications are patched. */
int handle_call(struct srv_request *rq, int (*run)(struct srv_request *, void *arg), void *arg);

/* Ends the parts and the transaction of a request, and releases its locks. */
void handle_end(struct srv_request *rq);

/* Frees the locks of the worker, when no request is left. */
void handle_free_locks(struct srv_worker *own);

#endif
