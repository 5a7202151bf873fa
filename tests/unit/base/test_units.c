/* SPDX-License-Identifier: MIT */
/* Durations, seconds and sizes: what is accepted, refused, and printed back. */
#include "base/units.h"
#include "tests/unit/base/guard_page.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define YEAR (INT64_C(365) * 86400 * NSEC_PER_SEC)

static void parses_durations(void **state) {
    (void)state;
    struct {
        const char *text;
        int rc;
        nsec_t span;
    } cases[] = {
        { "0", 0, 0 },
        { "2", 0, 2 * NSEC_PER_SEC },
        { "1.5s", 0, 1500 * NSEC_PER_MSEC },
        { ".5", 0, 500 * NSEC_PER_MSEC },
        { "5.", 0, 5 * NSEC_PER_SEC },
        { "250ms", 0, 250 * NSEC_PER_MSEC },
        { "7us", 0, 7000 },
        { "0.001us", 0, 1 },
        { "1.5m", 0, 90 * NSEC_PER_SEC },
        { "2h", 0, 7200 * NSEC_PER_SEC },
        { "0.000000001", 0, 1 },
        { "0.1", 0, 100 * NSEC_PER_MSEC }, /* exact, unlike in binary fractions */
        { "1.0000000000000000000000000000001", 0, NSEC_PER_SEC },
        { "87600h", 0, 10 * YEAR },
        { "87600.1h", -ERANGE, 0 },
        { "315360001", -ERANGE, 0 },
        { "99999999999999999999999999999999", -ERANGE, 0 },
        { "99999999999999999999999999999999us", -ERANGE, 0 },
        { "", -EINVAL, 0 },
        { ".", -EINVAL, 0 },
        { "s", -EINVAL, 0 },
        { "1..5", -EINVAL, 0 },
        { "1.5.5", -EINVAL, 0 },
        { "-1", -EINVAL, 0 },
        { "+1", -EINVAL, 0 },
        { "1e3", -EINVAL, 0 },
        { "nan", -EINVAL, 0 },
        { "inf", -EINVAL, 0 },
        { "1 s", -EINVAL, 0 },
        { " 1", -EINVAL, 0 },
        { "1S", -EINVAL, 0 },
        { "1sec", -EINVAL, 0 },
        { "1,5", -EINVAL, 0 },
    };
    struct guarded guard = guard_open();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        nsec_t span = 99;
        int rc = units_parse_duration(guard_copy(&guard, cases[i].text), &span);
        assert_int_equal(rc, cases[i].rc);
        assert_int_equal(span, rc == 0 ? cases[i].span : 99);
    }
    guard_close(&guard);
}

static void parses_the_delay_parameter(void **state) {
    (void)state;
    struct {
        const char *text, *why;
        nsec_t span;
    } cases[] = {
        { "", NULL, NSEC_PER_SEC },
        { "0", NULL, 0 },
        { "0.25", NULL, 250 * NSEC_PER_MSEC },
        { "315360000", NULL, 10 * YEAR },
        { "-1", "is negative", 0 },
        { "-0.5", "is negative", 0 },
        { "nan", "is not a number", 0 },
        { "NaN", "is not a number", 0 },
        { "inf", "is not finite", 0 },
        { "-Infinity", "is not finite", 0 },
        { "abc", "is not a decimal number of seconds", 0 },
        { "-", "is not a decimal number of seconds", 0 },
        { "-1x", "is not a decimal number of seconds", 0 },
        { "1e999", "is not a decimal number of seconds", 0 },
        { "1s", "is not a decimal number of seconds", 0 },
        { "1 ", "is not a decimal number of seconds", 0 },
        { "999999999", "is more than ten years", 0 },
        { "9999999999999999999999999999", "is more than ten years", 0 },
    };
    struct guarded guard = guard_open();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        nsec_t span = 99;
        const char *why = NULL;
        int rc = units_parse_seconds(guard_copy(&guard, cases[i].text), &span, &why);
        if (cases[i].why == NULL) {
            assert_int_equal(rc, 0);
            assert_int_equal(span, cases[i].span);
        } else {
            assert_true(rc == -EINVAL || rc == -ERANGE);
            assert_int_equal(span, 99);
            assert_string_equal(why, cases[i].why);
        }
    }
    guard_close(&guard);
}

