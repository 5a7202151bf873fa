/* SPDX-License-Identifier: MIT */
/* HDR-style histogram: 1 microsecond to an hour, three significant digits, constant memory, and
 * mergeable. */
#ifndef BASE_HIST_H
#define BASE_HIST_H

#include "base/attr.h"
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
double hist_stddev(const struct hist *h); /* of the sample (n-1); 0 for fewer than two */

/* The smallest recorded value v such that at least q (0..1) of all values are <= v, to three digits
 * (the largest value of its bucket), never above hist_max; hist_min for q <= 0. */
int64_t hist_quantile(const struct hist *h, double q);

/* Share (0..1) of the values that are <= usec, to the bucket's precision. */
double hist_share_below(const struct hist *h, int64_t usec);

/* Walks the non-empty buckets in order: start with *cursor = 0; false at the end. `*ret_usec` is
 * the largest value that the bucket counts, never above hist_max. */
bool hist_next(const struct hist *h, uint32_t *cursor, int64_t *ret_usec, uint64_t *ret_count);

#endif
