/* SPDX-License-Identifier: MIT */
/* Permutation tests against values that are known, against all splits walked through by bits, and
 * against runs that are drawn: how often is something found where nothing is, and where it is. */
#include "base/alloc.h"
#include "base/rng.h"
#include "bench/verdict.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct verdict_groups groups;
static struct verdict_finding verdicts[VERDICT_METRICS_MAX];

static void begin(size_t a_count, size_t b_count, size_t metrics) {
    groups =
        (struct verdict_groups){ .a_count = a_count, .b_count = b_count, .metric_count = metrics };
}

static void fill(size_t metric, const double *a, const double *b) {
    memcpy(groups.metrics[metric].a, a, groups.a_count * sizeof(*a));
    memcpy(groups.metrics[metric].b, b, groups.b_count * sizeof(*b));
}

static void test_few_runs_cannot_tell(void **state) {
    (void)state;
    assert_false(verdict_can_tell(1, 1));
    assert_false(verdict_can_tell(1, 64)); /* 2/65 */
    assert_false(verdict_can_tell(3, 3));  /* 2/20 */
    assert_false(verdict_can_tell(4, 4));  /* 2/70 */
    assert_true(verdict_can_tell(5, 5));   /* 2/252 */
    assert_true(verdict_can_tell(4, 6));   /* 2/210 */
    begin(3, 3, 1);
    fill(0, (double[]){ 1, 1.1, 1.2 }, (double[]){ 5, 5.1, 5.2 });
    assert_int_equal(verdict_judge(&groups, verdicts), 0);
    assert_true(fabs(verdicts[0].p - 0.1) < 1e-9);
    assert_false(verdicts[0].is_sure);
    assert_true(verdicts[0].low == -INFINITY && verdicts[0].high == INFINITY);
}

/* All of one group below all of the other: two of 252 splits are as extreme. */
static void test_groups_apart_have_the_smallest_p(void **state) {
    (void)state;
    begin(5, 5, 1);
    fill(0, (double[]){ 1, 2, 3, 4, 5 }, (double[]){ 11, 12, 13, 14, 15 });
    assert_int_equal(verdict_judge(&groups, verdicts), 0);
    assert_true(fabs(verdicts[0].p - 2.0 / 252) < 1e-9);
    assert_true(fabs(verdicts[0].difference - 10) < 1e-9);
    assert_true(verdicts[0].is_sure);
    assert_true(verdicts[0].low > 0 && verdicts[0].low < 10);
    assert_true(fabs((verdicts[0].low + verdicts[0].high) / 2 - 10) < 1e-6); /* symmetric groups */
}

static void test_equal_runs_are_the_same(void **state) {
    (void)state;
    begin(5, 5, 2);
    fill(0, (double[5]){ 0 }, (double[5]){ 0 });
    fill(1, (double[]){ 3, 3, 3, 3, 3 }, (double[]){ 3, 3, 3, 3, 3 });
    assert_int_equal(verdict_judge(&groups, verdicts), 0);
    for (int i = 0; i < 2; i++) {
        assert_false(verdicts[i].is_sure);
        assert_true(verdicts[i].low == 0 && verdicts[i].high == 0);
    }
}

/* The same test by the plain difference of means, over the bits of a number. For one metric both
 * order the splits alike. */
static double brute_force_p(size_t a_count, size_t b_count, const double *all) {
    unsigned count = (unsigned)(a_count + b_count);
    double total = 0, seen = 0, extreme = 0, splits = 0;
    for (unsigned i = 0; i < count; i++) {
        total += all[i];
        seen += i < a_count ? all[i] : 0;
    }
    double expected = total * (double)a_count / count;
    for (unsigned bits = 0; bits < 1U << count; bits++) {
        if ((size_t)__builtin_popcount(bits) != a_count)
            continue;
        double sum = 0;
        for (unsigned i = 0; i < count; i++)
            sum += (bits >> i & 1) != 0 ? all[i] : 0;
        extreme += fabs(sum - expected) >= fabs(seen - expected) * (1 - 1e-9);
        splits++;
    }
    return extreme / splits;
}

static void test_p_is_that_of_brute_force(void **state) {
    (void)state;
    struct rng rng = rng_stream(1, 1);
    for (int round = 0; round < 60; round++) {
        size_t a = 2 + rng_next(&rng) % 5, b = 2 + rng_next(&rng) % 5;
        double all[12];
        for (size_t i = 0; i < a + b; i++)
            all[i] = round % 3 == 0 ? (double)(rng_next(&rng) % 4) : rng_unit(&rng) * 10;
        begin(a, b, 1);
        fill(0, all, all + a);
        assert_int_equal(verdict_judge(&groups, verdicts), 0);
        assert_true(fabs(verdicts[0].p - brute_force_p(a, b, all)) < 1e-9);
    }
}

