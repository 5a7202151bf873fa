/* SPDX-License-Identifier: MIT */
/* A request as the application sees it: the other side of include/srv/handler.h. */
#ifndef SERVER_REQUEST_H
#define SERVER_REQUEST_H

#include "server/conn/session.h"
#include "srv/handler.h"

/* Runs the application on the session's current request and leaves the encoded answer in `out`, an
 * error answer included. 0, or -ECANCELED, -ENOMEM: close without an answer. */
NODISCARD int request_run(struct session *s, struct io *io);

/* Serves the session's current request, which has its slot, without waiting for the client. */
NODISCARD enum session_end request_serve(struct session *s, struct io *io);

/* --- the same in steps, for handlers that return before they have answered ------------------- */

/* The current request, in its arena; valid until the session is done with it. `io` tells the time.
 * NULL when out of memory. */
NODISCARD struct srv_request *request_new(struct session *s, struct io *io);

/* Whether the application is to be asked: 0; 1 when that was answered here (the method,
 * OPTIONS *); -ETIMEDOUT
 * when the request has waited too long. Both go to request_answer. */
NODISCARD int request_admit(struct srv_request *rq);

/* The application is done: 0 or more after srv_reply, or the -errno it gives up with. As
 * request_run. */
NODISCARD int request_answer(struct srv_request *rq, int rc);

struct session *request_session(const struct srv_request *rq);

/* Begins the wait for the upstream, a place among the calls in progress included. */
void request_waits_for_upstream(struct srv_request *rq);

/* Around the wait for that place (--upstream-max): until when, at most, and what came of it, 0 or
 * -errno, which ends the wait for the upstream. */
nsec_t request_queues(struct srv_request *rq);
void request_queued(struct srv_request *rq, int rc);

/* Around the call itself: it begins; it has ended with 0, or with -errno and a reason, and the wait
 * for the upstream with it. */
void request_asks(struct srv_request *rq);
void request_asked(struct srv_request *rq, int rc, const char *why);

#endif
