/* SPDX-License-Identifier: MIT */
/* Which request a worker's only thread runs, rather than which ones wait: in shared memory, for a
 * master that wants to know what a stuck worker was doing. */
#ifndef SERVER_RUNNING_H
#define SERVER_RUNNING_H

#include "base/clock.h"
#include "base/slice.h"
#include <stdatomic.h>

enum { RUNNING_WHAT_BYTES = 96 };

struct running {
    _Atomic(nsec_t) since; /* 0: none */
    char what[RUNNING_WHAT_BYTES];
};

/* "GET /?delay=1", cut. */
void running_describe(char what[RUNNING_WHAT_BYTES], struct slice method, struct slice target);

void running_set(struct running *r, struct slice method, struct slice target, nsec_t now);

static inline void running_clear(struct running *r) {
    atomic_store_explicit(&r->since, 0, memory_order_relaxed);
}

/* `request="GET /" for_seconds=1.5` or `request=none`; from another process. */
void running_print(const struct running *r, char *text, size_t size);

#endif
