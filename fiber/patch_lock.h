/* SPDX-License-Identifier: MIT */
/* Locks between fibers, for the hooks that need more than one. */
#ifndef FIBER_PATCH_LOCK_H
#define FIBER_PATCH_LOCK_H

#include "fiber/patch.h"
#include <pthread.h>
#include <time.h>

/* Lock and unlock as pthread_mutex_clocklock(3) and pthread_mutex_unlock(3), with an owner per
 * fiber; the errors are theirs. NSEC_NEVER: returns with the lock, whatever becomes of the
 * request. */
int patch_mutex_lock(struct patch *p, pthread_mutex_t *m, nsec_t until);
int patch_mutex_unlock(struct patch *p, pthread_mutex_t *m);

/* The monotonic time at which a call gives up, by one of the clocks that locks know: 0 or
 * EINVAL. */
int patch_until(clockid_t clock, const struct timespec *at, nsec_t *ret);

/* The result of a call of <threads.h> for the error of one of <pthread.h>. */
int patch_thrd_result(int rc);

#endif
