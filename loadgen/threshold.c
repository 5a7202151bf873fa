/* SPDX-License-Identifier: MIT */
/* Takes conditions apart and compares them with facts. */
#include "loadgen/threshold.h"
#include "base/slice.h"
#include "base/units.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int bad(struct error *err) {
    return error_set(err, -EINVAL,
                     "METRIC, a sign (> >= < <=) and a value: p99>200ms, mean>=50ms, max>2s, "
                     "errors>0.1%%, non2xx>0, dropped>0, late>1%%, rps<500");
}

static bool parse_metric(struct slice name, struct threshold *t) {
    static const struct {
        const char *name;
        enum threshold_metric metric;
        double quantile;
    } names[] = {
        { "min", THRESHOLD_QUANTILE, 0 },    { "median", THRESHOLD_QUANTILE, 0.5 },
        { "max", THRESHOLD_QUANTILE, 1 },    { "mean", THRESHOLD_MEAN, 0 },
        { "errors", THRESHOLD_ERRORS, 0 },   { "non2xx", THRESHOLD_NON_2XX, 0 },
        { "dropped", THRESHOLD_DROPPED, 0 }, { "late", THRESHOLD_LATE, 0 },
        { "rps", THRESHOLD_RATE, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!slice_eq_nocase(name, slice_str(names[i].name)))
            continue;
        t->metric = names[i].metric;
        t->quantile = names[i].quantile;
        return true;
    }
    if (name.len < 2 || (name.ptr[0] != 'p' && name.ptr[0] != 'P') || name.ptr[1] < '0' ||
        name.ptr[1] > '9')
        return false;
    char *end;
    double percent = strtod(name.ptr + 1, &end);
    t->metric = THRESHOLD_QUANTILE;
    t->quantile = percent / 100;
    return end == name.ptr + name.len && percent <= 100;
}

bool threshold_is_latency(const struct threshold *t) {
    return t->metric == THRESHOLD_QUANTILE || t->metric == THRESHOLD_MEAN;
}

/* A bare number is refused: seconds is what the other options take it for, milliseconds what most
 * mean here. */
static int parse_latency(struct slice text, struct threshold *t, struct error *err) {
    nsec_t span;
    if (units_parse_duration(text, &span) != 0)
        return bad(err);
    char last = text.ptr[text.len - 1];
    if (last < 'a' || last > 'z')
        return error_set(err, -EINVAL, "a latency with its unit: %.*sms or %.*ss", (int)text.len,
                         text.ptr, (int)text.len, text.ptr);
    t->value = (double)span / (double)NSEC_PER_USEC;
    return 0;
}

static int parse_value(struct slice text, struct threshold *t, struct error *err) {
    if (threshold_is_latency(t))
        return parse_latency(text, t, err);
    if (text.len == 0 || text.ptr[0] < '0' || text.ptr[0] > '9')
        return bad(err);
    char *end;
    t->value = strtod(text.ptr, &end);
    if (*end == '%' && t->metric != THRESHOLD_RATE) {
        t->is_share = true;
        t->value /= 100;
        end++;
    }
    return end == text.ptr + text.len ? 0 : bad(err);
}

/* No fact is below zero, and no share above one. */
static bool is_impossible(const struct threshold *t) {
    switch (t->sign) {
    case THRESHOLD_ABOVE:
        return t->is_share && t->value >= 1;
    case THRESHOLD_AT_LEAST:
        return t->is_share && t->value > 1;
    case THRESHOLD_BELOW:
        return t->value <= 0;
    case THRESHOLD_AT_MOST:
        break;
    }
    return false;
}

int threshold_parse(const char *text, struct thresholds *to, struct error *err) {
    struct slice all = slice_str(text);
    struct threshold t = { .text = text };
    size_t at = 0;
    while (at < all.len && text[at] != '<' && text[at] != '>')
        at++;
    if (at == all.len)
        return bad(err);
    bool equal = text[at + 1] == '=';
    if (text[at] == '>')
        t.sign = equal ? THRESHOLD_AT_LEAST : THRESHOLD_ABOVE;
    else
        t.sign = equal ? THRESHOLD_AT_MOST : THRESHOLD_BELOW;
    struct slice value = slice_trim(slice_drop(all, at + (equal ? 2 : 1)));
    if (!parse_metric(slice_trim(slice_take(all, at)), &t))
        return bad(err);
    int rc = parse_value(value, &t, err);
    if (rc != 0)
        return rc;
    if (is_impossible(&t))
        return error_set(err, -EINVAL, "it can never come true");
    if (to->count == THRESHOLDS_MAX)
        return error_set(err, -EINVAL, "at most %d conditions", THRESHOLDS_MAX);
    to->items[to->count++] = t;
    return 0;
}

/* A count, and what a share of it is of. */
struct portion {
    uint64_t count, whole;
};

static struct portion part_of(enum threshold_metric metric, const struct threshold_facts *facts) {
    switch (metric) {
    case THRESHOLD_ERRORS:
        return (struct portion){ facts->errors, facts->ended };
    case THRESHOLD_NON_2XX:
        return (struct portion){ facts->non_2xx, facts->ended };
    case THRESHOLD_DROPPED:
        return (struct portion){ facts->dropped, facts->planned };
    case THRESHOLD_LATE:
        return (struct portion){ facts->late, facts->planned };
    case THRESHOLD_QUANTILE:
    case THRESHOLD_MEAN:
    case THRESHOLD_RATE:
        break;
    }
    return (struct portion){ 0, 0 };
}

struct threshold_fact threshold_fact(const struct threshold *t,
                                     const struct threshold_facts *facts) {
    if (t->metric == THRESHOLD_QUANTILE) {
        struct percentile_value value = percentile_of(facts->latency, t->quantile);
        return (struct threshold_fact){ (double)value.usec, percentile_count(facts->latency) > 0,
                                        value.at_least };
    }
    if (t->metric == THRESHOLD_MEAN)
        return (struct threshold_fact){ .value = hist_mean(facts->latency.ended),
                                        .is_known = hist_count(facts->latency.ended) > 0 };
    if (t->metric == THRESHOLD_RATE)
        return (struct threshold_fact){ .value = facts->rate, .is_known = true };
    struct portion part = part_of(t->metric, facts);
    double value = (double)part.count;
    if (t->is_share)
        value = part.whole > 0 ? value / (double)part.whole : 0;
    return (struct threshold_fact){ .value = value, .is_known = true };
}

bool threshold_holds(const struct threshold *t, struct threshold_fact fact) {
    if (!fact.is_known)
        return false;
    switch (t->sign) {
    case THRESHOLD_ABOVE:
        return fact.value > t->value;
    case THRESHOLD_AT_LEAST:
        return fact.value >= t->value;
    case THRESHOLD_BELOW:
        return fact.value < t->value && !fact.at_least;
    case THRESHOLD_AT_MOST:
        return fact.value <= t->value && !fact.at_least;
    }
    return false;
}
