/* SPDX-License-Identifier: MIT */
/* Parses laws of delays and draws from them. */
#include "base/dist.h"
#include "base/units.h"
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>

#define DRAW_MAX (3650.0 * 24 * 3600 * 1e9)
#define Z_99     2.3263478740408408 /* 99 percent of a standard normal lie below */

/* --- values with shares ----------------------------------------------------------------------- */

static int parse_share(struct slice text, enum mix_shares shares, double *ret) {
    return shares == MIX_WEIGHTS ? units_parse_number(text, ret) : units_parse_percent(text, ret);
}

/* Ten values of 10.1 percent miss 101 by a rounding error, ten of 10 do not. */
#define SUM_MAX (1 + 1e-9)

static int finish(struct mix *mix, enum mix_shares shares, double sum, const char **ret_why) {
    *ret_why = "has shares that sum up to more than 100 percent";
    if (shares == MIX_PERCENTS && sum > SUM_MAX)
        return -EINVAL;
    *ret_why = "has no share above 0";
    if (shares == MIX_WEIGHTS && sum <= 0)
        return -EINVAL;
    for (size_t i = 0; shares == MIX_WEIGHTS && i < mix->count; i++)
        mix->items[i].upto /= sum;
    if (shares == MIX_WEIGHTS)
        mix->items[mix->count - 1].upto = 1;
    return 0;
}

int mix_parse(struct slice text, int (*parse_value)(struct slice, int64_t *),
              enum mix_shares shares, struct mix *ret, const char **ret_why) {
    double sum = 0;

    ret->count = 0;
    while (text.len > 0) {
        struct slice share_text = slice_cut(&text, ',');
        struct slice item_text = share_text, value = slice_cut(&share_text, ':');
        double share = 1;

        *ret_why = "has too many values";
        if (ret->count == MIX_MAX)
            return -EINVAL;
        struct mix_item *item = &ret->items[ret->count++];
        *ret_why = "has an impossible value";
        if (parse_value(value, &item->value) < 0)
            return -EINVAL;
        *ret_why = "has a share that is none";
        if (value.len < item_text.len && parse_share(share_text, shares, &share) < 0)
            return -EINVAL;
        sum += share;
        item->upto = sum;
    }
    *ret_why = "is empty";
    return ret->count > 0 ? finish(ret, shares, sum, ret_why) : -EINVAL;
}

int64_t mix_pick(const struct mix *mix, struct rng *rng, int64_t otherwise) {
    if (mix->count == 0)
        return otherwise;

    double roll = rng_unit(rng);
    for (size_t i = 0; i < mix->count; i++)
        if (roll < mix->items[i].upto)
            return mix->items[i].value;
    return otherwise;
}

/* --- spelling --------------------------------------------------------------------------------- */

static int parse_span(struct slice text, double *ret, const char **ret_why) {
    nsec_t span;

    int rc = units_parse_duration(text, &span);
    if (rc == 0) {
        *ret = (double)span;
        return 0;
    }
    *ret_why = rc == -ERANGE ? "is more than ten years" : "has a part that is not a duration";
    return -EINVAL;
}

static int parse_two(struct slice text, struct dist *ret, const char **ret_why) {
    struct slice first = slice_cut(&text, ',');

    if (parse_span(first, &ret->a, ret_why) < 0)
        return -EINVAL;
    return parse_span(text, &ret->b, ret_why);
}

static int parse_normal(struct slice text, struct dist *ret, const char **ret_why) {
    ret->kind = DIST_NORMAL;
    return parse_two(text, ret, ret_why);
}

static int parse_exp(struct slice text, struct dist *ret, const char **ret_why) {
    ret->kind = DIST_EXP;
    return parse_span(text, &ret->a, ret_why);
}

static int parse_lognormal(struct slice text, struct dist *ret, const char **ret_why) {
    ret->kind = DIST_LOGNORMAL;
    if (parse_two(text, ret, ret_why) < 0)
        return -EINVAL;
    *ret_why = "has a p99 below its median, or a median of 0";
    if (ret->a <= 0 || ret->b < ret->a)
        return -EINVAL;
    ret->b = (log(ret->b) - log(ret->a)) / Z_99;
    ret->a = log(ret->a);
    return 0;
}

