/* SPDX-License-Identifier: MIT */
/* The slow API: listening sockets, one worker in this process or several under a master. */
#ifndef SLOWAPI_SLOWAPI_H
#define SLOWAPI_SLOWAPI_H

#include "slowapi/config.h"

/* Serves until a signal ends it. Each bound address is told on stderr once all are ready. The exit
 * code of the process, or -errno with a reason when it could not serve. */
NODISCARD int slowapi_run(const struct slowapi_config *config, struct error *err);

#endif
