/* SPDX-License-Identifier: MIT */
/* A bandwidth in virtual time: one number says until when it is taken. Processes may share it.
 *
 *   end = bucket_carry(&bucket, bytes, rate, from);      at most a portion of a second's bytes
 *   send the bytes at `end`, which may be past
 *
 * Who takes is served in the order of taking, so that many who take small portions share fairly.
 * `from` is now for a taker whose bytes have just come. One whose bytes waited takes from the end
 * of its last portion on: so what timers and processors are late is made up for. */
#ifndef BASE_BUCKET_H
#define BASE_BUCKET_H

#include "base/clock.h"
#include <stdatomic.h>

/* Until when it is taken; all zero: never used. */
struct bucket {
    _Atomic nsec_t until;
};

/* Takes `bytes` at `rate` bytes a second, above 0, from `from` on, and returns the time at which
 * all have passed. */
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
