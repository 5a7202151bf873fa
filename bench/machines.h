/* SPDX-License-Identifier: MIT */
/* A load that several machines do together: the part of this one, the common start, and what was
 * merged. A section of the report. */
#ifndef BENCH_MACHINES_H
#define BENCH_MACHINES_H

#include "loadgen/section.h"
#include "loadgen/shard.h"
#include <stdbool.h>

/* One of the runs that were merged. */
struct merged_part {
    char where[128], host[65];
    struct share shard;    /* count 0: none */
    double start, seconds; /* after the first start */
    double rate;
    uint64_t requests, failed;
    int64_t p99_us; /* -1: not known */
    bool clock_is_wrong;
};

extern const struct section machines_section;

#endif
