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

static int finish(struct mix_item *items, size_t count, enum mix_shares shares, double sum,
                  const char **ret_why) {
    *ret_why = "has shares that sum up to more than 100 percent";
    if (shares == MIX_PERCENTS && sum > SUM_MAX)
        return -EINVAL;
    *ret_why = "has no share above 0";
    if (shares == MIX_WEIGHTS && sum <= 0)
        return -EINVAL;
    for (size_t i = 0; shares == MIX_WEIGHTS && i < count; i++)
        items[i].upto /= sum;
    if (shares == MIX_WEIGHTS)
        items[count - 1].upto = 1;
    return 0;
}

/* Room for the items of a list. */
struct room {
    struct mix_item *items;
    size_t max;
};

/* For as many items as the text has parts, and two more. */
static struct room room_for(struct slice text, struct arena *memory) {
    size_t count = 3;

    for (size_t i = 0; i < text.len; i++)
        count += text.ptr[i] == ',';
    struct mix_item *items = arena_alloc(memory, count * sizeof(*items));
    return (struct room){ items, items != NULL ? count : 0 };
}

static int parse_mix(struct slice text, int (*parse_value)(struct slice, int64_t *),
                     enum mix_shares shares, struct room room, struct mix *ret,
                     const char **ret_why) {
    double sum = 0;

    *ret = (struct mix){ .items = room.items };
    while (text.len > 0) {
        struct slice share_text = slice_cut(&text, ',');
        struct slice item_text = share_text, value = slice_cut(&share_text, ':');
        double share = 1;

        *ret_why = "has too many values";
        if (ret->count == room.max)
            return -EINVAL;
        struct mix_item *item = &room.items[ret->count++];
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
    return ret->count > 0 ? finish(room.items, ret->count, shares, sum, ret_why) : -EINVAL;
}

int mix_parse(struct slice text, int (*parse_value)(struct slice, int64_t *),
              enum mix_shares shares, struct arena *memory, struct mix *ret, const char **ret_why) {
    return parse_mix(text, parse_value, shares, room_for(text, memory), ret, ret_why);
}

/* The first item whose share is above `roll`; count: none is. */
static size_t find_above(const struct mix *mix, double roll) {
    size_t low = 0, high = mix->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (roll < mix->items[middle].upto)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

int64_t mix_pick(const struct mix *mix, struct rng *rng, int64_t otherwise) {
    if (mix->count == 0)
        return otherwise;

    size_t i = find_above(mix, rng_unit(rng));
    return i < mix->count ? mix->items[i].value : otherwise;
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
static int parse_percentiles(struct slice text, struct room room, struct dist *ret,
                             const char **ret_why) {
    struct mix_item *items = room.items, *last;
    size_t count = 1;

    ret->kind = DIST_PERCENTILES;
    *ret_why = "has too many percentiles";
    if (room.max < 3)
        return -EINVAL;
    items[0] = (struct mix_item){ .value = 0 };
    while (text.len > 0) {
        *ret_why = "has too many percentiles";
        if (count == room.max - 1)
            return -EINVAL;
        struct mix_item *item = &items[count++];
        *ret_why = "has a part that is not a percentile such as p95=80ms";
        if (parse_point(slice_cut(&text, ','), item) < 0)
            return -EINVAL;
        *ret_why = "has percentiles that do not rise";
        if (count > 2 && (item->upto <= item[-1].upto || item->value < item[-1].value))
            return -EINVAL;
    }
    items[0].value = items[1].upto > 0 ? items[1].value / 2 : items[1].value;
    last = &items[count - 1];
    if (last->upto < 1)
        items[count++] = (struct mix_item){ .value = last->value, .upto = 1 };
    ret->mix = (struct mix){ .count = (uint32_t)count, .items = items };
    return 0;
}

/* `recorded` or `recorded:NAME`; false: it is no such law. */
static bool parse_recorded(struct slice text, struct dist *ret) {
    struct slice name = slice_drop(text, strlen("recorded:"));

    if (!slice_eq(text, SLICE("recorded")) &&
        (name.len == 0 || !slice_starts_with(text, SLICE("recorded:"))))
        return false;
    ret->kind = DIST_RECORDED;
    ret->name = name.len > 0 ? hash_bytes(HASH_SEED, name.ptr, name.len) : 0;
    return true;
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

/* NULL: the law is none of those with a word before it. */
static const struct law *law_of(struct slice text) {
    for (size_t i = 0; i < ARRAY_LEN(laws); i++)
        if (slice_starts_with(text, laws[i].prefix))
            return &laws[i];
    return NULL;
}

static bool is_list(struct slice text) {
    return slice_find(text, '=') < text.len || slice_find(text, ':') < text.len;
}

static int parse_list(struct slice text, struct room room, struct dist *ret, const char **ret_why) {
    *ret = (struct dist){ .kind = DIST_MIX };
    if (slice_find(text, '=') < text.len)
        return parse_percentiles(text, room, ret, ret_why);
    return parse_mix(text, parse_value, MIX_PERCENTS, room, &ret->mix, ret_why);
}

/* A law that is no list. */
static int parse_plain(struct slice text, const struct law *law, struct dist *ret,
                       const char **ret_why) {
    size_t dash = slice_find(text, '-');

    *ret = (struct dist){ .kind = DIST_FIXED };
    if (law != NULL)
        return law->parse(slice_drop(text, law->prefix.len), ret, ret_why);
    if (parse_recorded(text, ret))
        return 0;
    return dash > 0 && dash < text.len ? parse_range(text, ret, ret_why)
                                       : parse_fixed(text, ret, ret_why);
}

int dist_parse_into(struct slice text, struct mix_item *items, size_t max, struct dist *ret,
                    const char **ret_why) {
    const struct law *law = law_of(text);
    struct dist named;

    if (law == NULL && is_list(text) && !parse_recorded(text, &named))
        return parse_list(text, (struct room){ items, max }, ret, ret_why);
    return parse_plain(text, law, ret, ret_why);
}

int dist_parse(struct slice text, struct arena *memory, struct dist *ret, const char **ret_why) {
    struct room room = { NULL, 0 };

    if (law_of(text) == NULL && is_list(text))
        room = room_for(text, memory);
    return dist_parse_into(text, room.items, room.max, ret, ret_why);
}

static bool has_unit(struct slice law) {
    for (size_t i = 1; i < law.len; i++)
        if (isdigit((unsigned char)law.ptr[i - 1]) && isalpha((unsigned char)law.ptr[i]))
            return true;
    return false;
}

int dist_parse_counts(struct slice text, uint64_t max, struct arena *memory, struct dist *ret,
                      const char **ret_why) {
    *ret_why = "has a unit, which numbers do not have";
    if (has_unit(text) || dist_parse(text, memory, ret, ret_why) < 0)
        return -EINVAL;
    *ret_why = "is a law of time";
    if (ret->kind == DIST_RECORDED)
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
    case DIST_RECORDED:
        return 0;
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

struct dist dist_recorded(const struct mix_item *points, uint32_t count, uint64_t id) {
    return (struct dist){ .kind = DIST_RECORDED,
                          .mix = { .count = count, .items = points },
                          .name = id };
}

uint64_t dist_hash(uint64_t hash, const struct dist *dist) {
    const double numbers[] = { (double)dist->kind, dist->a, dist->b };

    static_assert(sizeof(dist->mix.items[0]) == 16, "no padding is hashed");
    hash = hash_bytes(hash, numbers, sizeof(numbers));
    if (dist->kind == DIST_RECORDED) /* has many points */
        return hash_bytes(hash, &dist->name, sizeof(dist->name));
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
    size_t i = find_above(points, roll);

    i = i == 0 ? 1 : i < points->count ? i : points->count - 1;
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
    case DIST_RECORDED:
        value = draw_between(&dist->mix, rng_unit(rng));
        break;
    }
    if (value <= 0)
        return 0;
    return value < DRAW_MAX ? (nsec_t)value : (nsec_t)DRAW_MAX;
}
