/* SPDX-License-Identifier: MIT */
/* What is told of requests while they come and go. */
#include "server/observe/metrics.h"
#include "server/observe/stats.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SPAN (500 * NSEC_PER_MSEC)

/* Short requests, one after the other, as a worker tells of them. */
static void come_and_go(struct stats *stats) {
    for (;;) {
        struct stats_entry *e = stats_enter(stats, SLICE("GET"), SLICE("/"), clock_now());

        stats_does(e, STATS_CPU, clock_now());
        stats_leave(e);
    }
}

static void times_of_requests_are_their_own(void **state) {
    (void)state;
    struct stats *stats = stats_map(stats_open(NULL), 1, NULL);
    struct admin admin = { .stats = stats, .count = 1 };
    nsec_t begin = clock_now();
    size_t seen = 0;
    pid_t pid;

    assert_non_null(stats);
    stats_start(stats, true);
    pid = fork();
    if (pid == 0)
        come_and_go(stats);
    assert_true(pid > 0);
    while (clock_now() - begin < SPAN) {
        char *text = metrics_requests(&admin);

        for (const char *at = text; (at = strstr(at, "_seconds\": ")) != NULL; seen++) {
            double seconds = strtod(at += strlen("_seconds\": "), NULL);

            if (seconds < 0 || seconds > (double)(clock_now() - begin) / NSEC_PER_SEC) {
                kill(pid, SIGKILL);
                fail_msg("%f seconds", seconds);
            }
        }
        free(text);
    }
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(seen > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_of_requests_are_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
