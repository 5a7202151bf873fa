/* SPDX-License-Identifier: MIT */
/* Searching a PATH: the first folder wins, and what is empty or does not fit is passed over. */
#include "base/attr.h"
#include "base/path.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void first_folder_that_has_it_wins(void **state UNUSED) {
    char path[64];

    assert_true(path_search("/nowhere::/bin:/usr/bin", "sh", path, sizeof(path)));
    assert_string_equal(path, "/bin/sh");
}

static void what_is_nowhere_is_not_found(void **state UNUSED) {
    char path[64];

    assert_false(path_search("/bin:/usr/bin", "no-such-program", path, sizeof(path)));
    assert_false(path_search("/etc", "passwd", path, sizeof(path))); /* nobody may execute it */
    assert_false(path_search("", "sh", path, sizeof(path)));
    assert_false(path_search(NULL, "sh", path, sizeof(path)));
}

static void a_path_that_does_not_fit_is_passed_over(void **state UNUSED) {
    char path[sizeof("/bin/sh")];

    assert_true(path_search("/usr/bin:/bin", "sh", path, sizeof(path)));
    assert_string_equal(path, "/bin/sh");
    assert_false(path_search("/bin", "sh", path, sizeof(path) - 1));
}

static void libraries_of_the_system_are_told_from_others(void **state UNUSED) {
    const char *const own[] = { "/lib/x86_64-linux-gnu/libc.so.6", "libm.so.6",
                                "/lib64/ld-linux-x86-64.so.2", "linux-vdso.so.1", "libasan.so.8" };
    const char *const others[] = { "/usr/lib/libpq.so.5", "libcurl.so.4", "libcares.so.2",
                                   "/opt/libc.so.6/libx.so", "" };

    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        assert_true(path_is_system_library(own[i]));
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_false(path_is_system_library(others[i]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_folder_that_has_it_wins),
        cmocka_unit_test(what_is_nowhere_is_not_found),
        cmocka_unit_test(a_path_that_does_not_fit_is_passed_over),
        cmocka_unit_test(libraries_of_the_system_are_told_from_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
