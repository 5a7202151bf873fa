/* SPDX-License-Identifier: MIT */
/* What a FILE did not take is told, with the reason. */
#include "base/attr.h"
#include "base/stream.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

static void what_arrived_is_no_failure(void **state UNUSED) {
    FILE *out = fopen("/dev/null", "w");

    assert_non_null(out);
    assert_int_equal(stream_flush(out), 0);
    fputs("something", out);
    assert_int_equal(stream_flush(out), 0);
    fclose(out);
}

static void the_reason_is_told(void **state UNUSED) {
    FILE *out = fopen("/dev/full", "w");

    assert_non_null(out);
    fputs("something", out);
    assert_int_equal(stream_flush(out), -ENOSPC);
    fclose(out);
}

static void what_failed_before_is_not_forgotten(void **state UNUSED) {
    FILE *out = fopen("/dev/full", "w");

    assert_non_null(out);
    setvbuf(out, NULL, _IONBF, 0);
    fputs("something", out);
    assert_int_equal(stream_flush(out), -EIO);
    fclose(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_arrived_is_no_failure),
        cmocka_unit_test(the_reason_is_told),
        cmocka_unit_test(what_failed_before_is_not_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
