/* SPDX-License-Identifier: MIT */
/* Runs of one load, one after the other in one process, against a server of one thread. */
#include "bench/run.h"
#include "bench/summary.h"
#include "loadgen/counters.h"
#include "loadgen/report.h"
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct {
    int listener;
    _Atomic int answered; /* counted before the answer goes out: whoever has it sees the count */
    pthread_t thread;
    char url[64];
    struct loadgen_config config;
    struct load_setup *setup;
} rig;

/* Answers each connection once, until the listener is shut down. */
static void *serve(void *arg) {
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    char request[4096];
    int fd;
    (void)arg;
    while ((fd = accept(rig.listener, NULL, NULL)) >= 0) {
        if (read(fd, request, sizeof(request)) > 0) {
            rig.answered++;
            if (write(fd, answer, sizeof(answer) - 1) != (ssize_t)sizeof(answer) - 1)
                rig.answered = -1000;
        }
        close(fd);
    }
    return NULL;
}

static int set_up(void **state) {
    (void)state;
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof(at);
    rig.answered = 0;
    rig.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(rig.listener, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(rig.listener, 64), 0);
    assert_int_equal(getsockname(rig.listener, (struct sockaddr *)&at, &len), 0);
    snprintf(rig.url, sizeof(rig.url), "http://127.0.0.1:%u/", ntohs(at.sin_port));
    assert_int_equal(pthread_create(&rig.thread, NULL, serve, NULL), 0);
    rig.config = (struct loadgen_config){ .url = rig.url,
                                          .requests = 20,
                                          .concurrency = 2,
                                          .timeout = 10 * NSEC_PER_SEC,
                                          .quiet = true };
    assert_int_equal(load_setup_new(&rig.setup, &rig.config, NULL), 0);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    load_setup_free(rig.setup);
    shutdown(rig.listener, SHUT_RDWR);
    pthread_join(rig.thread, NULL);
    close(rig.listener);
    return 0;
}

static void test_each_run_counts_for_itself(void **state) {
    (void)state;
    struct error err;
    for (int i = 1; i <= 4; i++) {
        struct loadgen_config config = rig.config;
        struct load_run *run;
        config.requests = 20 * i;
        config.concurrency = config.workers = i;
        config.rate = i == 4 ? 1000 : 0;
        assert_int_equal(load_run_new(&run, rig.setup, &config, &err), 0);
        assert_null(load_run_report(run));
        assert_int_equal(load_run_go(run, &err), 0);
        const struct report *r = load_run_report(run);
        assert_int_equal(r->counters->succeeded, 20 * i);
        assert_int_equal(r->counters->planned, i == 4 ? 80 : 0);
        assert_null(r->stopped_by);
        assert_true(r->summary->rate > 0);
        load_run_free(run);
    }
    assert_int_equal(rig.answered, 20 + 40 + 60 + 80);
}

/* A signal ends the run that goes on, and says so in its code: who began it begins no other. */
static void test_a_signal_ends_a_run(void **state) {
    (void)state;
    struct error err;
    struct loadgen_config config = rig.config;
    struct load_run *run;
    config.requests = 0;
    config.time_limit = 60 * NSEC_PER_SEC;
    config.rate = 10;
    assert_int_equal(load_run_new(&run, rig.setup, &config, &err), 0);
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGTERM };
    struct itimerspec soon = { .it_value = { .tv_nsec = 300 * NSEC_PER_MSEC } };
    timer_t timer;
    assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    assert_int_equal(timer_settime(timer, 0, &soon, NULL), 0);
    assert_int_equal(load_run_go(run, &err), LOADGEN_EXIT_SIGNAL + SIGTERM);
    timer_delete(timer);
    assert_string_equal(load_run_report(run)->stopped_by, "SIGTERM");
    load_run_free(run);
}

static void test_what_cannot_be_prepared_leaves_nothing(void **state) {
    (void)state;
    struct error err;
    struct loadgen_config config = rig.config;
    struct load_setup *setup;
    config.url = "ftp://127.0.0.1/";
    assert_int_equal(load_setup_new(&setup, &config, &err), EXIT_USAGE);
    assert_null(setup);
    config.url = "http://no-such-name.invalid/";
    assert_int_equal(load_setup_new(&setup, &config, &err), EXIT_CANNOT);
    assert_null(setup);
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_each_run_counts_for_itself),
        WITH_SERVER(test_a_signal_ends_a_run),
        WITH_SERVER(test_what_cannot_be_prepared_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
