/* SPDX-License-Identifier: MIT */
/* Lines reach their file once and in order, whatever happens to the process that writes them. */
#include "proc/logger.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { KILLS = 30, LINES_EACH = 400 };

static const struct privileges nobody;
static char path[64];

static void set_up(struct logger *l) {
    struct error err = { "" };

    snprintf(path, sizeof(path), "/tmp/srv-test-logger-%d", (int)getpid());
    unlink(path);
    assert_int_equal(logger_open(l, path, &nobody, &err), 0);
    assert_int_equal(logger_start(l, "srv test", &err), 0);
}

static void write_lines(struct logger *l, unsigned from, unsigned count) {
    char text[32];

    for (unsigned i = from; i < from + count; i++) {
        int len = snprintf(text, sizeof(text), "%u\n", i);
        assert_true(logger_write(l, slice_of(text, (size_t)len)));
    }
}

static void assert_lines(const char *file_path, unsigned from, unsigned count) {
    FILE *file = fopen(file_path, "r");
    char text[32];

    assert_non_null(file);
    for (unsigned i = from; i < from + count; i++) {
        assert_non_null(fgets(text, sizeof(text), file));
        assert_int_equal(strtoul(text, NULL, 10), i);
    }
    assert_null(fgets(text, sizeof(text), file));
    fclose(file);
    unlink(file_path);
}

/* At an instant that differs each time, and waits for the next process. */
static void kill_it(struct logger *l, unsigned after_us) {
    pid_t pid = l->helper.pid;
    siginfo_t ended;

    usleep(after_us);
    kill(pid, SIGKILL);
    assert_int_equal(waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOWAIT), 0);
    l->helper.respawn.early_deaths = 0; /* without its pauses */
    assert_int_equal(logger_tend(l, clock_now()), NSEC_NEVER);
    assert_int_not_equal(l->helper.pid, pid);
}

static void killed_processes_lose_nothing(void **state) {
    (void)state;
    struct logger l;

    set_up(&l);
    for (unsigned i = 0; i < KILLS; i++) {
        write_lines(&l, i * LINES_EACH, LINES_EACH);
        kill_it(&l, i * 37);
    }
    logger_close(&l);
    assert_lines(path, 0, KILLS * LINES_EACH);
}

static void a_stopped_process_goes_on_at_the_end(void **state) {
    (void)state;
    struct logger l;

    set_up(&l);
    kill(l.helper.pid, SIGSTOP);
    write_lines(&l, 0, 1000);
    logger_close(&l);
    assert_lines(path, 0, 1000);
}

static void a_rotated_file_is_left_when_asked(void **state) {
    (void)state;
    struct logger l;
    char old[80];
    struct stat is = { 0 };
    nsec_t until = deadline_after(clock_now(), 20 * NSEC_PER_SEC);

    set_up(&l);
    write_lines(&l, 0, 10);
    while ((stat(path, &is) < 0 || is.st_size < 20) && clock_now() < until)
        usleep(1000);
    snprintf(old, sizeof(old), "%s.1", path);
    assert_int_equal(rename(path, old), 0);
    logger_reopen(&l);
    while (access(path, F_OK) < 0 && clock_now() < until)
        usleep(1000);
    write_lines(&l, 10, 10);
    logger_close(&l);
    assert_lines(path, 10, 10);
    assert_lines(old, 0, 10);
}

static void a_process_that_keeps_dying_is_started_ever_later(void **state) {
    (void)state;
    struct logger l;
    nsec_t now, next, before = 0;

    set_up(&l);
    for (unsigned i = 0; i < 4; i++) {
        siginfo_t ended;

        kill(l.helper.pid, SIGKILL);
        assert_int_equal(waitid(P_PID, (id_t)l.helper.pid, &ended, WEXITED | WNOWAIT), 0);
        now = clock_now();
        next = logger_tend(&l, now);
        if (i == 0) {
            assert_int_equal(next, NSEC_NEVER);
            continue;
        }
        assert_int_equal(l.helper.pid, 0);
        assert_true(next - now > before && next - now <= 5 * NSEC_PER_SEC);
        before = next - now;
        assert_int_equal(logger_tend(&l, next), NSEC_NEVER);
    }
    logger_close(&l);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_processes_lose_nothing),
        cmocka_unit_test(a_stopped_process_goes_on_at_the_end),
        cmocka_unit_test(a_rotated_file_is_left_when_asked),
        cmocka_unit_test(a_process_that_keeps_dying_is_started_ever_later),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
