/* SPDX-License-Identifier: MIT */
/* The control endpoint of slowapi: what happened, and what is to happen. openapi.json describes
 * it. */
#ifndef SLOWAPI_CONTROL_H
#define SLOWAPI_CONTROL_H

#include "net/control.h"
#include "slowapi/shared.h"

/* On the loop of one worker; it tells of all. NULL with a reason. */
NODISCARD struct control *slow_control_new(struct loop *loop, int listen_fd, struct shared *shared,
                                           const struct option_strings *hosts, struct error *err);

const struct control_route *slow_control_routes(size_t *ret_count);

#endif
