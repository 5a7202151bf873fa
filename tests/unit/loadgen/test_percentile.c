/* SPDX-License-Identifier: MIT */
/* Percentiles with censored observations: against counting, a textbook's example, and each other.
 */
#include "loadgen/percentile.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct hist *ended, *ages;

static int set_up(void **state) {
    (void)state;
    ended = hist_new();
    ages = hist_new();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    hist_free(ended);
    hist_free(ages);
    return 0;
}

static struct times times(void) {
    return (struct times){ ended, ages };
}

/* Without ages it is the smallest value that enough others are not above: hist_quantile. */
static void test_without_ages_it_is_counting(void **state) {
    (void)state;
    srand(7);
    for (int n = 1; n < 100; n++) {
        hist_record(ended, rand() % 100000);
        for (int percent = 0; percent <= 1000; percent++) {
            struct percentile_value value = percentile_of(times(), percent / 1000.0);
            assert_int_equal(value.usec, hist_quantile(ended, percent / 1000.0));
            assert_false(value.at_least);
        }
    }
}

/* Ends at 6, 6, 6, 7, 10, 13, 16, 22, 23 and ages of 6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35:
 * the remission times of 21 patients of Freireich et al. (1963), on which the estimate is taught.
 * Survival after 6, 7, 10, 13, 16, 22, 23: .857 .807 .753 .690 .627 .538 .448. */
static void test_the_textbook(void **state) {
    (void)state;
    static const int ends[] = { 6, 6, 6, 7, 10, 13, 16, 22, 23 };
    static const int left[] = { 6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35 };
    static const struct {
        double share;
        int usec;
    } known[] = { { .142, 6 },  { .143, 7 },  { .192, 7 },  { .194, 10 }, { .246, 10 },
                  { .248, 13 }, { .309, 13 }, { .311, 16 }, { .372, 16 }, { .374, 22 },
                  { .461, 22 }, { .463, 23 }, { .551, 23 } };
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        hist_record(ended, ends[i]);
    for (size_t i = 0; i < ARRAY_LEN(left); i++)
        hist_record(ages, left[i]);
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        struct percentile_value value = percentile_of(times(), known[i].share);
        assert_int_equal(value.usec, known[i].usec);
        assert_false(value.at_least);
    }
    assert_true(percentile_of(times(), .56).at_least);
    assert_true(percentile_known(times()) > .551 && percentile_known(times()) < .553);
    struct percentile_value longest = percentile_max(times());
    assert_int_equal(longest.usec, 35);
    assert_true(longest.at_least);
}

/* Every answer takes 1 s, and at the end as many have waited for half a second. */
static void test_requests_in_flight_are_no_fast_answers(void **state) {
    (void)state;
    hist_record_n(ended, 1000000, 64);
    hist_record_n(ages, 494000, 64);
    for (int percent = 1; percent <= 100; percent++) {
        struct percentile_value value = percentile_of(times(), percent / 100.0);
        assert_in_range(value.usec, 1000000, 1000000);
        assert_false(value.at_least);
    }
    assert_true(percentile_known(times()) == 1);
}

static void test_without_answers_there_are_bounds(void **state) {
    (void)state;
    assert_int_equal(percentile_of(times(), 0.5).usec, 0);
    assert_int_equal(percentile_count(times()), 0);
    for (int i = 1; i <= 100; i++)
        hist_record(ages, i * 10);
    struct percentile_value value = percentile_of(times(), 0.5);
    assert_int_equal(value.usec, 500);
    assert_true(value.at_least);
    assert_true(percentile_known(times()) == 0);
}

/* Monotone, between the smallest and the largest, and never below what counting ages as ends says.
 */
static void test_percentiles_are_ordered(void **state) {
    (void)state;
    struct hist *all = hist_new();
    srand(11);
    for (int round = 0; round < 300; round++) {
        hist_reset(ended);
        hist_reset(ages);
        hist_reset(all);
        for (int n = 1 + rand() % 60; n > 0; n--) {
            int64_t usec = (int64_t)rand() % (rand() % 2 ? 300 : 3000000);
            hist_record(rand() % 3 ? ended : ages, usec);
            hist_record(all, usec);
        }
        struct percentile_value last = { .usec = 0 };
        for (int i = 0; i <= 100; i++) {
            struct percentile_value value = percentile_of(times(), i / 100.0);
            assert_true(value.usec >= last.usec && value.at_least >= last.at_least);
            assert_true(value.usec <= percentile_max(times()).usec && value.usec >= hist_min(all));
            assert_true((double)value.usec * 1.001 + 1 > (double)hist_quantile(all, i / 100.0));
            assert_int_equal(value.at_least, i < 100
                                                 ? i / 100.0 > percentile_known(times()) + 1e-12 ||
                                                       hist_count(ended) == 0
                                                 : percentile_max(times()).at_least);
            last = value;
        }
    }
    hist_free(all);
}

static void test_three_digits(void **state) {
    (void)state;
    static const struct {
        int64_t usec;
        bool at_least;
        const char *text;
    } cases[] = { { 0, false, "0 us" },          { 999, false, "999 us" },
                  { 1000, false, "1.00 ms" },    { 9994, false, "9.99 ms" },
                  { 9996, false, "10.0 ms" },    { 99960, true, ">100 ms" },
                  { 999400, false, "999 ms" },   { 999600, false, "1.00 s" },
                  { 12340000, true, ">12.3 s" }, { INT64_C(3600000000), false, "3600 s" } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[PERCENTILE_TEXT_BYTES];
        struct percentile_value value = { cases[i].usec, cases[i].at_least };
        assert_string_equal(percentile_format(value, text), cases[i].text);
    }
}

#define WITH_HISTS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_HISTS(test_without_ages_it_is_counting),
        WITH_HISTS(test_the_textbook),
        WITH_HISTS(test_requests_in_flight_are_no_fast_answers),
        WITH_HISTS(test_without_answers_there_are_bounds),
        WITH_HISTS(test_percentiles_are_ordered),
        WITH_HISTS(test_three_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
