/* SPDX-License-Identifier: MIT */
/* Values with shares: `503:10,404:5`, fortio's spelling. */
#ifndef SLOWAPI_MIX_H
#define SLOWAPI_MIX_H

#include "base/slice.h"
#include "slowapi/rng.h"

#define MIX_MAX 16

struct mix {
    uint8_t count; /* 0: nothing was asked for */
    struct mix_item {
        int64_t value;
        double upto; /* shares (0..1) of this one and all before it, summed */
    } items[MIX_MAX];
};

enum mix_shares {
    MIX_PERCENTS, /* what is left of 100 stays as it would be; `%` may be written */
    MIX_WEIGHTS,  /* of any sum; 1 when not written */
};

/* One value alone has the share 1. 0, or -EINVAL with a static text in *ret_why. */
NODISCARD int mix_parse(struct slice text, int (*parse_value)(struct slice, int64_t *),
                        enum mix_shares shares, struct mix *ret, const char **ret_why);

/* One roll. */
int64_t mix_pick(const struct mix *mix, struct rng *rng, int64_t otherwise);

/* A decimal number without sign or exponent: 0 or -EINVAL. */
NODISCARD int number_parse(struct slice text, double *ret);

/* 0 to 100, with or without `%`, as a share (0..1). 0 or -EINVAL. */
NODISCARD int percent_parse(struct slice text, double *ret_share);

#endif
