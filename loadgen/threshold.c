/* SPDX-License-Identifier: MIT */
/* Takes conditions apart and compares them with facts. */
#include "loadgen/threshold.h"
#include "base/slice.h"
#include "base/units.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

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

static bool parse_value(struct slice text, struct threshold *t) {
    if (t->metric == THRESHOLD_QUANTILE || t->metric == THRESHOLD_MEAN) {
        nsec_t span;
        if (units_parse_duration(text, &span) != 0)
            return false;
        t->value = (double)span / (double)NSEC_PER_USEC;
        return true;
    }
    if (text.len == 0 || text.ptr[0] < '0' || text.ptr[0] > '9')
        return false;
    char *end;
    t->value = strtod(text.ptr, &end);
    if (*end == '%' && t->metric != THRESHOLD_RATE) {
        t->is_share = true;
        t->value /= 100;
        end++;
    }
    return end == text.ptr + text.len;
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
    if (!parse_metric(slice_trim(slice_take(all, at)), &t) || !parse_value(value, &t))
        return bad(err);
    if (to->count == THRESHOLDS_MAX)
        return error_set(err, -EINVAL, "at most %d conditions", THRESHOLDS_MAX);
    to->items[to->count++] = t;
    return 0;
}

static uint64_t count_of(enum threshold_metric metric, const struct threshold_facts *facts) {
    switch (metric) {
    case THRESHOLD_ERRORS:
        return facts->errors;
    case THRESHOLD_NON_2XX:
        return facts->non_2xx;
    case THRESHOLD_DROPPED:
        return facts->dropped;
    case THRESHOLD_LATE:
        return facts->late;
    case THRESHOLD_QUANTILE:
    case THRESHOLD_MEAN:
    case THRESHOLD_RATE:
        break;
    }
    return 0;
}

double threshold_fact(const struct threshold *t, const struct threshold_facts *facts) {
    if (t->metric == THRESHOLD_QUANTILE)
        return (double)hist_quantile(facts->latency, t->quantile);
    if (t->metric == THRESHOLD_MEAN)
        return hist_mean(facts->latency);
    if (t->metric == THRESHOLD_RATE)
        return facts->rate;
    double count = (double)count_of(t->metric, facts);
    if (!t->is_share)
        return count;
    return facts->requests > 0 ? count / (double)facts->requests : 0;
}

bool threshold_holds(const struct threshold *t, const struct threshold_facts *facts) {
    bool is_latency = t->metric == THRESHOLD_QUANTILE || t->metric == THRESHOLD_MEAN;
    if (is_latency && hist_count(facts->latency) == 0)
        return false;
    double fact = threshold_fact(t, facts);
    switch (t->sign) {
    case THRESHOLD_ABOVE:
        return fact > t->value;
    case THRESHOLD_AT_LEAST:
        return fact >= t->value;
    case THRESHOLD_BELOW:
        return fact < t->value;
    case THRESHOLD_AT_MOST:
        return fact <= t->value;
    }
    return false;
}

const char *threshold_show(const struct threshold *t, double fact, char *text) {
    if (t->metric == THRESHOLD_QUANTILE || t->metric == THRESHOLD_MEAN)
        snprintf(text, THRESHOLD_TEXT_BYTES, "%.3f ms", fact / 1000);
    else if (t->is_share)
        snprintf(text, THRESHOLD_TEXT_BYTES, "%.4g %%", fact * 100);
    else if (t->metric == THRESHOLD_RATE)
        snprintf(text, THRESHOLD_TEXT_BYTES, "%.2f per second", fact);
    else
        snprintf(text, THRESHOLD_TEXT_BYTES, "%.0f", fact);
    return text;
}
