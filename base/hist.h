/* SPDX-License-Identifier: MIT */
/* HDR-style histograms in constant memory that can be merged: `struct hist` of one thread, from 1
 * microsecond to an hour with three significant digits, and the coarser `struct hist_shared`, which
 * threads and processes fill together. */
#ifndef BASE_HIST_H
#define BASE_HIST_H

#include "base/attr.h"
#include "base/clock.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define HIST_MAX_USEC INT64_C(3600000000) /* larger values count as this one */

struct hist;

/* NULL when out of memory. About 200 KB, of which only touched pages become resident. */
NODISCARD struct hist *hist_new(void);
void hist_free(struct hist *h);
void hist_reset(struct hist *h);

/* Values in microseconds; below 0 counts as 0. */
void hist_record(struct hist *h, int64_t usec);
void hist_record_n(struct hist *h, int64_t usec, uint64_t count);

/* Adds all of `from` to `to`. */
void hist_merge(struct hist *to, const struct hist *from);

uint64_t hist_count(const struct hist *h);
int64_t hist_min(const struct hist *h);   /* exact; 0 when empty, as all below */
int64_t hist_max(const struct hist *h);   /* exact */
double hist_mean(const struct hist *h);   /* exact */
double hist_stddev(const struct hist *h); /* sample deviation (n-1); 0 for fewer than two */

/* The smallest recorded value v such that at least q (0..1) of all values are <= v, to three digits
 * (the largest value of its bucket), never above hist_max; hist_min for q <= 0. */
int64_t hist_quantile(const struct hist *h, double q);

/* Share (0..1) of the values that are <= usec, to the bucket's precision. */
double hist_share_below(const struct hist *h, int64_t usec);

/* Walks the non-empty buckets in order: start with *cursor = 0; false at the end. `*ret_usec` is
 * the largest value that the bucket counts, never above hist_max. */
bool hist_next(const struct hist *h, uint32_t *cursor, int64_t *ret_usec, uint64_t *ret_count);

/* --- in memory that threads and processes share ----------------------------------------------- */

/* Zeroed memory is an empty histogram of 12 KB, of which only touched pages become resident. The
 * width of a bucket is at most 5 % of its values; up to 20 us each value has one, and the last one
 * ends at 63 years and takes all that is above. 1, 1.5, 2, 2.5 and 3 to 9 times each power of ten
 * are ends of buckets, so that the counts up to such bounds, which Prometheus wants, are exact.
 * Counters are read at any time: they may be a few values apart from each other, and are exact
 * when nothing runs. */
#define HIST_SHARED_BUCKETS 1491

struct hist_shared {
    _Atomic uint64_t buckets[HIST_SHARED_BUCKETS];
    _Atomic uint64_t sum_usec, max_usec; /* each value rounded to the microsecond */
};

/* Counts a span; below 0 counts as 0. From any thread. */
void hist_shared_record(struct hist_shared *h, nsec_t span);

/* Counts a span where nobody else writes: no locked instruction. */
void hist_shared_record_alone(struct hist_shared *h, nsec_t span);

/* Adds all of `from` to `to`, where nobody else writes. */
void hist_shared_merge(struct hist_shared *to, const struct hist_shared *from);

/* Takes away what `h` held when it was copied to `then`, where nobody else writes. A maximum that
 * is no new one becomes the end of its bucket. */
void hist_shared_subtract(struct hist_shared *h, const struct hist_shared *then);

uint64_t hist_shared_count(const struct hist_shared *h);
uint64_t hist_shared_sum(const struct hist_shared *h); /* microseconds */
uint64_t hist_shared_max(const struct hist_shared *h); /* microseconds; 0 when empty */

/* Microseconds as hist_quantile, within 5 percent. */
uint64_t hist_shared_quantile(const struct hist_shared *h, double q);

/* Walks the non-empty buckets as hist_next; *ret_usec may be above hist_shared_max. */
bool hist_shared_next(const struct hist_shared *h, uint32_t *cursor, uint64_t *ret_usec,
                      uint64_t *ret_count);

/* Number of values that are at most `usec`; of a bound within a bucket, those of the buckets
 * below. */
uint64_t hist_shared_below(const struct hist_shared *h, uint64_t usec);

#endif
