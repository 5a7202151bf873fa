/* SPDX-License-Identifier: MIT */
/* A request as the application sees it: the other side of include/srv/handler.h. */
#ifndef SERVER_REQUEST_H
#define SERVER_REQUEST_H

#include "server/session.h"
#include "srv/handler.h"

/* Runs the application on the session's current request and leaves the encoded answer in `out`, an
 * error answer included. 0, or -ECANCELED, -ENOMEM: close without an answer. */
NODISCARD int request_run(struct session *s, struct io *io);

#endif
