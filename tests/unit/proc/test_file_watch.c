/* SPDX-License-Identifier: MIT */
/* Files that change: which changes count, and when they are told. */
#include "base/alloc.h"
#include "proc/file_watch.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64], path[96];

static int set_up(void **state) {
    (void)state;
    signal(SIGIO, SIG_IGN);
    strcpy(folder, "/tmp/srv-test-watch-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/file", folder);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void write_to(const char *name) {
    int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
}

static bool any(const char *name) {
    (void)name;
    return true;
}

static void test_changes_are_told_once_when_they_are_quiet(void **state) {
    struct file_watch *w = file_watch_new(NULL);
    nsec_t now = 1000 * NSEC_PER_SEC, quiet = FILE_WATCH_QUIET_NSEC;
    bool due;

    (void)state;
    assert_non_null(w);
    assert_int_equal(file_watch_add(w, path, NULL), 0);
    assert_int_equal(file_watch_tend(w, now, NULL, &due), NSEC_NEVER);
    write_to(path);
    assert_int_equal(file_watch_tend(w, now, NULL, &due), now + quiet);
    assert_false(due);
    write_to(path);
    assert_int_equal(file_watch_tend(w, now + quiet / 2, NULL, &due), now + quiet / 2 + quiet);
    assert_false(due);
    assert_int_equal(file_watch_tend(w, now + 2 * quiet, NULL, &due), NSEC_NEVER);
    assert_true(due);
    assert_int_equal(file_watch_tend(w, now + 9 * quiet, NULL, &due), NSEC_NEVER);
    assert_false(due);
    file_watch_free(w);
}

static void test_a_file_that_is_never_quiet_is_told(void **state) {
    struct file_watch *w = file_watch_new(NULL);
    nsec_t now = 1000 * NSEC_PER_SEC, began = now;
    bool due = false;

    (void)state;
    assert_non_null(w);
    assert_int_equal(file_watch_add(w, path, NULL), 0);
    while (!due && now < began + 10 * FILE_WATCH_PATIENCE_NSEC) {
        write_to(path);
        file_watch_tend(w, now, NULL, &due);
        now += FILE_WATCH_QUIET_NSEC / 2;
    }
    assert_true(due);
    assert_true(now <= began + FILE_WATCH_PATIENCE_NSEC + FILE_WATCH_QUIET_NSEC);
    file_watch_free(w);
}

static void test_other_names_count_when_they_are_asked_for(void **state) {
    struct file_watch *w = file_watch_new(NULL);
    char other[96];
    bool due;

    (void)state;
    assert_non_null(w);
    snprintf(other, sizeof(other), "%s/other", folder);
    assert_int_equal(file_watch_add(w, path, NULL), 0);
    write_to(other);
    assert_int_equal(file_watch_tend(w, 0, NULL, &due), NSEC_NEVER);
    write_to(other);
    assert_int_equal(file_watch_tend(w, 0, any, &due), FILE_WATCH_QUIET_NSEC);
    unlink(other);
    file_watch_free(w);
}

static void test_a_change_sends_sigio(void **state) {
    const struct timespec patience = { .tv_sec = 10 };
    struct file_watch *w;
    sigset_t io;

    (void)state;
    sigemptyset(&io);
    sigaddset(&io, SIGIO);
    sigprocmask(SIG_BLOCK, &io, NULL);
    w = file_watch_new(NULL);
    assert_non_null(w);
    assert_int_equal(file_watch_add(w, path, NULL), 0);
    write_to(path);
    assert_int_equal(sigtimedwait(&io, NULL, &patience), SIGIO);
    sigprocmask(SIG_UNBLOCK, &io, NULL);
    file_watch_free(w);
}

static void test_a_folder_that_is_not_there_is_told(void **state) {
    struct file_watch *w = file_watch_new(NULL);
    struct error err;

    (void)state;
    assert_non_null(w);
    assert_int_equal(file_watch_add(w, "/no/such/file", &err), -ENOENT);
    assert_string_equal(err.text,
                        "cannot watch the folder of '/no/such/file': No such file or directory");
    file_watch_free(w);
}

static void test_without_memory(void **state) {
    (void)state;
    for (long n = 0;; n++) {
        mem_fail_after(n);
        struct file_watch *w = file_watch_new(NULL);
        int rc = w != NULL ? file_watch_add(w, path, NULL) : -ENOMEM;
        bool failed = mem_failed();

        mem_fail_after(-1);
        file_watch_free(w);
        assert_int_equal(rc, failed ? -ENOMEM : 0);
        if (!failed)
            break;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_changes_are_told_once_when_they_are_quiet, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_file_that_is_never_quiet_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_other_names_count_when_they_are_asked_for, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_change_sends_sigio, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_folder_that_is_not_there_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_without_memory, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
