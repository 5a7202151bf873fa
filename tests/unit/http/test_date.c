/* SPDX-License-Identifier: MIT */
/* Dates on the wire. */
#include "http/encode.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

static const struct {
    int64_t seconds;
    const char *text;
} rows[] = {
    { 0, "Thu, 01 Jan 1970 00:00:00 GMT" },
    { 784111777, "Sun, 06 Nov 1994 08:49:37 GMT" }, /* the example of RFC 9110 section 5.6.7 */
    { 951782400, "Tue, 29 Feb 2000 00:00:00 GMT" },
    { 1709251199, "Thu, 29 Feb 2024 23:59:59 GMT" },
    { 4102444800, "Fri, 01 Jan 2100 00:00:00 GMT" },
    { INT64_C(253402300799), "Fri, 31 Dec 9999 23:59:59 GMT" },
    { INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT" },
    { -5, "Thu, 01 Jan 1970 00:00:00 GMT" },
};

static void dates_are_fixed_width(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[HTTP_DATE_BYTES];
        http_date(rows[i].seconds, text);
        assert_string_equal(text, rows[i].text);
    }
}

static void now_is_between_before_and_after(void **state) {
    (void)state;
    char before[HTTP_DATE_BYTES], after[HTTP_DATE_BYTES];
    struct timespec t;
    clock_gettime(CLOCK_REALTIME_COARSE, &t);
    http_date(t.tv_sec, before);
    struct slice now = http_date_now();
    clock_gettime(CLOCK_REALTIME_COARSE, &t);
    http_date(t.tv_sec, after);
    assert_int_equal(now.len, HTTP_DATE_BYTES - 1);
    assert_true(slice_eq(now, slice_str(before)) || slice_eq(now, slice_str(after)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_are_fixed_width),
        cmocka_unit_test(now_is_between_before_and_after),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
