/* SPDX-License-Identifier: MIT */
/* What the command line decides, once; constant from then on. */
#ifndef SLOWAPI_CONFIG_H
#define SLOWAPI_CONFIG_H

#include "base/log.h"
#include "base/option.h"

struct slowapi_config {
    struct option_strings binds; /* well-formed addresses */
    nsec_t delay;                /* of a request that does not say */
    int64_t workers, backlog;
    nsec_t keep_alive; /* how long a connection may be idle; 0: one request each */
    nsec_t header_timeout, graceful_timeout;
    enum log_level log_level;
};

#endif
