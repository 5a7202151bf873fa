/* SPDX-License-Identifier: MIT */
/* Errors are one printable line, whatever went into them. */
#include "base/error.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void writes_the_line_and_returns_the_code(void **state) {
    (void)state;
    struct error err;
    assert_int_equal(error_set(&err, -EINVAL, "%s: %d", "port", 70000), -EINVAL);
    assert_string_equal(err.text, "port: 70000");
    assert_int_equal(error_set(NULL, -EIO, "nobody asks"), -EIO);
}

static void escapes_control_characters(void **state) {
    (void)state;
    struct error err;
    error_set(&err, 0, "a\nb\x1b[31m");
    assert_string_equal(err.text, "a\\nb\\x1b[31m");
}

static void may_quote_itself(void **state) {
    (void)state;
    struct error err;
    error_set(&err, 0, "inner");
    error_set(&err, 0, "outer: %s", err.text);
    assert_string_equal(err.text, "outer: inner");
}

static void cuts_what_is_too_long(void **state) {
    (void)state;
    struct error err;
    error_set(&err, 0, "%1000d", 1);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    assert_string_equal(err.text + sizeof(err.text) - 4, "...");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_the_line_and_returns_the_code),
        cmocka_unit_test(escapes_control_characters),
        cmocka_unit_test(may_quote_itself),
        cmocka_unit_test(cuts_what_is_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
