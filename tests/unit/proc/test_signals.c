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
        cmocka_unit_test(who_is_early_is_not_lost),
        cmocka_unit_test(broken_pipes_are_errors),
        cmocka_unit_test(freed_ones_have_their_default_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