/* An interval ends where its difference would be refused. */
static void test_the_interval_is_the_test_turned_round(void **state) {
    (void)state;
    const double a[] = { 10.2, 9.7, 10.9, 10.1, 9.9, 10.4 };
    const double b[] = { 11.0, 12.1, 10.8, 11.9, 11.4, 11.6 };
    double all[12];
    begin(6, 6, 1);
    fill(0, a, b);
    assert_int_equal(verdict_judge(&groups, verdicts), 0);
    const double ends[] = { verdicts[0].low, verdicts[0].high };
    for (int i = 0; i < 2; i++)
        for (int out = 0; out < 2; out++) {
            double off = (i == 0 ? -1e-4 : 1e-4) * (out == 0 ? -1 : 1);
            for (int j = 0; j < 12; j++)
                all[j] = j < 6 ? a[j] : b[j - 6] - ends[i] - off;
            double p = brute_force_p(6, 6, all);
            assert_true(out == 0 ? p > VERDICT_LEVEL : p <= VERDICT_LEVEL);
        }
}

/* --- runs that are drawn ---------------------------------------------------------------------- */

static double normal(struct rng *rng) {
    return sqrt(-2 * log(rng_unit(rng))) * cos(2 * M_PI * rng_unit(rng));
}

/* Pairs of runs with a noise of 2 %, a machine that drifts over minutes (a random walk), an outlier
 * of 20 % in one of twelve runs, and five metrics that hang together. */
static void draw(struct rng *rng, size_t rounds, double slower) {
    double drift = 0;
    begin(rounds, rounds, 5);
    for (size_t i = 0; i < rounds; i++) {
        int first = (int)(rng_next(rng) >> 63);
        for (int j = 0; j < 2; j++) {
            bool is_b = (first ^ j) != 0;
            drift += 0.005 * normal(rng);
            double shared = drift + 0.01 * normal(rng);
            if (rng_next(rng) % 12 == 0)
                shared += 0.2;
            for (size_t metric = 0; metric < 5; metric++) {
                double value = shared + 0.01 * normal(rng) + (is_b ? slower : 0);
                (is_b ? groups.metrics[metric].b : groups.metrics[metric].a)[i] = value;
            }
        }
    }
}

static int count_found(uint64_t seed, int pairs, size_t rounds, double slower) {
    struct rng rng = rng_stream(seed, rounds);
    int found = 0;
    for (int i = 0; i < pairs; i++) {
        draw(&rng, rounds, slower);
        assert_int_equal(verdict_judge(&groups, verdicts), 0);
        bool any = false;
        for (size_t metric = 0; metric < 5; metric++)
            any = any || verdicts[metric].is_sure;
        found += any;
    }
    return found;
}

static void test_equal_servers_rarely_differ(void **state) {
    (void)state;
    assert_in_range(count_found(1, 200, 5, 0), 0, 10); /* 5 %; the level is 2 % */
    assert_in_range(count_found(4, 4, 12, 0), 0, 1);   /* splits are drawn */
}

/* A tenth slower with a noise of 2 %, without the outliers: those cost some. */
static void test_a_tenth_slower_is_found(void **state) {
    (void)state;
    struct rng rng = rng_stream(7, 7);
    int found = 0;
    for (int i = 0; i < 100; i++) {
        begin(5, 5, 5);
        for (size_t j = 0; j < 10; j++)
            for (size_t metric = 0; metric < 5; metric++) {
                double value = 0.02 * normal(&rng) + (j >= 5 ? log(1.1) : 0);
                (j < 5 ? groups.metrics[metric].a : groups.metrics[metric].b)[j % 5] = value;
            }
        assert_int_equal(verdict_judge(&groups, verdicts), 0);
        found += verdicts[1].is_sure;
    }
    assert_true(found >= 90);
}

static void test_out_of_memory_is_told(void **state) {
    (void)state;
    begin(5, 5, 1);
    mem_fail_after(0);
    assert_int_equal(verdict_judge(&groups, verdicts), -12);
    mem_fail_after(-1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_runs_cannot_tell),
        cmocka_unit_test(test_groups_apart_have_the_smallest_p),
        cmocka_unit_test(test_equal_runs_are_the_same),
        cmocka_unit_test(test_p_is_that_of_brute_force),
        cmocka_unit_test(test_the_interval_is_the_test_turned_round),
        cmocka_unit_test(test_equal_servers_rarely_differ),
        cmocka_unit_test(test_a_tenth_slower_is_found),
        cmocka_unit_test(test_out_of_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
