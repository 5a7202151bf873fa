/* SPDX-License-Identifier: MIT */
/* Reads the clocks of clock_gettime(2). */
#include "base/clock.h"
#include "base/assert.h"
#include <time.h>

static nsec_t clock_read(clockid_t id) {
    struct timespec now;
    int rc = clock_gettime(id, &now);
    ASSERT(rc == 0);
    return (nsec_t)now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

nsec_t clock_now(void) {
    return clock_read(CLOCK_MONOTONIC);
}

nsec_t clock_wall(void) {
    return clock_read(CLOCK_REALTIME);
}