static int parse_pareto(struct slice text, struct dist *ret, const char **ret_why) {
    struct slice minimum = slice_cut(&text, ',');

    ret->kind = DIST_PARETO;
    if (parse_span(minimum, &ret->a, ret_why) < 0)
        return -EINVAL;
    *ret_why = "has a shape that is not a number above 0";
    return units_parse_number(text, &ret->b) == 0 && ret->b > 0 ? 0 : -EINVAL;
}

static int parse_range(struct slice text, struct dist *ret, const char **ret_why) {
    struct slice low = slice_cut(&text, '-');

    ret->kind = DIST_UNIFORM;
    if (parse_span(low, &ret->a, ret_why) < 0 || parse_span(text, &ret->b, ret_why) < 0)
        return -EINVAL;
    *ret_why = "has an end below its begin";
    return ret->b >= ret->a ? 0 : -EINVAL;
}

static const struct law {
    struct slice prefix;
    int (*parse)(struct slice text, struct dist *ret, const char **ret_why);
} laws[] = {
    { SLICE_INIT("uniform:"), parse_range }, { SLICE_INIT("normal:"), parse_normal },
    { SLICE_INIT("exp:"), parse_exp },       { SLICE_INIT("lognormal:"), parse_lognormal },
    { SLICE_INIT("pareto:"), parse_pareto },
};

static int parse_value(struct slice text, int64_t *ret) {
    return units_parse_duration(text, ret);
}

static int parse_point(struct slice text, struct mix_item *ret) {
    struct slice percentile = slice_cut(&text, '=');

    if (percentile.len < 2 || percentile.ptr[0] != 'p')
        return -EINVAL;
    if (units_parse_percent(slice_drop(percentile, 1), &ret->upto) < 0)
        return -EINVAL;
    return units_parse_duration(text, &ret->value);
}

/* The ends that were not given are put in, so that drawing knows no special case. */
static int parse_percentiles(struct slice text, struct dist *ret, const char **ret_why) {
    struct mix *mix = &ret->mix;
    struct mix_item *last;

    ret->kind = DIST_PERCENTILES;
    mix->items[0] = (struct mix_item){ .value = 0 };
    mix->count = 1;
    while (text.len > 0) {
        *ret_why = "has too many percentiles";
        if (mix->count == MIX_MAX - 1)
            return -EINVAL;
        struct mix_item *item = &mix->items[mix->count++];
        *ret_why = "has a part that is not a percentile such as p95=80ms";
        if (parse_point(slice_cut(&text, ','), item) < 0)
            return -EINVAL;
        *ret_why = "has percentiles that do not rise";
        if (mix->count > 2 && (item->upto <= item[-1].upto || item->value < item[-1].value))
            return -EINVAL;
    }
    mix->items[0].value = mix->items[1].upto > 0 ? mix->items[1].value / 2 : mix->items[1].value;
    last = &mix->items[mix->count - 1];
    if (last->upto < 1)
        mix->items[mix->count++] = (struct mix_item){ .value = last->value, .upto = 1 };
    return 0;
}

static int parse_fixed(struct slice text, struct dist *ret, const char **ret_why) {
    nsec_t span = 0;

    int rc = units_parse_duration(text, &span);
    if (rc == -EINVAL) /* once more, for its reason */
        rc = units_parse_seconds(text, &span, ret_why);
    else if (rc == -ERANGE)
        *ret_why = "is more than ten years";
    *ret = dist_fixed(span);
    return rc < 0 ? -EINVAL : 0;
}

int dist_parse(struct slice text, struct dist *ret, const char **ret_why) {
    size_t dash = slice_find(text, '-');

    *ret = (struct dist){ .kind = DIST_FIXED };
    for (size_t i = 0; i < ARRAY_LEN(laws); i++)
        if (slice_starts_with(text, laws[i].prefix))
            return laws[i].parse(slice_drop(text, laws[i].prefix.len), ret, ret_why);

    if (slice_find(text, '=') < text.len)
        return parse_percentiles(text, ret, ret_why);
    if (slice_find(text, ':') < text.len) {
        ret->kind = DIST_MIX;
        return mix_parse(text, parse_value, MIX_PERCENTS, &ret->mix, ret_why);
    }
    if (dash > 0 && dash < text.len)
        return parse_range(text, ret, ret_why);
    return parse_fixed(text, ret, ret_why);
}

