/* SPDX-License-Identifier: MIT */
/* Laws of spans, such as delays: how they are spelled, and one draw.
 *
 *   0.25  250ms              always that; units us ms s m h, a bare number is seconds
 *   10ms-50ms                uniform; uniform:10ms-50ms, too
 *   normal:100ms,20ms        mean and standard deviation; what falls below 0 is 0
 *   exp:100ms                exponential, by its mean
 *   lognormal:50ms,400ms     by median and p99
 *   pareto:10ms,1.5          by minimum and shape
 *   5ms:90,80ms:9,2s:1       values with percents; the rest is 0
 *   p50=20ms,p95=80ms,p99=1s straight lines between percentiles; p0 is half of the first one and
 *                            p100 the last one, unless given
 *
 * No draw is longer than ten years. */
#ifndef BASE_DIST_H
#define BASE_DIST_H

#include "base/clock.h"
#include "base/rng.h"
#include "base/slice.h"

/* --- values with shares: `503:10,404:5`, fortio's spelling ------------------------------------ */

#define MIX_MAX 16

struct mix {
    uint8_t count; /* 0: nothing was asked for */
    struct mix_item {
        int64_t value;
        double upto; /* shares (0..1) of this one and all before it, summed */
    } items[MIX_MAX];
};

enum mix_shares {
    MIX_PERCENTS, /* the rest of 100 stays as it would be; `%` may be written */
    MIX_WEIGHTS,  /* any sum; 1 when not written */
};

/* One value alone has the share 1. 0, or -EINVAL with a static text in *ret_why. */
NODISCARD int mix_parse(struct slice text, int (*parse_value)(struct slice, int64_t *),
                        enum mix_shares shares, struct mix *ret, const char **ret_why);

/* One roll. */
int64_t mix_pick(const struct mix *mix, struct rng *rng, int64_t otherwise);

/* --- laws ------------------------------------------------------------------------------------- */

enum dist_kind {
    DIST_FIXED,
    DIST_UNIFORM,
    DIST_NORMAL,
    DIST_EXP,
    DIST_LOGNORMAL,
    DIST_PARETO,
    DIST_MIX,
    DIST_PERCENTILES,
};

struct dist {
    enum dist_kind kind;
    double a, b;    /* nanoseconds; of the lognormal logarithms, of the pareto b is the shape */
    struct mix mix; /* DIST_MIX; DIST_PERCENTILES: `upto` is the percentile */
};

#define DIST_ALLOWED                                                                      \
    "a duration (0.25, 250ms, 2m), A-B, normal:MEAN,SD, exp:MEAN, lognormal:MEDIAN,P99, " \
    "pareto:MIN,SHAPE, D:PERCENT,..., or p50=D,p95=D,..."

/* 0, or -EINVAL with a static text in *ret_why. */
NODISCARD int dist_parse(struct slice text, struct dist *ret, const char **ret_why);

/* A law of whole numbers up to `max`, in the same spelling without units: a draw counts as a second
 * for each. As dist_parse. */
NODISCARD int dist_parse_counts(struct slice text, uint64_t max, struct dist *ret,
                                const char **ret_why);

/* Chains the law to a hash: two laws that may draw differently have different hashes. */
uint64_t dist_hash(uint64_t hash, const struct dist *dist);

/* The longest delay that the spelling names, in nanoseconds: draws of normal (its mean), exp (its
 * mean), lognormal (its p99) and pareto (its minimum) may be longer. */
double dist_longest(const struct dist *dist);

/* One draw, in nanoseconds. */
nsec_t dist_draw(const struct dist *dist, struct rng *rng);

static inline struct dist dist_fixed(nsec_t value) {
    return (struct dist){ .kind = DIST_FIXED, .a = (double)value };
}

#endif
