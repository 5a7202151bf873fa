/* SPDX-License-Identifier: MIT */
/* Clocks run forward, deadlines saturate, dates agree with the C library. */
#include "base/clock.h"
#include <errno.h>
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

static void dates_are_read_as_they_are_written(void **state) {
    (void)state;
    const nsec_t last = NSEC_NEVER / NSEC_PER_SEC - 1;
    for (nsec_t seconds = 0; seconds < last; seconds += 86400 / 2 + 1) {
        char text[CLOCK_TEXT_BYTES];
        nsec_t wall = seconds * NSEC_PER_SEC + 123 * NSEC_PER_MSEC, read;
        assert_int_equal(clock_parse(clock_format(wall, text), &read), 0);
        assert_true(read == wall);
    }
}

static void dates_of_all_zones_are_read(void **state) {
    (void)state;
    static const struct {
        const char *text;
        nsec_t wall;
    } good[] = {
        { "1970-01-01T00:00:00Z", 0 },
        { "1970-01-01t00:00:01.5z", 1500 * NSEC_PER_MSEC },
        { "1970-01-01 02:00:00+01:30", 1800 * NSEC_PER_SEC },
        { "1969-12-31T23:00:00-01:00", -1 },
        { "1970-01-01T00:00:00-00:01", 60 * NSEC_PER_SEC },
        { "2024-02-29T12:00:00.123456789123Z",
          INT64_C(1709208000) * NSEC_PER_SEC + INT64_C(123456789) },
        { "1970-01-01 01:00:00,250+0100", 250 * NSEC_PER_MSEC },
        { "2016-12-31T23:59:60Z", INT64_C(1483228800) * NSEC_PER_SEC },
    };
    static const char *const bad[] = {
        "",
        "1970",
        "1970-01-01",
        "1970-01-01T00:00:00",
        "1970-01-01T00:00Z",
        "1970-13-01T00:00:00Z",
        "1970-00-01T00:00:00Z",
        "1970-01-32T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "1970-01-01T24:00:00Z",
        "1970-01-01T00:60:00Z",
        "1970-01-01T00:00:61Z",
        "1970-01-01T00:00:00.Z",
        "1970-01-01T00:00:00Z ",
        " 1970-01-01T00:00:00Z",
        "1970-01-01T00:00:00+1:00",
        "1970-01-01T00:00:00+24:00",
        "1970-01-01T02:00:00+01",
        "1970-01-01T02:00:00+010",
        "1970-01-01T02:00:00+01:",
        "1970-01-01T00:00:00+01:00 ",
        "1970-01-01T01:00:00+01:01",
        "9999-01-01T00:00:00Z",
        "1970-1-1T00:00:00Z",
        "+970-01-01T00:00:00Z",
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        nsec_t wall = -1;
        assert_int_equal(clock_parse(good[i].text, &wall), good[i].wall < 0 ? -EINVAL : 0);
        assert_true(wall == good[i].wall);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        nsec_t wall;
        assert_int_equal(clock_parse(bad[i], &wall), -EINVAL);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_goes_forward),
        cmocka_unit_test(deadlines_saturate),
        cmocka_unit_test(dates_agree_with_the_c_library),
        cmocka_unit_test(dates_are_read_as_they_are_written),
        cmocka_unit_test(dates_of_all_zones_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
