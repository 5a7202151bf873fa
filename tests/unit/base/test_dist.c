/* SPDX-License-Identifier: MIT */
/* Laws of delays: spelling, and 100,000 seeded draws of each against the law itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/dist.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define DRAWS 100000
#define MS    1e6

/* Kolmogorov-Smirnov at 0.1 percent: the seeds are fixed, so it cannot flicker. */
#define DISTANCE_MAX (1.95 / sqrt(DRAWS))

/* Lists live until the program ends. */
static struct arena memory = { .max_bytes = SIZE_MAX };

static struct dist parse(const char *text) {
    struct dist dist;
    const char *why = "";

    if (dist_parse(slice_str(text), &memory, &dist, &why) < 0)
        fail_msg("%s %s", text, why);
    return dist;
}

/* --- distribution functions, written independently of the sampler: P(X <= x), x in ns --------- */

static double phi(double z) {
    return erfc(-z / sqrt(2)) / 2;
}

static double cdf_uniform(double x) {
    return x < 10 * MS ? 0 : x > 50 * MS ? 1 : (x / MS - 10) / 40;
}

static double cdf_normal(double x) {
    return x < 0 ? 0 : phi((x / MS - 100) / 30);
}

static double cdf_exp(double x) {
    return 1 - exp(-x / MS / 100);
}

static double cdf_lognormal(double x) {
    return x <= 0 ? 0 : phi(log(x / MS / 50) / (log(400.0 / 50) / 2.3263478740408408));
}

static double cdf_pareto(double x) {
    return x < 10 * MS ? 0 : 1 - pow(10 * MS / x, 1.5);
}

static double cdf_percentiles(double x) {
    static const double at[] = { 10, 20, 80, 1000, 2000 }, share[] = { 0, .5, .95, .99, 1 };

    for (size_t i = 1; i < 5; i++)
        if (x / MS <= at[i])
            return x / MS < at[0] ? 0
                                  : share[i - 1] + (share[i] - share[i - 1]) *
                                                       (x / MS - at[i - 1]) / (at[i] - at[i - 1]);
    return 1;
}

static double cdf_fixed(double x) {
    return x < 250 * MS ? 0 : 1;
}

static double cdf_mix(double x) {
    return x < 0 ? 0 : x < 5 * MS ? .05 : x < 80 * MS ? .9 : x < 2000 * MS ? .99 : 1;
}

static const struct {
    const char *text;
    double (*cdf)(double);
} laws[] = {
    { "250ms", cdf_fixed },
    { "10ms-50ms", cdf_uniform },
    { "uniform:10ms-50ms", cdf_uniform },
    { "normal:100ms,30ms", cdf_normal },
    { "exp:100ms", cdf_exp },
    { "lognormal:50ms,400ms", cdf_lognormal },
    { "pareto:10ms,1.5", cdf_pareto },
    { "5ms:85,80ms:9,2s:1", cdf_mix },
    { "p50=20ms,p95=80ms,p99=1s,p100=2s", cdf_percentiles },
};

static int by_value(const void *a, const void *b) {
    nsec_t x = *(const nsec_t *)a, y = *(const nsec_t *)b;

    return (x > y) - (x < y);
}

/* Steps are compared where they end: at the last of equal draws, and just below the first. */
static double distance(nsec_t *draws, double (*cdf)(double)) {
    double worst = 0;

    qsort(draws, DRAWS, sizeof(*draws), by_value);
    for (size_t i = 0; i < DRAWS; i++) {
        if (i + 1 == DRAWS || draws[i + 1] > draws[i])
            worst = fmax(worst, fabs(cdf((double)draws[i]) - (double)(i + 1) / DRAWS));
        if (i == 0 || draws[i - 1] < draws[i])
            worst = fmax(worst, fabs(cdf((double)draws[i] - 1) - (double)i / DRAWS));
    }
    return worst;
}

static void every_law_passes_kolmogorov_and_smirnov(void **state UNUSED) {
    nsec_t *draws = malloc(DRAWS * sizeof(*draws));

    assert_non_null(draws);
    for (size_t i = 0; i < ARRAY_LEN(laws); i++) {
        struct dist dist = parse(laws[i].text);
        struct rng rng = { .state = 2026 + i };
        for (size_t n = 0; n < DRAWS; n++)
            draws[n] = dist_draw(&dist, &rng);
        double found = distance(draws, laws[i].cdf);
        if (found > DISTANCE_MAX)
            fail_msg("%s: distance %.5f, %.5f allowed", laws[i].text, found, DISTANCE_MAX);
    }
    free(draws);
}

static void equal_seeds_draw_equally(void **state UNUSED) {
    struct dist dist = parse("lognormal:50ms,400ms");
    struct rng a = { .state = 7 }, b = { .state = 7 }, c = { .state = 8 };
    bool differs = false;

    for (int i = 0; i < 1000; i++) {
        nsec_t value = dist_draw(&dist, &a);
        assert_int_equal(dist_draw(&dist, &b), value);
        differs |= dist_draw(&dist, &c) != value;
    }
    assert_true(differs);
}

static void bad_ones_are_refused_with_a_reason(void **state UNUSED) {
    static const struct {
        const char *text, *why;
    } cases[] = {
        { "abc", "is not a decimal number of seconds" },
        { "-1", "is negative" },
        { "nan", "is not a number" },
        { "50ms-10ms", "has an end below its begin" },
        { "10ms-", "has a part that is not a duration" },
        { "normal:1s", "has a part that is not a duration" },
        { "exp:", "has a part that is not a duration" },
        { "lognormal:2s,1s", "has a p99 below its median, or a median of 0" },
        { "lognormal:0,1s", "has a p99 below its median, or a median of 0" },
        { "pareto:1s,0", "has a shape that is not a number above 0" },
        { "pareto:1s,-1", "has a shape that is not a number above 0" },
        { "5ms:90,80ms:11", "has shares that sum up to more than 100 percent" },
        { "5ms:x", "has a share that is none" },
        { "x:5", "has an impossible value" },
        { "gauss:1s,2s", "has an impossible value" },
        { "p95=2s,p50=1s", "has percentiles that do not rise" },
        { "p50=2s,p95=1s", "has percentiles that do not rise" },
        { "p101=2s", "has a part that is not a percentile such as p95=80ms" },
        { "99999999h", "is more than ten years" },
        { "0-99999999h", "is more than ten years" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dist dist;
        const char *why = "";
        assert_int_equal(dist_parse(slice_str(cases[i].text), &memory, &dist, &why), -EINVAL);
        assert_string_equal(why, cases[i].why);
    }
}

static void a_heavy_tail_ends_at_ten_years(void **state UNUSED) {
    struct dist dist = parse("pareto:1h,0.01");
    struct rng rng = { .state = 1 };

    for (int i = 0; i < 1000; i++) {
        nsec_t value = dist_draw(&dist, &rng);
        assert_true(value >= INT64_C(3600) * NSEC_PER_SEC);
        assert_true(value <= INT64_C(3650) * 86400 * NSEC_PER_SEC);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_law_passes_kolmogorov_and_smirnov),
        cmocka_unit_test(equal_seeds_draw_equally),
        cmocka_unit_test(bad_ones_are_refused_with_a_reason),
        cmocka_unit_test(a_heavy_tail_ends_at_ten_years),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
