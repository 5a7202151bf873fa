/* SPDX-License-Identifier: MIT */
/* Answers that are written piece by piece while the handler runs. The calls of <srv/app.h> are
 * their interface. */
#ifndef SERVER_STREAM_H
#define SERVER_STREAM_H

#include "srv/app.h"

/* The handler has returned `rc` in the middle of a stream: ends the stream, or cuts it off when
 * something has failed. `rc`, or what the end came to: for request_answer. */
int stream_settle(struct srv_request *rq, int rc);

#endif
