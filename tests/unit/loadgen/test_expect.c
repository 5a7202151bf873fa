/* SPDX-License-Identifier: MIT */
/* Conditions, expected statuses, and the search in a body that comes in pieces. */
#include "loadgen/expect.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static bool holds(const char *text, const struct threshold_facts *facts) {
    struct thresholds list = { .count = 0 };
    assert_int_equal(threshold_parse(text, &list, NULL), 0);
    return threshold_holds(&list.items[0], threshold_fact(&list.items[0], facts));
}

static void test_conditions_are_compared_with_facts(void **state) {
    (void)state;
    struct hist *h = hist_new();
    hist_record_n(h, 1000, 99);
    hist_record(h, 500000);
    struct threshold_facts facts = { .latency = { .ended = h },
                                     .ended = 100,
                                     .planned = 100,
                                     .errors = 1,
                                     .dropped = 3,
                                     .rate = 480 };
    static const char *const true_ones[] = { "p99.5>200ms", "p99 <= 1ms", "max>=500ms", "mean>5ms",
                                             "median<2ms",  "errors>0",   "errors>=1%", "rps<500",
                                             "dropped>2",   "min<=1ms" };
    static const char *const false_ones[] = { "p99>200ms", "errors>1%", "rps<480", "late>0",
                                              "non2xx>0" };
    for (size_t i = 0; i < ARRAY_LEN(true_ones); i++)
        assert_true(holds(true_ones[i], &facts));
    for (size_t i = 0; i < ARRAY_LEN(false_ones); i++)
        assert_false(holds(false_ones[i], &facts));
    hist_free(h);
}

static void test_what_is_no_condition_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = { "",       "p99",     "p99=1s",   "p101>1s",    "q50>1s",
                                       "p>1s",   ">1s",     "p99>",     "p99>5%",     "rps<5%",
                                       "rps<5s", "p99>-1",  "errors>x", "errors>1%%", "p99>200",
                                       "mean>0", "max>1.5", "p50<." };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct thresholds list = { .count = 0 };
        assert_int_equal(threshold_parse(bad[i], &list, NULL), -EINVAL);
    }
}

/* Half have no answer after 4 s: that is enough to be sure of some conditions, and not of others.
 */
static void test_a_lower_bound_decides_only_what_is_sure(void **state) {
    (void)state;
    struct hist *ended = hist_new(), *ages = hist_new();
    hist_record_n(ended, 1000, 50);
    hist_record_n(ages, 4000000, 50);
    struct threshold_facts facts = { .latency = { ended, ages }, .ended = 50 };
    assert_true(holds("p99>3s", &facts));
    assert_true(holds("max>=4s", &facts));
    assert_false(holds("p99>5s", &facts));
    assert_false(holds("p99<5s", &facts));
    assert_true(holds("p50<=1ms", &facts));
    assert_false(holds("mean>1ms", &facts));
    hist_free(ended);
    hist_free(ages);
}

/* A hung server has no mean, and no condition on it holds. */
static void test_nothing_is_said_of_what_is_not_known(void **state) {
    (void)state;
    struct hist *ended = hist_new(), *ages = hist_new();
    struct threshold_facts facts = { .latency = { ended, ages } };
    assert_false(holds("p99>1us", &facts) || holds("p99<1h", &facts) || holds("mean<1h", &facts));
    hist_record(ages, 2000000);
    assert_true(holds("p50>1s", &facts));
    assert_false(holds("mean<1h", &facts) || holds("min<1h", &facts) || holds("max<1h", &facts));
    hist_free(ended);
    hist_free(ages);
}

static void test_statuses_and_classes(void **state) {
    (void)state;
    struct expect_status e = { .any_given = false };
    assert_true(expect_status_has(&e, 500));
    assert_int_equal(expect_status_parse("2xx,404", &e, NULL), 0);
    assert_true(expect_status_has(&e, 200) && expect_status_has(&e, 299));
    assert_true(expect_status_has(&e, 404));
    assert_false(expect_status_has(&e, 403) || expect_status_has(&e, 300));
    static const char *const bad[] = { "", "20", "2000", "2x", "xxx", "600", "200;204" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(expect_status_parse(bad[i], &e, NULL), -EINVAL);
}

/* Every way to cut a body in two finds the same. */
static void test_a_text_is_found_across_pieces(void **state) {
    (void)state;
    static const char text[] = "aabaac", body[] = "xaabaabaacx", other[] = "aabaabaab";
    struct expect_body e;
    assert_int_equal(expect_body_init(&e, text), 0);
    for (size_t cut = 0; cut <= strlen(body); cut++) {
        uint32_t matched = expect_body_feed(&e, 0, slice_of(body, cut));
        matched = expect_body_feed(&e, matched, slice_str(body + cut));
        assert_true(expect_body_found(&e, matched));
    }
    assert_false(expect_body_found(&e, expect_body_feed(&e, 0, slice_str(other))));
    expect_body_free(&e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conditions_are_compared_with_facts),
        cmocka_unit_test(test_what_is_no_condition_is_refused),
        cmocka_unit_test(test_a_lower_bound_decides_only_what_is_sure),
        cmocka_unit_test(test_nothing_is_said_of_what_is_not_known),
        cmocka_unit_test(test_statuses_and_classes),
        cmocka_unit_test(test_a_text_is_found_across_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
