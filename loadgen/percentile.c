/* SPDX-License-Identifier: MIT */
/* The Kaplan-Meier estimate over two histograms. */
#include "loadgen/percentile.h"
#include <inttypes.h>
#include <stdio.h>

/* Error of adding up shares; far below one request of any run. */
#define ROUNDING 1e-12

/* Walks the buckets of both histograms in the order of their values, ended ones first. */
struct percentile_walk {
    struct times times;
    uint32_t ended_cursor, ages_cursor; /* behind the bucket that is loaded below; 0: none left */
    int64_t ended_usec, age_usec;
    uint64_t ended, ages;
};

static void load_ended(struct percentile_walk *w) {
    if (!hist_next(w->times.ended, &w->ended_cursor, &w->ended_usec, &w->ended))
        w->ended_cursor = 0;
}

static void load_ages(struct percentile_walk *w) {
    if (w->times.ages == NULL || !hist_next(w->times.ages, &w->ages_cursor, &w->age_usec, &w->ages))
        w->ages_cursor = 0;
}

static struct percentile_walk walk_begin(struct times t) {
    struct percentile_walk w = { .times = t };
    load_ended(&w);
    load_ages(&w);
    return w;
}

/* An age of the same bucket as an end was still at risk then. */
static bool ages_come_first(const struct percentile_walk *w) {
    return w->ages_cursor > 0 && w->ages_cursor < w->ended_cursor;
}

/* `share` of all are answered by a time; `risk` observations were at risk when the last age left
 * with `base` answered, and `since` of them have ended after it. */
struct estimate {
    double share, base;
    uint64_t risk, since;
};

static void estimate_ended(struct estimate *e, uint64_t count) {
    e->since += count;
    e->share = e->base + (1 - e->base) * ((double)e->since / (double)e->risk);
}

static void estimate_left(struct estimate *e, uint64_t count) {
    e->risk -= e->since + count;
    e->since = 0;
    e->base = e->share;
}

/* Up to the share, or to the last end. The walk then stands behind it. */
static bool walk_to(struct percentile_walk *w, struct estimate *e, double share,
                    int64_t *ret_usec) {
    while (w->ended_cursor > 0) {
        if (ages_come_first(w)) {
            estimate_left(e, w->ages);
            load_ages(w);
            continue;
        }
        estimate_ended(e, w->ended);
        *ret_usec = w->ended_usec;
        if (e->share + ROUNDING >= share)
            return true;
        load_ended(w);
    }
    return false;
}

/* Beyond the last end all would have ended at their ages at the earliest. */
static int64_t walk_beyond(struct percentile_walk *w, struct estimate *e, double share,
                           int64_t least) {
    estimate_left(e, 0);
    while (w->ages_cursor > 0) {
        if (w->age_usec > least)
            least = w->age_usec;
        estimate_ended(e, w->ages);
        if (e->share + ROUNDING >= share)
            break;
        load_ages(w);
    }
    return least;
}

uint64_t percentile_censored(struct times t) {
    return t.ages != NULL ? hist_count(t.ages) : 0;
}

uint64_t percentile_count(struct times t) {
    return hist_count(t.ended) + percentile_censored(t);
}

struct percentile_value percentile_max(struct times t) {
    int64_t ended = hist_max(t.ended), age = t.ages != NULL ? hist_max(t.ages) : 0;
    bool unknown = percentile_censored(t) > 0 && (age > ended || hist_count(t.ended) == 0);
    return (struct percentile_value){ .usec = age > ended ? age : ended, .at_least = unknown };
}

struct percentile_value percentile_of(struct times t, double share) {
    struct percentile_walk w = walk_begin(t);
    struct estimate e = { .risk = percentile_count(t) };
    struct percentile_value value = { .usec = 0 };
    if (e.risk == 0)
        return value;
    if (share >= 1)
        return percentile_max(t);
    if (share <= 0 && hist_count(t.ended) > 0)
        return (struct percentile_value){ .usec = hist_min(t.ended) };
    if (walk_to(&w, &e, share, &value.usec))
        return value;
    return (struct percentile_value){ walk_beyond(&w, &e, share, value.usec), true };
}

double percentile_known(struct times t) {
    struct percentile_walk w = walk_begin(t);
    struct estimate e = { .risk = percentile_count(t) };
    int64_t usec;
    (void)walk_to(&w, &e, 2, &usec);
    return e.share;
}

const char *percentile_format(struct percentile_value value, char *text) {
    static const char *const units[] = { "us", "ms", "s" };
    double number = (double)value.usec;
    int unit = 0;
    for (; unit < 2 && number >= 999.5; unit++)
        number /= 1000;
    int decimals = unit == 0 || number >= 99.95 ? 0 : number >= 9.995 ? 1 : 2;
    snprintf(text, PERCENTILE_TEXT_BYTES, "%s%.*f %s", value.at_least ? ">" : "", decimals, number,
             units[unit]);
    return text;
}
