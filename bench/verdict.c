/* SPDX-License-Identifier: MIT */
/* Permutation tests over runs. */
#include "bench/verdict.h"
#include "base/alloc.h"
#include "base/rng.h"
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

/* More splits are not walked through, and so many are then taken at random. */
enum { SPLITS_MAX = 20000, SPLITS_RANDOM = 5000, BISECTIONS = 30 };

/* Sums come out in other orders. */
#define ROUNDING 1e-9

/* Values that differ by less are equal. */
#define EQUAL 1e-12

/* One split after the other of `count` runs into `chosen` and the rest. */
struct splits {
    size_t count, chosen;
    size_t places[VERDICT_ROUNDS_MAX]; /* the chosen ones', rising */
    bool is_random;
    size_t left;
    struct rng rng;
};

static double split_count(size_t count, size_t chosen) {
    double n = 1;
    for (size_t i = 1; i <= chosen; i++)
        n = n * (double)(count - chosen + i) / (double)i;
    return round(n);
}

bool verdict_can_tell(size_t a_count, size_t b_count) {
    return 2 / split_count(a_count + b_count, a_count) <= VERDICT_LEVEL;
}

/* The first split is the one there was. */
static struct splits splits_begin(size_t count, size_t chosen) {
    struct splits s = { .count = count, .chosen = chosen, .rng = rng_stream(1, count) };
    s.is_random = split_count(count, chosen) > SPLITS_MAX;
    s.left = SPLITS_RANDOM;
    for (size_t i = 0; i < chosen; i++)
        s.places[i] = i;
    return s;
}

/* Knuth's algorithm S. */
static void draw(struct splits *s) {
    size_t wanted = s->chosen, taken = 0;
    for (size_t i = 0; i < s->count && wanted > 0; i++)
        if (rng_unit(&s->rng) * (double)(s->count - i) < (double)wanted) {
            s->places[taken++] = i;
            wanted--;
        }
}

/* The next one in lexical order; false after the last. */
static bool splits_next(struct splits *s) {
    if (s->is_random) {
        draw(s);
        return --s->left > 0;
    }
    size_t i = s->chosen;
    while (i > 0 && s->places[i - 1] == s->count - s->chosen + i - 1)
        i--;
    if (i == 0)
        return false;
    s->places[i - 1]++;
    for (; i < s->chosen; i++)
        s->places[i] = s->places[i - 1] + 1;
    return true;
}

/* The difference of the means, rest less chosen, in units of its deviation within the groups.
 * `values` are centred. Groups without any deviation differ by as much as there is. */
static double statistic(const double *values, const struct splits *s) {
    double sum = 0, all = 0, squares = 0, chosen = (double)s->chosen;
    double rest = (double)(s->count - s->chosen);
    for (size_t i = 0; i < s->count; i++) {
        all += values[i];
        squares += values[i] * values[i];
    }
    for (size_t i = 0; i < s->chosen; i++)
        sum += values[s->places[i]];
    double difference = (all - sum) / rest - sum / chosen;
    double within = squares - sum * sum / chosen - (all - sum) * (all - sum) / rest;
    double least = 1e-12 * squares + 1e-300;
    return difference / sqrt(fmax(within, least));
}

/* All values in one list, those of b less `shift`, around their mean. */
static void centre(const struct verdict_groups *g, size_t metric, double shift, double *values) {
    const struct verdict_metric *m = &g->metrics[metric];
    size_t count = g->a_count + g->b_count;
    double mean = 0;
    for (size_t i = 0; i < count; i++) {
        values[i] = i < g->a_count ? m->a[i] : m->b[i - g->a_count] - shift;
        mean += values[i] / (double)count;
    }
    for (size_t i = 0; i < count; i++)
        values[i] -= mean;
}

