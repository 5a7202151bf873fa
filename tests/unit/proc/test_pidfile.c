/* SPDX-License-Identifier: MIT */
/* Whose the pid file is: written, refused, replaced, removed. */
#include "proc/pidfile.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[64];
static const struct privileges nobody;

static int set_up(void **state) {
    (void)state;
    snprintf(path, sizeof(path), "/tmp/srv-test-pidfile-%d", (int)getpid());
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    unlink(path);
    return 0;
}

static void fill(const char *text) {
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static long content(void) {
    FILE *file = fopen(path, "r");
    long pid = -1;

    if (file == NULL)
        return -1;
    if (fscanf(file, "%ld", &pid) != 1)
        pid = 0;
    fclose(file);
    return pid;
}

static void it_is_written_and_removed(void **state) {
    (void)state;
    struct error err;

    assert_int_equal(pidfile_write(path, 0, &nobody, &err), 0);
    assert_int_equal(content(), getpid());
    assert_int_equal(pidfile_write(path, 0, &nobody, &err), 0);
    pidfile_remove(path);
    assert_int_equal(content(), -1);
}

static void a_running_process_is_respected(void **state) {
    (void)state;
    struct error err;

    fill("1\n");
    assert_int_equal(pidfile_write(path, 0, &nobody, &err), -EEXIST);
    assert_non_null(strstr(err.text, path));
    pidfile_remove(path);
    assert_int_equal(content(), 1);
}

static void what_nobody_owns_is_replaced(void **state) {
    static const char *const stale[] = {
        "", "\n", "junk\n", "0\n", "-5\n", "2147483647\n", "99999999999999999999\n"
    };
    struct error err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(stale); i++) {
        fill(stale[i]);
        assert_int_equal(pidfile_write(path, 0, &nobody, &err), 0);
        assert_int_equal(content(), getpid());
    }
}

static void a_path_that_cannot_be_written_is_named(void **state) {
    (void)state;
    struct error err;

    assert_int_equal(pidfile_write("/nonexistent/srv.pid", 0, &nobody, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nonexistent/srv.pid"));
}

static void no_path_is_no_file(void **state) {
    (void)state;
    struct error err;

    assert_int_equal(pidfile_write(NULL, 0, &nobody, &err), 0);
    pidfile_remove(NULL);
}

#define PIDFILE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        PIDFILE_TEST(it_is_written_and_removed),
        PIDFILE_TEST(a_running_process_is_respected),
        PIDFILE_TEST(what_nobody_owns_is_replaced),
        PIDFILE_TEST(a_path_that_cannot_be_written_is_named),
        PIDFILE_TEST(no_path_is_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