static bool has_unit(struct slice law) {
    for (size_t i = 1; i < law.len; i++)
        if (isdigit((unsigned char)law.ptr[i - 1]) && isalpha((unsigned char)law.ptr[i]))
            return true;
    return false;
}

int dist_parse_counts(struct slice text, uint64_t max, struct dist *ret, const char **ret_why) {
    *ret_why = "has a unit, which numbers do not have";
    if (has_unit(text) || dist_parse(text, ret, ret_why) < 0)
        return -EINVAL;
    *ret_why = "is more than there may be";
    return dist_longest(ret) <= (double)max * (double)NSEC_PER_SEC ? 0 : -EINVAL;
}

double dist_longest(const struct dist *dist) {
    double longest = 0;

    switch (dist->kind) {
    case DIST_FIXED:
    case DIST_NORMAL:
    case DIST_EXP:
    case DIST_PARETO:
        return dist->a;
    case DIST_UNIFORM:
        return dist->b;
    case DIST_LOGNORMAL:
        return exp(dist->a + dist->b * Z_99);
    case DIST_MIX:
    case DIST_PERCENTILES:
        for (size_t i = 0; i < dist->mix.count; i++)
            longest = fmax(longest, (double)dist->mix.items[i].value);
        break;
    }
    return longest;
}

uint64_t dist_hash(uint64_t hash, const struct dist *dist) {
    const double numbers[] = { (double)dist->kind, dist->a, dist->b };

    static_assert(sizeof(dist->mix.items[0]) == 16, "no padding is hashed");
    hash = hash_bytes(hash, numbers, sizeof(numbers));
    return hash_bytes(hash, dist->mix.items, dist->mix.count * sizeof(dist->mix.items[0]));
}

/* --- drawing ---------------------------------------------------------------------------------- */

/* Standard normal, by the polar form of Box and Muller. */
static double draw_normal(struct rng *rng) {
    double u, v, s;

    do {
        u = 2 * rng_unit(rng) - 1;
        v = 2 * rng_unit(rng) - 1;
        s = u * u + v * v;
    } while (s >= 1 || s <= 0);
    return u * sqrt(-2 * log(s) / s);
}

static double draw_between(const struct mix *points, double roll) {
    size_t i = 1;

    while (i + 1 < points->count && points->items[i].upto < roll)
        i++;
    const struct mix_item *low = &points->items[i - 1], *high = &points->items[i];
    if (high->upto <= low->upto)
        return (double)high->value;
    return (double)low->value +
           (double)(high->value - low->value) * (roll - low->upto) / (high->upto - low->upto);
}

nsec_t dist_draw(const struct dist *dist, struct rng *rng) {
    double value = dist->a;

    switch (dist->kind) {
    case DIST_FIXED:
        break;
    case DIST_UNIFORM:
        value = dist->a + (dist->b - dist->a) * rng_unit(rng);
        break;
    case DIST_NORMAL:
        value = dist->a + dist->b * draw_normal(rng);
        break;
    case DIST_EXP:
        value = -dist->a * log(rng_unit(rng));
        break;
    case DIST_LOGNORMAL:
        value = exp(dist->a + dist->b * draw_normal(rng));
        break;
    case DIST_PARETO:
        value = dist->a * pow(rng_unit(rng), -1 / dist->b);
        break;
    case DIST_MIX:
        value = (double)mix_pick(&dist->mix, rng, 0);
        break;
    case DIST_PERCENTILES:
        value = draw_between(&dist->mix, rng_unit(rng));
        break;
    }
    if (value <= 0)
        return 0;
    return value < DRAW_MAX ? (nsec_t)value : (nsec_t)DRAW_MAX;
}
