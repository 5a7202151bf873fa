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
 *   recorded  recorded:NAME  a law that was made elsewhere; dist_draw wants it resolved
 *
 * No draw is longer than ten years. A list has any number of values, which stand in an arena. */
#ifndef BASE_DIST_H
#define BASE_DIST_H

#include "base/arena.h"
#include "base/clock.h"
#include "base/rng.h"
#include "base/slice.h"

/* --- values with shares: `503:10,404:5`, fortio's spelling ------------------------------------ */

struct mix_item {
    int64_t value;
    double upto; /* shares (0..1) of this one and all before it, summed */
};

struct mix {
    uint32_t count; /* 0: nothing was asked for */
    const struct mix_item *items;
};

enum mix_shares {
    MIX_PERCENTS, /* the rest of 100 stays as it would be; `%` may be written */
    MIX_WEIGHTS,  /* any sum; 1 when not written */
};

/* One value alone has the share 1. The items live as long as `memory`. 0, or -EINVAL with a static
 * text in *ret_why. */
NODISCARD int mix_parse(struct slice text, int (*parse_value)(struct slice, int64_t *),
                        enum mix_shares shares, struct arena *memory, struct mix *ret,
                        const char **ret_why);

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
    DIST_RECORDED,
};

struct dist {
    enum dist_kind kind;
    double a, b;    /* nanoseconds; of the lognormal logarithms, of the pareto b is the shape */
    struct mix mix; /* DIST_MIX; DIST_PERCENTILES and DIST_RECORDED: `upto` is the percentile */
    uint64_t name;  /* DIST_RECORDED: hash of the name (none: 0), and of the law once resolved */
};

#define DIST_ALLOWED                                                                      \
    "a duration (0.25, 250ms, 2m), A-B, normal:MEAN,SD, exp:MEAN, lognormal:MEDIAN,P99, " \
    "pareto:MIN,SHAPE, D:PERCENT,..., or p50=D,p95=D,..."

/* Lists live as long as `memory`. 0, or -EINVAL with a static text in *ret_why. */
NODISCARD int dist_parse(struct slice text, struct arena *memory, struct dist *ret,
                         const char **ret_why);

/* As dist_parse, with room for `max` items of a list; percentiles need two for their ends. */
NODISCARD int dist_parse_into(struct slice text, struct mix_item *items, size_t max,
                              struct dist *ret, const char **ret_why);

/* A law of whole numbers up to `max`, in the same spelling without units: a draw counts as a second
 * for each. As dist_parse. */
NODISCARD int dist_parse_counts(struct slice text, uint64_t max, struct arena *memory,
                                struct dist *ret, const char **ret_why);

/* A law of straight lines between `count` (2 or more) points, whose values and shares rise, the
 * shares from 0 to 1; they must outlive it. `id` is a hash of them. */
struct dist dist_recorded(const struct mix_item *points, uint32_t count, uint64_t id);

/* Whether the law is a name that is to be resolved. */
static inline bool dist_is_named(const struct dist *dist) {
    return dist->kind == DIST_RECORDED && dist->mix.count == 0;
}

/* Chains the law to a hash: two laws that may draw differently have different hashes. */
uint64_t dist_hash(uint64_t hash, const struct dist *dist);

/* The longest delay that the spelling names, in nanoseconds: draws of normal (its mean), exp (its
 * mean), lognormal (its p99) and pareto (its minimum) may be longer; a recorded law names none. */
double dist_longest(const struct dist *dist);

/* One draw, in nanoseconds. */
nsec_t dist_draw(const struct dist *dist, struct rng *rng);

static inline struct dist dist_fixed(nsec_t value) {
    return (struct dist){ .kind = DIST_FIXED, .a = (double)value };
}

#endif
