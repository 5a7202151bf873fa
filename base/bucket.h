/* SPDX-License-Identifier: MIT */
/* A bandwidth in virtual time: one number says until when it is taken. Processes may share it.
 *
 *   at = bucket_take(&bucket, bytes, rate, now);      at most some portions of a second at once
 *   send the bytes at `at`, which may be past
 *
 * Who takes is served in the order of taking, so that many who take small portions share fairly.
 * What nobody took is lost, but for BUCKET_DEBT: a taker that comes late, because its timer or its
 * processor did, makes up for it. */
#ifndef BASE_BUCKET_H
#define BASE_BUCKET_H

#include "base/clock.h"
#include <stdatomic.h>

#define BUCKET_DEBT (50 * NSEC_PER_MSEC)

/* Until when it is taken; all zero: never used. */
struct bucket {
    _Atomic nsec_t until;
};

/* Takes `bytes` at `rate` bytes a second, above 0, and returns the time at which they may pass. */
static inline nsec_t bucket_take(struct bucket *bucket, uint64_t bytes, uint64_t rate, nsec_t now) {
    nsec_t span = (nsec_t)((double)bytes / (double)rate * (double)NSEC_PER_SEC);
    nsec_t until = atomic_load_explicit(&bucket->until, memory_order_relaxed), at;

    do
        at = until == 0 ? now : nsec_max(until, now - BUCKET_DEBT);
    while (!atomic_compare_exchange_weak_explicit(&bucket->until, &until, deadline_after(at, span),
                                                  memory_order_relaxed, memory_order_relaxed));
    return at;
}

/* Takes `bytes` from `from` on, and returns the time at which all have passed. */
static inline nsec_t bucket_carry(struct bucket *bucket, uint64_t bytes, uint64_t rate,
                                  nsec_t from) {
    nsec_t span = (nsec_t)((double)bytes / (double)rate * (double)NSEC_PER_SEC);
    nsec_t until = atomic_load_explicit(&bucket->until, memory_order_relaxed), end;

    do
        end = deadline_after(nsec_max(until, from), span);
    while (!atomic_compare_exchange_weak_explicit(&bucket->until, &until, end, memory_order_relaxed,
                                                  memory_order_relaxed));
    return end;
}

/* Forgets what was taken. */
static inline void bucket_clear(struct bucket *bucket) {
    atomic_store_explicit(&bucket->until, 0, memory_order_relaxed);
}

#endif