static void parses_sizes(void **state) {
    (void)state;
    struct {
        const char *text;
        int rc;
        uint64_t bytes;
    } cases[] = {
        { "0", 0, 0 },
        { "512", 0, 512 },
        { "64k", 0, 65536 },
        { "64K", 0, 65536 },
        { "1m", 0, 1048576 },
        { "3G", 0, UINT64_C(3) << 30 },
        { "17179869183g", 0, UINT64_C(17179869183) << 30 },
        { "17179869184g", -ERANGE, 0 },
        { "18446744073709551616", -ERANGE, 0 },
        { "", -EINVAL, 0 },
        { "k", -EINVAL, 0 },
        { "-1", -EINVAL, 0 },
        { "1kb", -EINVAL, 0 },
        { "1.5m", -EINVAL, 0 },
        { "1t", -EINVAL, 0 },
    };
    struct guarded guard = guard_open();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t bytes = 99;
        int rc = units_parse_size(guard_copy(&guard, cases[i].text), &bytes);
        assert_int_equal(rc, cases[i].rc);
        assert_int_equal(bytes, rc == 0 ? cases[i].bytes : 99);
    }
    guard_close(&guard);
}

static void parses_numbers_and_percents(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double value; /* -1: refused */
    } numbers[] = { { "0", 0 },    { "2.5", 2.5 },  { ".5", 0.5 }, { "1.", 1 },
                    { "", -1 },    { ".", -1 },     { "-1", -1 },  { "+1", -1 },
                    { "1e3", -1 }, { "1.2.3", -1 }, { "nan", -1 }, { "1234567890123456789", -1 } },
      percents[] = { { "0", 0 },         { "50", 0.5 }, { "50%", 0.5 },  { "100%", 1 },
                     { "12.5%", 0.125 }, { "101", -1 }, { "100.1", -1 }, { "%", -1 },
                     { "", -1 },         { "5%%", -1 } };
    double value;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        int rc = units_parse_number(slice_str(numbers[i].text), &value);
        assert_int_equal(rc, numbers[i].value < 0 ? -EINVAL : 0);
        assert_true(rc < 0 || value == numbers[i].value);
    }
    for (size_t i = 0; i < ARRAY_LEN(percents); i++) {
        int rc = units_parse_percent(slice_str(percents[i].text), &value);
        assert_int_equal(rc, percents[i].value < 0 ? -EINVAL : 0);
        assert_true(rc < 0 || value == percents[i].value);
    }
}

static void prints_durations_short_and_exact(void **state) {
    (void)state;
    struct {
        nsec_t span;
        const char *text;
    } cases[] = {
        { 0, "0s" },
        { 1, "0.001us" },
        { 1500, "1.5us" },
        { 250 * NSEC_PER_MSEC, "250ms" },
        { 100 * NSEC_PER_MSEC, "100ms" },
        { 1500 * NSEC_PER_MSEC, "1.5s" },
        { 60 * NSEC_PER_SEC, "1m" },
        { 90 * NSEC_PER_SEC, "90s" },
        { 100 * NSEC_PER_SEC, "100s" },
        { 3600 * NSEC_PER_SEC, "1h" },
        { 86400 * NSEC_PER_SEC, "24h" },
        { NSEC_PER_SEC + 1, "1.000000001s" },
        { 10 * YEAR, "87600h" },
        { NSEC_NEVER, "never" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[UNITS_TEXT_BYTES];
        assert_string_equal(units_format_duration(cases[i].span, text), cases[i].text);
    }
}

static void takes_back_what_it_prints(void **state) {
    (void)state;
    uint64_t seed = 88172645463325252;
    for (int i = 0; i < 20000; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        char text[UNITS_TEXT_BYTES];
        nsec_t span = (nsec_t)(seed >> (seed % 63)) & INT64_MAX, span_back = -1;
        if (span <= 10 * YEAR) {
            units_format_duration(span, text);
            assert_int_equal(units_parse_duration(slice_str(text), &span_back), 0);
            assert_int_equal(span_back, span);
        }
        uint64_t bytes = seed << (seed % 40), bytes_back = 1;
        units_format_size(bytes, text);
        assert_int_equal(units_parse_size(slice_str(text), &bytes_back), 0);
        assert_int_equal(bytes_back, bytes);
    }
}

static void prints_sizes(void **state) {
    (void)state;
    char text[UNITS_TEXT_BYTES];
    assert_string_equal(units_format_size(0, text), "0");
    assert_string_equal(units_format_size(1000, text), "1000");
    assert_string_equal(units_format_size(65536, text), "64k");
    assert_string_equal(units_format_size(1536 * 1024, text), "1536k");
    assert_string_equal(units_format_size(UINT64_C(1) << 40, text), "1024g");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_durations),
        cmocka_unit_test(parses_the_delay_parameter),
        cmocka_unit_test(parses_sizes),
        cmocka_unit_test(parses_numbers_and_percents),
        cmocka_unit_test(prints_durations_short_and_exact),
        cmocka_unit_test(takes_back_what_it_prints),
        cmocka_unit_test(prints_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
