/* SPDX-License-Identifier: MIT */
/* Clocks run forward, deadlines saturate, dates agree with the C library. */
#include "base/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

static void time_goes_forward(void **state) {
    (void)state;
    nsec_t before = clock_now();
    for (int i = 0; i < 1000; i++) {
        nsec_t now = clock_now();
        assert_true(now >= before);
        before = now;
    }
    assert_true(clock_wall() > INT64_C(1700000000) * NSEC_PER_SEC);
}

static void deadlines_saturate(void **state) {
    (void)state;
    assert_int_equal(deadline_after(100, 23), 123);
    assert_int_equal(deadline_after(100, 0), 100);
    assert_int_equal(deadline_after(100, NSEC_NEVER), NSEC_NEVER);
    assert_int_equal(deadline_after(100, NSEC_NEVER - 99), NSEC_NEVER);
    assert_int_equal(deadline_after(100, -1), NSEC_NEVER);
    assert_int_equal(deadline_after(NSEC_NEVER, 1), NSEC_NEVER);
    assert_int_equal(nsec_min(NSEC_NEVER, 5), 5);
}

static void dates_agree_with_the_c_library(void **state) {
    (void)state;
    const nsec_t last = NSEC_NEVER / NSEC_PER_SEC; /* in the year 2262 */
    for (nsec_t seconds = 0; seconds < last; seconds += 86400 / 2 + 1) {
        char expected[40], text[CLOCK_TEXT_BYTES];
        struct tm tm;
        time_t when = (time_t)seconds;
        gmtime_r(&when, &tm);
        strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.123Z", &tm);
        clock_format(seconds * NSEC_PER_SEC + 123456789, text);
        assert_string_equal(text, expected);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_goes_forward),
        cmocka_unit_test(deadlines_saturate),
        cmocka_unit_test(dates_agree_with_the_c_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
