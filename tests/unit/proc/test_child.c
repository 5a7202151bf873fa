/* SPDX-License-Identifier: MIT */
/* Children: how they begin, how they are told of, and when they are started again. */
#include "proc/child.h"
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int await(pid_t pid) {
    int status = 0;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void signals_wait_until_the_child_is_ready(void **state) {
    (void)state;
    sigset_t before, after, inside;
    pid_t pid;

    pthread_sigmask(SIG_BLOCK, NULL, &before);
    pid = child_fork(0);
    assert_true(pid >= 0);
    if (pid == 0) {
        pthread_sigmask(SIG_BLOCK, NULL, &inside);
        _exit(sigismember(&inside, SIGTERM) && sigismember(&inside, SIGUSR1) ? 5 : 6);
    }
    assert_int_equal(WEXITSTATUS(await(pid)), 5);
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    assert_int_equal(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
    assert_int_equal(sigismember(&after, SIGUSR1), sigismember(&before, SIGUSR1));
}

static void buffered_output_comes_once(void **state) {
    (void)state;
    char text[64];
    FILE *out = tmpfile();
    pid_t pid;

    assert_non_null(out);
    fputs("once", out);
    pid = child_fork(0);
    if (pid == 0) {
        fflush(out);
        _exit(0);
    }
    await(pid);
    fflush(out);
    assert_int_equal(pread(fileno(out), text, sizeof(text), 0), 4);
    fclose(out);
}

static void child_is_to_die_with_its_parent(void **state) {
    (void)state;
    int signo = 0;
    pid_t pid = child_fork(SIGTERM);

    if (pid == 0) {
        prctl(PR_GET_PDEATHSIG, &signo);
        _exit(signo);
    }
    assert_int_equal(WEXITSTATUS(await(pid)), SIGTERM);
}

static void orphan_leaves_at_once(void **state) {
    (void)state;
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        child_die_with_parent(SIGTERM, 1 << 30); /* the parent's pid can never be this one */
        _exit(1);
    }
    status = await(pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

static void child_stays_while_its_parent_lives(void **state) {
    (void)state;
    int status;
    pid_t parent = getpid(), pid = fork();

    if (pid == 0) {
        child_die_with_parent(SIGTERM, parent);
        _exit(5);
    }
    status = await(pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 5);
}

/* Waits for the end, and leaves the reaping to what is tested. */
static int reap_ended(pid_t pid) {
    siginfo_t info;
    int status = -2;

    (void)waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
    assert_true(child_reap(pid, &status));
    return status;
}

static void running_child_is_not_reaped(void **state) {
    (void)state;
    int status;
    pid_t pid = child_fork(SIGKILL);

    if (pid == 0)
        for (;;)
            pause();
    assert_false(child_reap(pid, &status));
    kill(pid, SIGKILL);
    status = reap_ended(pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void ignored_children_have_no_status(void **state) {
    (void)state;
    pid_t pid;

    signal(SIGCHLD, SIG_IGN);
    pid = child_fork(SIGKILL);
    if (pid == 0)
        _exit(7);
    assert_int_equal(reap_ended(pid), CHILD_STATUS_UNKNOWN);
    signal(SIGCHLD, SIG_DFL);
}

static void the_end_of_a_child_is_waited_for(void **state) {
    (void)state;
    int status;
    pid_t pid = child_fork(SIGKILL);

    if (pid == 0) {
        usleep(20000);
        _exit(9);
    }
    status = child_wait(pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 9);
    assert_int_equal(child_wait(pid), CHILD_STATUS_UNKNOWN); /* nobody is left to wait for */
}

static void end_is_told_in_a_phrase(void **state) {
    (void)state;
    const struct {
        int status;
        const char *text;
    } rows[] = {
        { 0, " exit_code=0" },          { 7 << 8, " exit_code=7" },
        { SIGKILL, " signal=SIGKILL" }, { SIGSEGV | 0x80, " signal=SIGSEGV core=yes" },
        { 40, " signal=40" },           { CHILD_STATUS_UNKNOWN, "" },
    };
    char text[CHILD_END_BYTES];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_string_equal(child_end(rows[i].status, text), rows[i].text);
}

static void pauses_grow_with_early_deaths(void **state) {
    (void)state;
    const unsigned pauses_ms[] = { 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000, 5000 };
    struct child_respawn r = { .start_at = 0 };
    nsec_t now = 10 * NSEC_PER_SEC;

    for (size_t i = 0; i < ARRAY_LEN(pauses_ms); i++) {
        child_began(&r, 1, now);
        assert_true(r.start_at == NSEC_NEVER);
        child_died(&r, true, now + NSEC_PER_MSEC);
        assert_int_equal(r.start_at, now + (nsec_t)(1 + pauses_ms[i]) * NSEC_PER_MSEC);
    }
    child_began(&r, 1, now);
    child_died(&r, true, now + 2 * NSEC_PER_SEC); /* an old one begins anew */
    assert_int_equal(r.start_at, now + 2 * NSEC_PER_SEC);
    for (int i = 0; i < 2; i++) {
        child_began(&r, 1, now);
        child_died(&r, false, now + 2 * NSEC_PER_SEC); /* old, but it never served */
    }
    assert_int_equal(r.start_at, now + 2 * NSEC_PER_SEC + 100 * NSEC_PER_MSEC);
    child_began(&r, -EAGAIN, now);
    assert_int_equal(r.start_at, now + 100 * NSEC_PER_MSEC);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signals_wait_until_the_child_is_ready),
        cmocka_unit_test(buffered_output_comes_once),
        cmocka_unit_test(child_is_to_die_with_its_parent),
        cmocka_unit_test(orphan_leaves_at_once),
        cmocka_unit_test(child_stays_while_its_parent_lives),
        cmocka_unit_test(running_child_is_not_reaped),
        cmocka_unit_test(ignored_children_have_no_status),
        cmocka_unit_test(the_end_of_a_child_is_waited_for),
        cmocka_unit_test(end_is_told_in_a_phrase),
        cmocka_unit_test(pauses_grow_with_early_deaths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
