/* SPDX-License-Identifier: MIT */
/* What is told of requests while they come and go. */
#include "server/observe/admin.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SPAN (500 * NSEC_PER_MSEC)

/* Short requests, some at a time, as a worker tells of them. */
static void come_and_go(struct stats *stats) {
    struct stats_entry *entries[32];

    for (;;) {
        for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
            entries[i] = stats_enter(stats, SLICE("GET"), SLICE("/"), clock_now());
            stats_does(entries[i], STATS_CPU, clock_now());
        }
        for (size_t i = 0; i < ARRAY_LEN(entries); i++)
            stats_leave(entries[i]);
    }
}

/* Asks the endpoint for /requests. The answer, of at most `size` bytes. */
static void ask(const struct address *to, char *text, size_t size) {
    static const char request[] = "GET /requests HTTP/1.0\r\nHost: localhost\r\n\r\n";
    int fd = socket(to->any.sa_family, SOCK_STREAM, 0);
    size_t len = 0;
    ssize_t n = 1;

    assert_int_equal(connect(fd, &to->any, to->len), 0);
    assert_int_equal(write(fd, request, sizeof(request) - 1), sizeof(request) - 1);
    while (n > 0 && len < size - 1) {
        n = read(fd, text + len, size - 1 - len);
        len += n > 0 ? (size_t)n : 0;
    }
    text[len] = '\0';
    close(fd);
    assert_non_null(strstr(text, " 200 "));
}

static void times_of_requests_are_their_own(void **state) {
    (void)state;
    struct serve_config config = { .control = "127.0.0.1:0" };
    atomic_bool leaving = false;
    struct admin admin = { .config = &config, .leaving = &leaving, .inherited_fd = -1 };
    struct stats *stats;
    nsec_t begin = clock_now();
    size_t seen = 0;
    static char text[1 << 20]; /* holds every entry */
    pid_t pid;

    admin.stats_fd = stats_open(NULL);
    stats = stats_map(admin.stats_fd, 1, NULL);
    assert_non_null(stats);
    assert_int_equal(admin_open(&admin, NULL), 0);
    assert_int_equal(admin_start(&admin, NULL), 0);
    stats_start(stats, true);
    pid = fork();
    if (pid == 0)
        come_and_go(stats);
    assert_true(pid > 0);
    while (clock_now() - begin < SPAN) {
        ask(&admin.bound, text, sizeof(text));
        for (const char *at = text; (at = strstr(at, "_seconds\": ")) != NULL; seen++) {
            double seconds = strtod(at += strlen("_seconds\": "), NULL);

            if (seconds < 0 || seconds > (double)(clock_now() - begin) / NSEC_PER_SEC) {
                kill(pid, SIGKILL);
                fail_msg("%f seconds", seconds);
            }
        }
    }
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    admin_stop(&admin);
    assert_true(seen > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_of_requests_are_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
