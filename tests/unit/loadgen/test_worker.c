/* SPDX-License-Identifier: MIT */
/* A worker without a network: what it does when memory is short, and when nobody listens. */
#include "base/alloc.h"
#include "loadgen/worker.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct {
    struct loadgen_config config;
    struct target target;
    struct request request;
    struct expect_body expect;
    struct live live;
    struct load_worker worker;
    int reserved; /* a bound socket that does not listen: its port refuses */
    char url[64];
} run;

static int set_up(void **state) {
    (void)state;
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof(at);
    run.reserved = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(run.reserved, (struct sockaddr *)&at, len), 0);
    assert_int_equal(getsockname(run.reserved, (struct sockaddr *)&at, &len), 0);
    snprintf(run.url, sizeof(run.url), "http://127.0.0.1:%u/", ntohs(at.sin_port));

    run.config = (struct loadgen_config){
        .url = run.url, .requests = 30, .concurrency = 3, .timeout = NSEC_PER_SEC, .quiet = true
    };
    assert_int_equal(target_parse(&run.target, run.url, NULL), 0);
    assert_int_equal(target_resolve(&run.target, &run.config, NULL), 0);
    assert_int_equal(request_build(&run.request, &run.config, &run.target, NULL), 0);
    assert_int_equal(expect_body_init(&run.expect, NULL), 0);
    assert_int_equal(live_init(&run.live, &run.config), 0);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    request_free(&run.request);
    live_free(&run.live);
    close(run.reserved);
    return 0;
}

static int init_worker(void) {
    struct worker_setup setup = {
        .config = &run.config,
        .request = &run.request,
        .target = &run.target,
        .expect = &run.expect,
        .live = &run.live,
        .share = { .index = 0, .count = 1 },
    };
    return worker_init(&run.worker, &setup, NULL);
}

static void test_refusals_are_counted_with_r(void **state) {
    (void)state;
    run.config.ignore_errors = true;
    assert_int_equal(init_worker(), 0);
    assert_int_equal(worker_run(&run.worker, clock_now()), 0);
    assert_int_equal(run.worker.counters.failed[FAILURE_REFUSED], 30);
    assert_int_equal(counters_ended(&run.worker.counters), 30);
    assert_int_equal(run.worker.counters.connections, 0);
    assert_int_equal(run.worker.end, RUN_END_DONE);
    worker_free(&run.worker);
}

static void test_a_refusal_ends_the_run_without_r(void **state) {
    (void)state;
    assert_int_equal(init_worker(), 0);
    assert_int_equal(worker_run(&run.worker, clock_now()), 0);
    assert_int_equal(run.worker.end, RUN_END_ERROR);
    assert_in_range(run.worker.counters.failed[FAILURE_REFUSED], 1, 3);
    worker_free(&run.worker);
}

/* The first of two addresses refuses, the second one too: only that is a failure. */
static void test_the_next_address_is_tried_first(void **state) {
    (void)state;
    run.config.ignore_errors = true;
    run.target.addresses.addresses[1] = run.target.addresses.addresses[0];
    run.target.addresses.count = 2;
    assert_int_equal(init_worker(), 0);
    assert_int_equal(worker_run(&run.worker, clock_now()), 0);
    assert_int_equal(run.worker.answers.addresses[0].left_out, ECONNREFUSED);
    assert_int_equal(run.worker.answers.addresses[1].left_out, 0);
    assert_int_equal(counters_ended(&run.worker.counters), 30);
    worker_free(&run.worker);
}

static void test_out_of_memory_at_every_allocation(void **state) {
    (void)state;
    for (long n = 0;; n++) {
        mem_fail_after(n);
        int rc = init_worker();
        bool failed = mem_failed();
        mem_fail_after(-1);
        if (failed) {
            assert_int_equal(rc, -ENOMEM);
            continue;
        }
        assert_int_equal(rc, 0);
        worker_free(&run.worker);
        break;
    }
}

#define WITH_RUN(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_RUN(test_refusals_are_counted_with_r),
        WITH_RUN(test_a_refusal_ends_the_run_without_r),
        WITH_RUN(test_the_next_address_is_tried_first),
        WITH_RUN(test_out_of_memory_at_every_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
