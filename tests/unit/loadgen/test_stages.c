/* SPDX-License-Identifier: MIT */
/* Counts by stage: whose a request is, and what is told of an end after the last stage. */
#include "loadgen/stages.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define SEC NSEC_PER_SEC

static void end(struct stages *s, nsec_t planned, nsec_t now, int outcome, uint16_t status) {
    struct timing timing = { .planned = planned, .total = (now - planned) / NSEC_PER_USEC };
    stages_end(s, outcome, status, &timing, now);
}

static void test_a_request_is_its_stages_and_its_end_the_clocks(void **state) {
    (void)state;
    struct load_shape shape;
    struct error err;
    struct shape_limits limits = { 1000, 1000 };
    assert_int_equal(shape_parse("10/s:1s,=10/s:1s", limits, &shape, &err), 0);
    struct stages *s = stages_new(&shape), *other = stages_new(&shape);
    assert_non_null(s);
    assert_non_null(other);
    s->start = other->start = 100 * SEC;

    stages_begin(s, 100 * SEC, 101 * SEC + 1, true); /* late: begun in the second stage */
    end(s, 100 * SEC, 101 * SEC + SEC / 2, OUTCOME_OK, 200);
    stages_begin(s, 101 * SEC, 101 * SEC, true);
    end(s, 101 * SEC, 102 * SEC, FAILURE_STATUS, 503); /* after the last stage */
    stages_begin(s, 101 * SEC, 101 * SEC, true);
    end(s, 101 * SEC, 102 * SEC, OUTCOME_UNFINISHED, 0);
    end(s, 100 * SEC + 5, 101 * SEC, OUTCOME_DROPPED, 0);
    stages_begin(other, 100 * SEC, 100 * SEC, false);
    end(other, 100 * SEC, 100 * SEC + 5, FAILURE_RESET, 0);
    stages_merge(s, other);

    const struct stage_counts *one = &s->items[0], *two = &s->items[1];
    assert_int_equal(one->planned, 2);
    assert_int_equal(one->begun, 1);
    assert_int_equal(one->ended, 1);
    assert_int_equal(one->succeeded, 1);
    assert_int_equal(one->failed, 1);
    assert_int_equal(one->dropped, 1);
    assert_int_equal(hist_count(one->latency), 1);
    assert_int_equal(hist_max(one->latency), 1500000);
    assert_int_equal(hist_count(one->ages), 1);
    assert_int_equal(two->planned, 2);
    assert_int_equal(two->begun, 3);
    assert_int_equal(two->ended, 1);
    assert_int_equal(two->failed, 1);
    assert_int_equal(two->in_flight, 1);
    assert_int_equal(hist_count(two->latency), 1); /* an answer has a time, whatever its status */
    assert_int_equal(hist_count(two->ages), 1);
    stages_free(s);
    stages_free(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_is_its_stages_and_its_end_the_clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
