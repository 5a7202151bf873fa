/* SPDX-License-Identifier: MIT */
/* Signals on a loop, and leaving with the parent. */
#include "proc/signals.h"

#include "base/attr.h"
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const int watched[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP };

struct seen {
    struct loop *loop;
    int last;
    unsigned count;
};

static void on_signal(void *arg, int signo) {
    struct seen *seen = arg;

    seen->last = signo;
    seen->count++;
    loop_stop(seen->loop);
}

static void each_arrives_on_the_loop(void **state) {
    (void)state;
    struct seen seen = { .loop = loop_new(NULL) };
    struct signals *s = signals_new(seen.loop, on_signal, &seen, NULL);

    assert_non_null(s);
    for (size_t i = 0; i < ARRAY_LEN(watched); i++) {
        raise(watched[i]);
        assert_int_equal(loop_run(seen.loop), 0);
        assert_int_equal(seen.last, watched[i]);
    }
    assert_int_equal(seen.count, ARRAY_LEN(watched));
    signals_free(s);
    loop_free(seen.loop);
}

static void count_only(void *arg, int signo) {
    struct seen *seen = arg;

    seen->last = signo;
    seen->count++;
}

/* A second TERM means something else than the first. */
static void each_of_a_storm_arrives(void **state) {
    (void)state;
    struct seen seen = { .loop = loop_new(NULL) };
    struct signals *s = signals_new(seen.loop, on_signal, &seen, NULL);

    for (int i = 0; i < 1000; i++)
        raise(i % 2 == 0 ? SIGTERM : SIGHUP);
    for (int i = 0; i < 3; i++)
        raise(SIGRETIRE);
    assert_int_equal(loop_run(seen.loop), 0);
    assert_int_equal(seen.count, 1003);
    signals_free(s);
    loop_free(seen.loop);
}

/* In a child, since a process has one handler. */
static void caught_ones_call_from_the_handler(void **state) {
    (void)state;
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        struct seen seen = { .count = 0 };

        signals_defer();
        raise(SIGTERM);
        signals_catch(count_only, &seen);
        raise(SIGINT);
        raise(SIGHUP);
        _exit(seen.count == 2 && seen.last == SIGINT ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* A loop that is stuck cannot read what the handler wrote. */
static void at_once_needs_no_loop(void **state) {
    (void)state;
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        struct seen seen = { .loop = loop_new(NULL) };

        if (signals_new(seen.loop, count_only, &seen, NULL) == NULL)
            _exit(1);
        signals_enforce();
        raise(SIGTERM);
        raise(SIGTERM);
        for (;;)
            pause();
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
}

/* A server tells where it listens before it can handle signals. */
static void who_is_early_is_not_lost(void **state) {
    (void)state;
    struct seen seen = { .loop = loop_new(NULL) };

    signals_defer();
    raise(SIGTERM);
    struct signals *s = signals_new(seen.loop, on_signal, &seen, NULL);
    assert_int_equal(loop_run(seen.loop), 0);
    assert_int_equal(seen.last, SIGTERM);
    signals_free(s);
    loop_free(seen.loop);
}

static void broken_pipes_are_errors(void **state) {
    (void)state;
    struct seen seen = { .loop = loop_new(NULL) };
    struct signals *s = signals_new(seen.loop, on_signal, &seen, NULL);
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    assert_int_equal(write(fds[1], "x", 1), -1);
    assert_int_equal(errno, EPIPE);
    close(fds[1]);
    signals_free(s);
    loop_free(seen.loop);
}

static void freed_ones_have_their_default_again(void **state) {
    (void)state;
    struct seen seen = { .loop = loop_new(NULL) };
    int status;

    signals_free(signals_new(seen.loop, on_signal, &seen, NULL));
    loop_free(seen.loop);
    pid_t pid = fork();
    if (pid == 0) {
        raise(SIGTERM);
        _exit(1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_arrives_on_the_loop),
        cmocka_unit_test(each_of_a_storm_arrives),
        cmocka_unit_test(caught_ones_call_from_the_handler),
        cmocka_unit_test(at_once_needs_no_loop),
        cmocka_unit_test(who_is_early_is_not_lost),
        cmocka_unit_test(broken_pipes_are_errors),
        cmocka_unit_test(freed_ones_have_their_default_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
