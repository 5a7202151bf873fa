/* SPDX-License-Identifier: MIT */
/* The wishes of the user about what servers tell of themselves. */
#ifndef LOADGEN_SERVER_CONFIG_H
#define LOADGEN_SERVER_CONFIG_H

#include "base/option.h"
#include <stdbool.h>

struct server_config {
    bool timing;                   /* tell where the time went, by the answers' Server-Timing */
    const char *timing_parts;      /* names that are parts of the wait; NULL: all but totals */
    struct option_strings metrics; /* URLs of servers' metrics */
    const char *metrics_match;     /* patterns of their names; NULL: all */
};

#endif
