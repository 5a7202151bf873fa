/* SPDX-License-Identifier: MIT */
/* Counters that an application names, in the memory of a worker's stats. */
#ifndef SERVER_APP_COUNTER_H
#define SERVER_APP_COUNTER_H

#include "base/attr.h"
#include <stdatomic.h>

enum { APP_COUNTERS_MAX = 64, APP_COUNTER_NAME_BYTES = 64 /* with its NUL */ };

/* Taken at the first count, for good; zeroed before. */
struct app_counter {
    atomic_int state; /* enum app_counter_state */
    char name[APP_COUNTER_NAME_BYTES];
    atomic_ullong value;
};
enum app_counter_state { APP_COUNTER_FREE, APP_COUNTER_COMING, APP_COUNTER_NAMED };

/* Adds to the counter with that name, of APP_COUNTERS_MAX; from any thread. 0; -EINVAL: the name is
 * not 1 to 63 letters, digits and underscores, or begins with a digit; -ENOSPC: there are
 * APP_COUNTERS_MAX others. */
NODISCARD int app_counter_add(struct app_counter *counters, const char *name,
                              unsigned long long amount);

#endif
