/* SPDX-License-Identifier: MIT */
/* Stages: their spelling, and the moments and areas of their lines. */
#include "base/attr.h"
#include "loadgen/shape.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define SEC NSEC_PER_SEC

static const struct shape_limits limits = { .rate = 1e7, .connections = 200000 };

static struct load_shape parsed(const char *text) {
    struct load_shape s;
    struct error err = { .text = "" };
    if (shape_parse(text, limits, &s, &err) != 0)
        fail_msg("%s: %s", text, err.text);
    return s;
}

static void assert_stage(const struct load_stage *stage, double from, double to, nsec_t span) {
    assert_true(fabs(stage->from - from) < 1e-9);
    assert_true(fabs(stage->to - to) < 1e-9);
    assert_int_equal(stage->span, span);
}

static void test_a_stage_goes_on_from_the_one_before(void **state) {
    (void)state;
    struct load_shape s = parsed("10/s:30s, 100/s:1m, 0:10s");
    assert_int_equal(s.count, 3);
    assert_false(s.is_of_connections);
    assert_stage(&s.stages[0], 0, 10, 30 * SEC);
    assert_stage(&s.stages[1], 10, 100, 60 * SEC);
    assert_stage(&s.stages[2], 100, 0, 10 * SEC);
    assert_int_equal(shape_span(&s), 100 * SEC);
    assert_true(slice_eq(s.stages[1].text, SLICE("100/s:1m")));
}

static void test_steps_and_slopes_begin_anywhere(void **state) {
    (void)state;
    struct load_shape s = parsed("=50/s:1s,20/s..40/s:500ms ,=90/m:2,1.5k/s:1h,0..3/s:1s");
    assert_int_equal(s.count, 5);
    assert_stage(&s.stages[0], 50, 50, SEC);
    assert_stage(&s.stages[1], 20, 40, SEC / 2);
    assert_stage(&s.stages[2], 1.5, 1.5, 2 * SEC);
    assert_stage(&s.stages[3], 1.5, 1500, 3600 * SEC);
    assert_stage(&s.stages[4], 0, 3, SEC);
    s = parsed("=10c:1s,50c:30s,0:5s,2kc:1s");
    assert_true(s.is_of_connections);
    assert_stage(&s.stages[1], 10, 50, 30 * SEC);
    assert_int_equal(shape_peak(&s), 2000);
}

static void test_what_is_no_stage_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        ",",
        "10/s",
        "10/s:",
        ":10s",
        "10:30s",
        "10/h:30s",
        "-1/s:30s",
        "10/s:-1s",
        "10/s:0s",
        "10/s:0",
        "=:10s",
        "==10/s:1s",
        "10/s:30s,,",
        "10/s:30x",
        "0:10s",
        "=0:10s",
        "1.5c:10s",
        "10/s:1s,5c:1s",
        "5c..10/s:1s",
        "10/s..:1s",
        "..10/s:1s",
        "1..2..3/s:1s",
        "20000k/s:1s",
        "200001c:1s",
        "nan/s:1s",
        "inf/s:1s",
        "1e3/s:1s",
        "10/s:1s 20/s:1s",
        "10/s:1s:1s",
        "=1/s..2/s:1s",
        "10/s:400000h",
        "10 rps:1s",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct load_shape s;
        struct error err = { .text = "" };
        if (shape_parse(bad[i], limits, &s, &err) == 0)
            fail_msg("'%s' was taken", bad[i]);
        assert_true(err.text[0] != '\0');
    }
    char many[SHAPE_STAGES_MAX * 8 + 16] = "";
    struct load_shape s;
    struct error err;
    for (size_t i = 0; i < SHAPE_STAGES_MAX; i++)
        memcpy(many + i * 7, "1/s:1s,", 8);
    assert_int_equal(shape_parse(many, limits, &s, &err), 0);
    memcpy(many + SHAPE_STAGES_MAX * 7, "1/s:1s", 7);
    assert_true(shape_parse(many, limits, &s, &err) < 0);
}

/* The moments and the area are each other's inverse, on every kind of line. */
static void test_moments_are_where_the_area_is(void **state) {
    (void)state;
    struct load_shape s = parsed("10/s:2s, 100/s:3s, =40/s:2s, 0:1s, =0:1s, 5/s..1/s:2s");
    struct shape_cursor cursor = { .stage = 0 };
    double all = shape_area(&s, shape_span(&s));
    assert_true(fabs(all - (10 + 165 + 80 + 20 + 0 + 6)) < 1e-9);
    nsec_t before = 0;
    for (double k = 0.25; k < all; k += 0.25) {
        nsec_t at = shape_when(&s, &cursor, k);
        assert_true(at >= before);
        assert_true(fabs(shape_area(&s, at) - k) < 1e-5);
        before = at;
    }
    assert_true(shape_when(&s, &cursor, all + 1e-6) == NSEC_NEVER);
    assert_int_equal(shape_stage_at(&s, 0), 0);
    assert_int_equal(shape_stage_at(&s, 2 * SEC - 1), 0);
    assert_int_equal(shape_stage_at(&s, 2 * SEC), 1);
    assert_int_equal(shape_stage_at(&s, 3600 * SEC), 5);
}

/* Follows the changes one by one: at each the number differs from the one before by one, on a line,
 * and between them it does not differ. */
static void test_connections_change_when_they_say(void **state) {
    (void)state;
    struct load_shape s = parsed("20c:2s, =5c:1s, 0:1s");
    nsec_t at = 0, next = 0;
    uint32_t now = shape_connections(&s, 0, &next), changes = 0;
    assert_int_equal(now, 0);
    while (next != NSEC_NEVER) {
        assert_true(next > at);
        nsec_t unused;
        uint32_t last = shape_connections(&s, next - 1, &unused);
        if (last != now && last + 1 != now && last != now + 1)
            fail_msg("%u became %u before its time", now, last);
        at = next;
        now = shape_connections(&s, at, &next);
        changes++;
    }
    assert_int_equal(now, 0);
    assert_int_equal(at, 4 * SEC);
    assert_in_range(changes, 20 + 1 + 5 + 1, 20 + 1 + 5 + 4);
    assert_int_equal(shape_connections(&s, SEC, &next), 10);
    assert_int_equal(shape_connections(&s, 2 * SEC - 1, &next), 20);
    assert_int_equal(shape_connections(&s, 2 * SEC, &next), 5);
    assert_int_equal(shape_connections(&s, 4 * SEC, &next), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stage_goes_on_from_the_one_before),
        cmocka_unit_test(test_steps_and_slopes_begin_anywhere),
        cmocka_unit_test(test_what_is_no_stage_is_refused),
        cmocka_unit_test(test_moments_are_where_the_area_is),
        cmocka_unit_test(test_connections_change_when_they_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
