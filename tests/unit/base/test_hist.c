/* SPDX-License-Identifier: MIT */
/* Histogram against sorted samples of several distributions. */
#include "base/alloc.h"
#include "base/hist.h"
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define SAMPLES 20000

static uint64_t random_next(uint64_t *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* In (0, 1]. */
static double random_unit(uint64_t *seed) {
    return ((double)(random_next(seed) >> 11) + 1) / 9007199254740992.0;
}

static int64_t draw_small(uint64_t *seed) {
    return (int64_t)(random_next(seed) % 300); /* below 2048 every value has its bucket */
}

static int64_t draw_uniform(uint64_t *seed) {
    return (int64_t)(random_next(seed) % (uint64_t)(HIST_MAX_USEC + 1));
}

static int64_t draw_exponential(uint64_t *seed) {
    return (int64_t)(-20000 * log(random_unit(seed)));
}

static int64_t draw_bimodal(uint64_t *seed) {
    uint64_t r = random_next(seed);
    return r % 100 < 95 ? 1000000 + (int64_t)(r % 777) : 3000000 + (int64_t)(r % 77777);
}

static int64_t draw_heavy_tail(uint64_t *seed) {
    double value = 100 / pow(random_unit(seed), 1.3);
    return value < (double)HIST_MAX_USEC ? (int64_t)value : HIST_MAX_USEC;
}

static int64_t draw_constant(uint64_t *seed) {
    (void)seed;
    return 1234567;
}

static const struct distribution {
    const char *name;
    int64_t (*draw)(uint64_t *seed);
} distributions[] = {
    { "small", draw_small },
    { "uniform", draw_uniform },
    { "exponential", draw_exponential },
    { "bimodal", draw_bimodal },
    { "heavy tail", draw_heavy_tail },
    { "constant", draw_constant },
};

static int compare_int64(const void *a, const void *b) {
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static struct hist *hist_must(void) {
    struct hist *h = hist_new();
    assert_non_null(h);
    return h;
}

/* The widest error that three digits allow: a bucket is a thousandth of its values. */
static void assert_close(int64_t got, int64_t exact) {
    assert_true(got >= exact);
    assert_true(got - exact <= exact / 1000);
}

static void check_quantiles(const struct hist *h, const int64_t *sorted, size_t count) {
    static const double shares[] = { 0.00001, 0.01, 0.1,  0.25,  0.5,    0.75,
                                     0.9,     0.95, 0.99, 0.999, 0.9999, 0.99999 };
    for (size_t i = 0; i < ARRAY_LEN(shares); i++) {
        size_t rank = 1; /* by the definition: the first at which the share is reached */
        while ((double)rank / (double)count < shares[i])
            rank++;
        int64_t got = hist_quantile(h, shares[i]);
        assert_close(got, sorted[rank - 1]);
        assert_true(got <= hist_max(h));
        assert_true(hist_share_below(h, got) >= shares[i]);
    }
    assert_int_equal(hist_quantile(h, 0), sorted[0]);
    assert_int_equal(hist_quantile(h, 1), sorted[count - 1]);
    assert_int_equal(hist_quantile(h, 2), sorted[count - 1]);
    assert_int_equal(hist_quantile(h, -1), sorted[0]);
    assert_int_equal(hist_quantile(h, (double)NAN), sorted[0]);
}

static void check_sums(const struct hist *h, const int64_t *sorted, size_t count) {
    long double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++)
        sum += (long double)sorted[i];
    long double mean = sum / (long double)count;
    for (size_t i = 0; i < count; i++)
        squares += ((long double)sorted[i] - mean) * ((long double)sorted[i] - mean);
    double stddev = (double)sqrtl(squares / (long double)(count - 1));
    assert_int_equal(hist_count(h), count);
    assert_int_equal(hist_min(h), sorted[0]);
    assert_int_equal(hist_max(h), sorted[count - 1]);
    assert_true(fabs(hist_mean(h) - (double)mean) <= 1e-12 * (double)mean);
    assert_true(fabs(hist_stddev(h) - stddev) <= 1e-9 * stddev + 1e-9);
}

static void agrees_with_sorted_samples(void **state) {
    (void)state;
    int64_t *samples = malloc(SAMPLES * sizeof(*samples));
    assert_non_null(samples);
    for (size_t d = 0; d < ARRAY_LEN(distributions); d++) {
        uint64_t seed = 88172645463325252u + d;
        struct hist *h = hist_must();
        for (size_t i = 0; i < SAMPLES; i++) {
            samples[i] = distributions[d].draw(&seed);
            hist_record(h, samples[i]);
        }
        qsort(samples, SAMPLES, sizeof(*samples), compare_int64);
        check_quantiles(h, samples, SAMPLES);
        check_sums(h, samples, SAMPLES);
        hist_free(h);
    }
    free(samples);
}

static void every_value_is_within_three_digits(void **state) {
    (void)state;
    struct hist *h = hist_must();
    for (int64_t value = 0; value <= HIST_MAX_USEC; value += 1 + value / 700) {
        hist_reset(h);
        hist_record(h, value);
        hist_record(h, HIST_MAX_USEC); /* so that the maximum does not clip the bucket */
        assert_close(hist_quantile(h, 0.5), value);
        if (value < 2048)
            assert_int_equal(hist_quantile(h, 0.5), value);
    }
    hist_free(h);
}

/* 0.07 * 100 is above 7 in binary; the rank must be 7 all the same. */
static void ranks_are_exact(void **state) {
    (void)state;
    struct hist *h = hist_must();
    for (int64_t i = 1; i <= 100; i++)
        hist_record(h, i);
    for (int64_t percent = 1; percent <= 100; percent++)
        assert_int_equal(hist_quantile(h, (double)percent / 100), percent);
    assert_int_equal(hist_quantile(h, 0.501), 51);
    hist_free(h);
}

static void empty_is_all_zero(void **state) {
    (void)state;
    struct hist *h = hist_must();
    uint32_t cursor = 0;
    int64_t usec;
    uint64_t count;
    assert_int_equal(hist_count(h), 0);
    assert_int_equal(hist_min(h), 0);
    assert_int_equal(hist_max(h), 0);
    assert_int_equal(hist_quantile(h, 0.5), 0);
    assert_int_equal(hist_quantile(h, 1), 0);
    assert_true(hist_mean(h) == 0 && hist_stddev(h) == 0 && hist_share_below(h, 5) == 0);
    assert_false(hist_next(h, &cursor, &usec, &count));
    hist_free(h);
    hist_free(NULL);
}

static void out_of_range_is_clamped(void **state) {
    (void)state;
    struct hist *h = hist_must();
    hist_record(h, -5);
    hist_record(h, INT64_MIN);
    hist_record(h, INT64_MAX);
    hist_record_n(h, 77, 0);
    assert_int_equal(hist_count(h), 3);
    assert_int_equal(hist_min(h), 0);
    assert_int_equal(hist_max(h), HIST_MAX_USEC);
    hist_free(h);
}

static void assert_same(const struct hist *a, const struct hist *b) {
    uint32_t cursor_a = 0, cursor_b = 0;
    int64_t usec_a, usec_b;
    uint64_t count_a, count_b;
    while (hist_next(a, &cursor_a, &usec_a, &count_a)) {
        assert_true(hist_next(b, &cursor_b, &usec_b, &count_b));
        assert_int_equal(usec_a, usec_b);
        assert_int_equal(count_a, count_b);
    }
    assert_false(hist_next(b, &cursor_b, &usec_b, &count_b));
    assert_int_equal(hist_count(a), hist_count(b));
    assert_int_equal(hist_min(a), hist_min(b));
    assert_int_equal(hist_max(a), hist_max(b));
    assert_true(hist_mean(a) == hist_mean(b));
    assert_true(hist_stddev(a) == hist_stddev(b));
}

static void merging_equals_recording_all(void **state) {
    (void)state;
    struct hist *parts[3], *all = hist_must(), *merged = hist_must();
    uint64_t seed = 42;
    for (size_t p = 0; p < ARRAY_LEN(parts); p++) {
        parts[p] = hist_must();
        for (int i = 0; i < 3000; i++) {
            int64_t value = distributions[p + 1].draw(&seed);
            hist_record(parts[p], value);
            hist_record(all, value);
        }
    }
    hist_merge(merged, all); /* and what is reset leaves nothing behind */
    hist_reset(merged);
    for (size_t p = 0; p < ARRAY_LEN(parts); p++) {
        hist_merge(merged, parts[p]);
        hist_free(parts[p]);
    }
    assert_same(merged, all);

    struct hist *empty = hist_must();
    hist_merge(merged, empty);
    assert_same(merged, all);
    hist_merge(empty, all);
    assert_same(empty, all);
    hist_free(empty);
    hist_free(merged);
    hist_free(all);
}

static void recording_n_equals_recording_n_times(void **state) {
    (void)state;
    struct hist *once = hist_must(), *often = hist_must();
    for (int64_t value = 1; value < 100000000; value *= 7) {
        hist_record_n(once, value, 13);
        for (int i = 0; i < 13; i++)
            hist_record(often, value);
    }
    assert_same(once, often);
    hist_free(once);
    hist_free(often);
}

/* Doubles would lose all digits of this: squares near 10^19, a spread of 1. */
static void deviation_survives_large_values(void **state) {
    (void)state;
    struct hist *h = hist_must();
    hist_record_n(h, 3500000000, 5000000000);
    hist_record_n(h, 3500000002, 5000000000);
    assert_true(fabs(hist_stddev(h) - 1) < 1e-6);
    assert_true(hist_mean(h) == 3500000001.0);
    hist_reset(h);
    hist_record_n(h, HIST_MAX_USEC, UINT64_C(1) << 50);
    assert_true(hist_stddev(h) == 0);
    hist_reset(h);
    hist_record(h, 7);
    assert_true(hist_stddev(h) == 0);
    hist_free(h);
}

static void shares_and_walk_agree(void **state) {
    (void)state;
    struct hist *h = hist_must();
    uint64_t seed = 7, seen = 0, count;
    for (int i = 0; i < 5000; i++)
        hist_record(h, draw_exponential(&seed));
    uint32_t cursor = 0;
    int64_t usec, before = -1;
    while (hist_next(h, &cursor, &usec, &count)) {
        assert_true(usec > before);
        before = usec;
        seen += count;
        assert_true(hist_share_below(h, usec) == (double)seen / 5000);
    }
    assert_int_equal(before, hist_max(h));
    assert_int_equal(seen, 5000);
    assert_true(hist_share_below(h, -1) == 0);
    assert_true(hist_share_below(h, INT64_MAX) == 1);
    hist_free(h);
}

static void says_when_memory_is_out(void **state) {
    (void)state;
    mem_fail_after(0);
    assert_null(hist_new());
    mem_fail_after(-1);
}

/* --- the shared one -------------------------------------------------------------------------- */

static struct hist_shared *shared_new(void) {
    struct hist_shared *h = calloc(1, sizeof(*h));

    assert_non_null(h);
    return h;
}

/* Each bound that a scrape may ask for splits the values exactly, also by a nanosecond. */
static void counts_up_to_round_bounds_are_exact(void **state) {
    (void)state;
    static const uint64_t digits[] = { 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90 };

    for (uint64_t unit = 1; unit < UINT64_C(100000000000); unit *= 10)
        for (size_t i = 0; i < ARRAY_LEN(digits); i++) {
            struct hist_shared *h = shared_new();
            uint64_t bound = digits[i] * unit;

            hist_shared_record_alone(h, (nsec_t)bound * NSEC_PER_USEC - 1);
            hist_shared_record_alone(h, (nsec_t)bound * NSEC_PER_USEC);
            hist_shared_record_alone(h, (nsec_t)bound * NSEC_PER_USEC + 1);
            assert_int_equal(hist_shared_below(h, bound), 2);
            assert_int_equal(hist_shared_count(h), 3);
            free(h);
        }
}

static void shared_values_are_within_five_percent(void **state) {
    (void)state;
    for (uint64_t usec = 1; usec < UINT64_C(1000000000000000); usec += usec / 37 + 1) {
        struct hist_shared *h = shared_new();

        hist_shared_record_alone(h, (nsec_t)usec * NSEC_PER_USEC);
        hist_shared_record_alone(h, INT64_MAX); /* or the largest value would be told */
        uint64_t half = hist_shared_quantile(h, .5);
        assert_in_range(half, usec, usec + usec / 20);
        assert_int_equal(hist_shared_below(h, half), 1);
        free(h);
    }
}

static void shared_guards_hold(void **state) {
    (void)state;
    struct hist_shared *h = shared_new();

    assert_int_equal(hist_shared_quantile(h, .5), 0);
    assert_int_equal(hist_shared_below(h, UINT64_MAX), 0);
    hist_shared_record(h, -5);
    hist_shared_record_alone(h, INT64_MIN);
    assert_int_equal(hist_shared_below(h, 0), 2);
    assert_int_equal(hist_shared_sum(h), 0);
    hist_shared_record(h, INT64_MAX);
    hist_shared_record_alone(h, INT64_MAX);
    assert_int_equal(hist_shared_count(h), 4);
    assert_int_equal(hist_shared_quantile(h, 1), hist_shared_max(h));
    assert_int_equal(hist_shared_quantile(h, 0), 0);
    assert_int_equal(hist_shared_max(h), INT64_MAX / 1000 + 1);
    free(h);
}

static void both_ways_of_recording_and_merging_agree(void **state) {
    (void)state;
    struct hist_shared *one = shared_new(), *two = shared_new(), *sum = shared_new();
    uint64_t seed = 11;

    for (int i = 0; i < 5000; i++) {
        nsec_t span = draw_heavy_tail(&seed) * 7;
        hist_shared_record(one, span);
        hist_shared_record_alone(two, span);
    }
    assert_memory_equal(one, two, sizeof(*one));
    hist_shared_merge(sum, one);
    hist_shared_merge(sum, two);
    assert_int_equal(hist_shared_count(sum), 10000);
    assert_int_equal(hist_shared_sum(sum), 2 * hist_shared_sum(one));
    for (double q = 0; q <= 1; q += .01)
        assert_int_equal(hist_shared_quantile(sum, q), hist_shared_quantile(one, q));
    free(one);
    free(two);
    free(sum);
}

static void *record_many(void *h) {
    for (int i = 0; i < 20000; i++)
        hist_shared_record(h, i * NSEC_PER_USEC);
    return NULL;
}

static void threads_lose_nothing(void **state) {
    (void)state;
    struct hist_shared *h = shared_new();
    pthread_t threads[4];

    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, record_many, h), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(hist_shared_count(h), 80000);
    assert_int_equal(hist_shared_sum(h), UINT64_C(4) * 19999 * 10000);
    assert_int_equal(hist_shared_max(h), 19999);
    free(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_sorted_samples),
        cmocka_unit_test(every_value_is_within_three_digits),
        cmocka_unit_test(ranks_are_exact),
        cmocka_unit_test(empty_is_all_zero),
        cmocka_unit_test(out_of_range_is_clamped),
        cmocka_unit_test(merging_equals_recording_all),
        cmocka_unit_test(recording_n_equals_recording_n_times),
        cmocka_unit_test(deviation_survives_large_values),
        cmocka_unit_test(shares_and_walk_agree),
        cmocka_unit_test(says_when_memory_is_out),
        cmocka_unit_test(counts_up_to_round_bounds_are_exact),
        cmocka_unit_test(shared_values_are_within_five_percent),
        cmocka_unit_test(shared_guards_hold),
        cmocka_unit_test(both_ways_of_recording_and_merging_agree),
        cmocka_unit_test(threads_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
