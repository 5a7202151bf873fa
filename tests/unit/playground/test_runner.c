/* SPDX-License-Identifier: MIT */
/* Rows that cannot run: the reason is told, and nothing stays. Other programs stand in for srv. */
#include "base/alloc.h"
#include "playground/runner.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int run(const char *program, const char *word, int cancel_fd, struct error *err) {
    struct playground row = {
        .name = "x",
        .processes = { { .name = "app", .args = { word }, .measured = true } },
        .load = { 1, 1, 0 },
        .slots = 1,
    };
    struct runner runner = { .program = program, .cancel_fd = cancel_fd };
    struct play_result result;
    return runner_run(&runner, &row, &row.load, &result, err);
}

static void assert_no_child(void) {
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void process_that_ends_at_once_is_quoted(void **state) {
    (void)state;
    struct error err;
    assert_int_equal(run("/bin/sh", "/nonexistent/script", -1, &err), -ECHILD);
    assert_non_null(strstr(err.text, "app ended with exit code "));
    assert_non_null(strstr(err.text, "/nonexistent/script"));
    assert_no_child();
}

static void missing_program_is_told(void **state) {
    (void)state;
    struct error err;
    assert_int_equal(run("/nonexistent/srv", "serve", -1, &err), -ECHILD);
    assert_non_null(strstr(err.text, "127"));
    assert_no_child();
}

static void mistake_in_a_row_is_told(void **state) {
    (void)state;
    struct error err;
    assert_int_equal(run("/bin/sleep", "{nobody}", -1, &err), -ENOENT);
    assert_non_null(strstr(err.text, "{nobody}"));
    assert_no_child();
}

static void cancelling_stops_a_process_that_says_nothing(void **state) {
    (void)state;
    struct error err;
    int cancel_fd = eventfd(1, EFD_CLOEXEC);
    nsec_t begin = clock_now();
    assert_int_equal(run("/bin/sleep", "1000", cancel_fd, &err), -ECANCELED);
    assert_true(clock_now() - begin < 5 * NSEC_PER_SEC);
    assert_no_child();
    close(cancel_fd);
}

static void being_out_of_memory_is_told(void **state) {
    (void)state;
    struct error err;
    mem_fail_after(0);
    int rc = run("/bin/sleep", "1000", -1, &err);
    mem_fail_after(-1);
    assert_int_equal(rc, -ENOMEM);
    assert_no_child();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(process_that_ends_at_once_is_quoted),
        cmocka_unit_test(missing_program_is_told),
        cmocka_unit_test(mistake_in_a_row_is_told),
        cmocka_unit_test(cancelling_stops_a_process_that_says_nothing),
        cmocka_unit_test(being_out_of_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