static double p_of_shift(const struct verdict_groups *g, size_t metric, double shift) {
    double values[2 * VERDICT_ROUNDS_MAX];
    centre(g, metric, shift, values);
    struct splits s = splits_begin(g->a_count + g->b_count, g->a_count);
    double seen = fabs(statistic(values, &s)), extreme = 0, all = 0;
    do {
        extreme += fabs(statistic(values, &s)) >= seen * (1 - ROUNDING);
        all++;
    } while (splits_next(&s));
    return extreme / all;
}

/* The end of the interval on one side: the farthest shift that is not refused. */
static double end_of_interval(const struct verdict_groups *g, size_t metric, double from,
                              double width) {
    double in = from, out = from + width;
    for (int i = 0; i < 20 && p_of_shift(g, metric, out) > VERDICT_LEVEL; i++) {
        in = out;
        out = from + (out - from) * 2;
    }
    for (int i = 0; i < BISECTIONS; i++) {
        double middle = (in + out) / 2;
        *(p_of_shift(g, metric, middle) > VERDICT_LEVEL ? &in : &out) = middle;
    }
    return in;
}

static double mean_of(const double *values, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    return sum / (double)count;
}

/* The spread of all values, over which the search of an end begins; 0 when they are equal, but for
 * rounding. */
static double spread_of(const struct verdict_groups *g, size_t metric) {
    double values[2 * VERDICT_ROUNDS_MAX], squares = 0;
    size_t count = g->a_count + g->b_count;
    double size = fabs(mean_of(g->metrics[metric].a, g->a_count));
    centre(g, metric, 0, values);
    for (size_t i = 0; i < count; i++)
        squares += values[i] * values[i];
    double spread = sqrt(squares / (double)count);
    return spread > EQUAL * size ? spread : 0;
}

/* The largest statistic of each split, over all metrics, beside those of the split there was. */
static void adjust(struct verdict_groups *centred, struct verdict_finding *verdicts) {
    double seen[VERDICT_METRICS_MAX], all = 0;
    struct splits s = splits_begin(centred->a_count + centred->b_count, centred->a_count);
    for (size_t i = 0; i < centred->metric_count; i++)
        seen[i] = fabs(statistic(centred->metrics[i].a, &s));
    do {
        double most = 0;
        for (size_t i = 0; i < centred->metric_count; i++)
            most = fmax(most, fabs(statistic(centred->metrics[i].a, &s)));
        for (size_t i = 0; i < centred->metric_count; i++)
            verdicts[i].p += most >= seen[i] * (1 - ROUNDING);
        all++;
    } while (splits_next(&s));
    for (size_t i = 0; i < centred->metric_count; i++)
        verdicts[i].p /= all;
}

int verdict_judge(const struct verdict_groups *g, struct verdict_finding *verdicts) {
    bool can_tell = verdict_can_tell(g->a_count, g->b_count);
    struct verdict_groups *centred = mem_alloc(sizeof(*centred));
    if (centred == NULL)
        return -ENOMEM;
    *centred = *g;
    for (size_t i = 0; i < g->metric_count; i++) {
        double difference =
            mean_of(g->metrics[i].b, g->b_count) - mean_of(g->metrics[i].a, g->a_count);
        double spread = spread_of(g, i);
        verdicts[i] = (struct verdict_finding){ .difference = difference,
                                                .low = -INFINITY,
                                                .high = INFINITY };
        if (can_tell && spread <= 0)
            verdicts[i].low = verdicts[i].high = difference;
        if (can_tell && spread > 0) {
            verdicts[i].low = end_of_interval(g, i, difference, -spread);
            verdicts[i].high = end_of_interval(g, i, difference, spread);
        }
        centre(g, i, 0, centred->metrics[i].a);
    }
    adjust(centred, verdicts);
    for (size_t i = 0; i < g->metric_count; i++)
        verdicts[i].is_sure = can_tell && verdicts[i].p <= VERDICT_LEVEL && spread_of(g, i) > 0;
    mem_free(centred);
    return 0;
}
