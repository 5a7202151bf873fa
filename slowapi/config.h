/* SPDX-License-Identifier: MIT */
/* What the command line decides, once; constant from then on. */
#ifndef SLOWAPI_CONFIG_H
#define SLOWAPI_CONFIG_H

#include "base/log.h"
#include "base/option.h"
#include "net/address.h"

#define SLOWAPI_BINDS_MAX 16

struct slowapi_config {
    struct option_strings binds; /* as written: ADDR, or a bare port */
    struct endpoint endpoints[SLOWAPI_BINDS_MAX]; /* the same, taken apart by slowapi_check */
    size_t endpoint_count;

    nsec_t delay; /* of a request that does not say */
    int64_t workers, backlog;
    nsec_t keep_alive; /* how long a connection may be idle; 0: one request each */
    nsec_t header_timeout, graceful_timeout;
    enum log_level log_level;
};

/* Takes the binds apart. 0, or -EINVAL with a line that says which one is wrong and what is
 * allowed. The endpoints point into the texts of `binds`. */
NODISCARD int slowapi_config_check(struct slowapi_config *config, struct error *err);

#endif
