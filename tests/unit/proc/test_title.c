/* SPDX-License-Identifier: MIT */
/* Process titles as /proc shows them. */
#include "proc/title.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct {
    int argc;
    char **argv;
} args;

static size_t read_file(const char *path, char *text, size_t size) {
    FILE *file = fopen(path, "r");

    assert_non_null(file);
    size_t n = fread(text, 1, size - 1, file);
    fclose(file);
    text[n] = '\0';
    return n;
}

static void arguments_and_environment_survive(void **state) {
    (void)state;

    setenv("TEST_TITLE", "kept", 1);
    char **copy = title_init(args.argc, args.argv);
    assert_ptr_not_equal(copy, args.argv);
    assert_string_equal(copy[0], program_invocation_name);
    assert_null(copy[args.argc]);

    title_set("srv test", "%s", "srv test: a title");
    assert_string_equal(getenv("TEST_TITLE"), "kept");
    assert_non_null(getenv("PATH"));
    assert_non_null(strstr(copy[0], "test_proc_title"));
}

static void title_and_name_are_shown(void **state) {
    (void)state;
    char text[1024];

    title_set("srv worker 2", "srv serve: worker %d [%s]", 2, "green");
    size_t n = read_file("/proc/self/cmdline", text, sizeof(text));
    assert_string_equal(text, "srv serve: worker 2 [green]");
    assert_int_equal(n, strlen(text) + 1); /* no padding */
    read_file("/proc/self/comm", text, sizeof(text));
    assert_string_equal(text, "srv worker 2\n");

    title_set("srv", "s");
    n = read_file("/proc/self/cmdline", text, sizeof(text));
    assert_string_equal(text, "s");
    assert_int_equal(n, 2);
}

static void long_title_is_cut(void **state) {
    (void)state;
    static char title[1 << 16], text[1 << 16];

    memset(title, 'x', sizeof(title) - 1);
    title[sizeof(title) - 1] = '\0';
    title_set("srv", "%s", title);
    size_t n = read_file("/proc/self/cmdline", text, sizeof(text));
    assert_true(n > 0 && n < sizeof(title));
    assert_memory_equal(text, title, strlen(text));
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_and_environment_survive),
        cmocka_unit_test(title_and_name_are_shown),
        cmocka_unit_test(long_title_is_cut),
    };

    args.argc = argc;
    args.argv = argv;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
