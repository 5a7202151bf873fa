/* SPDX-License-Identifier: MIT */
/* Deadlines of one span: they expire in order, once, and only those that did not leave. */
#include "net/timeouts.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct job {
    struct timeout timeout;
    int order; /* 0: not expired */
};

static struct {
    struct loop *loop;
    struct timeouts queue;
    int expired, wanted;
} run;

static void on_expired(struct timeouts *q, struct timeout *t) {
    assert_ptr_equal(q, &run.queue);
    CONTAINER_OF(t, struct job, timeout)->order = ++run.expired;
    if (run.expired == run.wanted)
        loop_stop(run.loop);
}

static int set_up(void **state) {
    (void)state;
    run.expired = 0;
    run.loop = loop_new(NULL);
    assert_non_null(run.loop);
    timeouts_init(&run.queue, run.loop, 3 * NSEC_PER_MSEC, on_expired);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    timeouts_close(&run.queue);
    loop_free(run.loop);
    return 0;
}

static void test_expire_in_order_and_not_early(void **state) {
    (void)state;
    struct job jobs[3] = { 0 };
    nsec_t now = clock_now();
    for (int i = 0; i < 3; i++)
        assert_int_equal(timeouts_join(&run.queue, &jobs[i].timeout, now + i * NSEC_PER_MSEC), 0);
    run.wanted = 3;
    assert_int_equal(loop_run(run.loop), 0);
    assert_true(clock_now() - now >= 5 * NSEC_PER_MSEC);
    for (int i = 0; i < 3; i++)
        assert_int_equal(jobs[i].order, i + 1);
}

static void test_leaving_and_joining_again(void **state) {
    (void)state;
    struct job jobs[3] = { 0 };
    nsec_t now = clock_now();
    for (int i = 0; i < 3; i++)
        assert_int_equal(timeouts_join(&run.queue, &jobs[i].timeout, now), 0);
    timeouts_leave(&jobs[1].timeout);
    timeouts_leave(&jobs[1].timeout);
    assert_int_equal(timeouts_join(&run.queue, &jobs[0].timeout, now + NSEC_PER_MSEC), 0);
    run.wanted = 2;
    assert_int_equal(loop_run(run.loop), 0);
    assert_int_equal(jobs[2].order, 1);
    assert_int_equal(jobs[0].order, 2);
    assert_int_equal(jobs[1].order, 0);
}

static void test_endless_span_never_expires(void **state) {
    (void)state;
    struct job job = { 0 };
    run.queue.span = NSEC_NEVER;
    assert_int_equal(timeouts_join(&run.queue, &job.timeout, clock_now()), 0);
    assert_false(timer_armed(&run.queue.timer));
    timeouts_leave(&job.timeout);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_expire_in_order_and_not_early, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_leaving_and_joining_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_endless_span_never_expires, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
