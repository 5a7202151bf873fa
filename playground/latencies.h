/* SPDX-License-Identifier: MIT */
/* The response time of each request of a load: some of them one by one, all of them counted. */
#ifndef PLAYGROUND_LATENCIES_H
#define PLAYGROUND_LATENCIES_H

#include "base/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LATENCIES_POINTS_MAX   400    /* of one load; a chart is not wider */
#define LATENCIES_BINS         40     /* of equal width, from 0 to the slowest */
#define LATENCIES_REQUESTS_MAX 200000 /* of larger loads nothing is kept: some 15 MiB of lines */

struct latency {
    int64_t end_usec;   /* when the request was over, since the start of the load */
    int64_t total_usec; /* connecting included */
    bool failed;
};

/* Zeroed is empty. */
struct latencies {
    struct latency *points; /* every stride-th request, in the order of their starts */
    size_t count;
    uint64_t requests; /* all that were counted in `bins` */
    uint64_t bins[LATENCIES_BINS];
    int64_t slowest_usec;
};

/* Reads what `srv bench --csv` wrote, from the start of the file. 0, -ENOMEM or -EIO; lines that
 * are none are left out. */
NODISCARD int latencies_read(struct latencies *l, int fd);
void latencies_free(struct latencies *l);

#endif
