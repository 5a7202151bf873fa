/* SPDX-License-Identifier: MIT */
/* Parses and picks from values with shares. */
#include "slowapi/mix.h"
#include <errno.h>

int number_parse(struct slice text, double *ret) {
    double value = 0, unit = 1;
    size_t digits = 0;
    bool point = false;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (c < '0' || c > '9' || digits++ == 18)
            return -EINVAL;
        value = value * 10 + (c - '0');
        unit *= point ? 10 : 1;
    }
    *ret = value / unit;
    return digits > 0 ? 0 : -EINVAL;
}

int percent_parse(struct slice text, double *ret_share) {
    double percent = 0;

    if (text.len > 0 && text.ptr[text.len - 1] == '%')
        text.len--;
    if (number_parse(text, &percent) < 0 || percent > 100)
        return -EINVAL;
    *ret_share = percent / 100;
    return 0;
}

static int parse_share(struct slice text, enum mix_shares shares, double *ret) {
    return shares == MIX_WEIGHTS ? number_parse(text, ret) : percent_parse(text, ret);
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
