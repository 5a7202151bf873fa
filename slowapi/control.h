/* SPDX-License-Identifier: MIT */
/* The control endpoint of slowapi: /stats, /metrics, /rules, /sequences, /healthz. */
#ifndef SLOWAPI_CONTROL_H
#define SLOWAPI_CONTROL_H

#include "net/control.h"
#include "slowapi/shared.h"

/* On the loop of one worker; it tells of all. NULL with a reason. */
NODISCARD struct control *slow_control_new(struct loop *loop, int listen_fd, struct shared *shared,
                                           const struct option_strings *hosts, struct error *err);

#endif
