/* SPDX-License-Identifier: MIT */
/* Answers that are written, and bodies that are read, piece by piece while the handler runs. The
 * calls of <srv/app.h> are their interface. */
#ifndef SERVER_STREAM_H
#define SERVER_STREAM_H

#include "srv/app.h"

/* The handler has returned `rc` in the middle of a stream: ends the stream, or cuts it off when
 * something has failed. `rc`, or what the end came to: for request_answer. */
int stream_settle(struct srv_request *rq, int rc);

/* Waits for the rest of the body, which is in memory from then on. Failures stick. */
void stream_load_body(struct srv_request *rq);

#endif
