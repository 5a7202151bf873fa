/* SPDX-License-Identifier: MIT */
/* Sets of statuses, a search in a stream, and conditions compared with facts. */
#include "loadgen/expect.h"
#include "base/alloc.h"
#include "base/units.h"
#include <errno.h>
#include <stdlib.h>

/* --- a response ------------------------------------------------------------------------------- */

static int bad_status(struct error *err) {
    return error_set(err, -EINVAL, "statuses from 100 to 599 or classes, such as 200,204 or 2xx");
}

static void allow(struct expect_status *e, unsigned first, unsigned last) {
    for (unsigned status = first; status <= last; status++)
        e->bits[status / 64] |= UINT64_C(1) << (status % 64);
    e->any_given = true;
}

static unsigned digit_of(char c) {
    return c >= '0' && c <= '9' ? (unsigned)(c - '0') : 10;
}

int expect_status_parse(const char *text, struct expect_status *ret, struct error *err) {
    struct slice rest = slice_str(text);
    do {
        struct slice word = slice_trim(slice_cut(&rest, ','));
        if (word.len != 3)
            return bad_status(err);
        unsigned hundreds = digit_of(word.ptr[0]), tens = digit_of(word.ptr[1]);
        unsigned ones = digit_of(word.ptr[2]);
        if (hundreds < 1 || hundreds > 5)
            return bad_status(err);
        if (slice_eq_nocase(slice_drop(word, 1), SLICE("xx")))
            allow(ret, hundreds * 100, hundreds * 100 + 99);
        else if (tens < 10 && ones < 10)
            allow(ret, hundreds * 100 + tens * 10 + ones, hundreds * 100 + tens * 10 + ones);
        else
            return bad_status(err);
    } while (rest.len > 0);
    return 0;
}

int expect_body_init(struct expect_body *e, const char *text) {
    *e = (struct expect_body){ .text = slice_str(text != NULL ? text : "") };
    if (e->text.len == 0)
        return 0;
    e->fallbacks = mem_calloc(e->text.len + 1, sizeof(*e->fallbacks));
    if (e->fallbacks == NULL)
        return -ENOMEM;
    uint32_t matched = 0;
    for (size_t i = 1; i < e->text.len; i++) {
        while (matched > 0 && e->text.ptr[i] != e->text.ptr[matched])
            matched = e->fallbacks[matched];
        if (e->text.ptr[i] == e->text.ptr[matched])
            matched++;
        e->fallbacks[i + 1] = matched;
    }
    return 0;
}

void expect_body_free(struct expect_body *e) {
    mem_free(e->fallbacks);
    e->fallbacks = NULL;
}

uint32_t expect_body_feed(const struct expect_body *e, uint32_t matched, struct slice piece) {
    for (size_t i = 0; i < piece.len && matched < e->text.len; i++) {
        while (matched > 0 && piece.ptr[i] != e->text.ptr[matched])
            matched = e->fallbacks[matched];
        if (piece.ptr[i] == e->text.ptr[matched])
            matched++;
    }
    return matched;
}

/* --- the outcome ------------------------------------------------------------------------------ */

static int bad(struct error *err) {
    return error_set(err, -EINVAL,
                     "METRIC, a sign (> >= < <=) and a value: p99>200ms, mean>=50ms, max>2s, "
                     "errors>0.1%%, non2xx>0, dropped>0, late>1%%, rps<500; of streams first-event "
                     "p99>2s, gap p99>100ms, stalls>0");
}

/* Takes the times that are named, if any, off the name. */
static enum threshold_times take_times(struct slice *name) {
    static const struct {
        struct slice word;
        enum threshold_times of;
    } words[] = { { SLICE_INIT("first-event "), THRESHOLD_FIRST_EVENT },
                  { SLICE_INIT("gap "), THRESHOLD_GAP } };
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!slice_eq_nocase(slice_take(*name, words[i].word.len), words[i].word))
            continue;
        *name = slice_trim(slice_drop(*name, words[i].word.len));
        return words[i].of;
    }
    return THRESHOLD_LATENCY;
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
        { "stalls", THRESHOLD_STALLS, 0 },   { "rps", THRESHOLD_RATE, 0 },
    };
    t->of = take_times(&name);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!slice_eq_nocase(name, slice_str(names[i].name)))
            continue;
        t->metric = names[i].metric;
        t->quantile = names[i].quantile;
        return t->of == THRESHOLD_LATENCY || threshold_is_latency(t);
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

bool threshold_is_of_streams(const struct threshold *t) {
    return t->metric == THRESHOLD_STALLS || t->of != THRESHOLD_LATENCY;
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

struct threshold_portion threshold_portion(const struct threshold *t,
                                           const struct threshold_facts *facts) {
    switch (t->metric) {
    case THRESHOLD_ERRORS:
        return (struct threshold_portion){ facts->errors, facts->ended };
    case THRESHOLD_NON_2XX:
        return (struct threshold_portion){ facts->non_2xx, facts->ended };
    case THRESHOLD_DROPPED:
        return (struct threshold_portion){ facts->dropped, facts->planned };
    case THRESHOLD_LATE:
        return (struct threshold_portion){ facts->late, facts->planned };
    case THRESHOLD_STALLS:
        if (facts->gap.ended != NULL)
            return (struct threshold_portion){ facts->stalls, percentile_count(facts->gap) };
        break;
    case THRESHOLD_QUANTILE:
    case THRESHOLD_MEAN:
    case THRESHOLD_RATE:
        break;
    }
    return (struct threshold_portion){ 0, 0 };
}

struct times threshold_times(const struct threshold *t, const struct threshold_facts *facts) {
    switch (t->of) {
    case THRESHOLD_LATENCY:
        break;
    case THRESHOLD_FIRST_EVENT:
        return facts->first_event;
    case THRESHOLD_GAP:
        return facts->gap;
    }
    return facts->latency;
}

struct threshold_fact threshold_fact(const struct threshold *t,
                                     const struct threshold_facts *facts) {
    struct times times = threshold_times(t, facts);
    if (times.ended == NULL && threshold_is_latency(t))
        return (struct threshold_fact){ .is_known = false };
    if (t->metric == THRESHOLD_QUANTILE) {
        struct percentile_value value = percentile_of(times, t->quantile);
        return (struct threshold_fact){ (double)value.usec, percentile_count(times) > 0,
                                        value.at_least };
    }
    if (t->metric == THRESHOLD_MEAN)
        return (struct threshold_fact){ .value = hist_mean(times.ended),
                                        .is_known = hist_count(times.ended) > 0 };
    if (t->metric == THRESHOLD_RATE)
        return (struct threshold_fact){ .value = facts->rate, .is_known = true };
    struct threshold_portion part = threshold_portion(t, facts);
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
