/* SPDX-License-Identifier: MIT */
/* The lives of fibers: spawn, park, wake, cancel, deadlines, many at once. */
#include "base/poison.h"
#include "tests/unit/fiber/fiber_rig.h"

#ifdef POISON_TSAN
enum { MANY = 1000 }; /* its runtime keeps room for some thousands */
#else
enum { MANY = 10000 };
#endif

static void test_a_fiber_runs_at_once_and_ends(void **state) {
    struct rig r;
    (void)state;
    rig_open(&r, (struct fiber_config){ 0 });
    assert_int_equal(fiber_spawn(r.fibers, "f", park_once, &r), 0);
    assert_null(fiber_self(r.fibers));
    assert_non_null(r.fiber);
    assert_int_equal(r.steps, 0);
    fiber_wake(r.fiber);
    assert_int_equal(r.steps, 1);
    assert_int_equal(r.rc, 0);
    rig_close(&r);
}

static void wake_oneself_then_park(void *arg) {
    struct rig *r = arg;
    fiber_wake(fiber_self(r->fibers));
    assert_int_equal(fiber_park(r->fibers, 0), 0);          /* the wake counts, once */
    assert_int_equal(fiber_park(r->fibers, 0), -ETIMEDOUT); /* a deadline in the past */
    r->steps++;
}

static void test_a_wake_before_the_park_is_not_lost(void **state) {
    struct rig r;
    (void)state;
    rig_open(&r, (struct fiber_config){ 0 });
    assert_int_equal(fiber_spawn(r.fibers, "f", wake_oneself_then_park, &r), 0);
    assert_int_equal(r.steps, 1);
    rig_close(&r);
}

static void park_until_deadline(void *arg) {
    struct rig *r = arg;
    assert_int_equal(fiber_park(r->fibers, r->deadline), -ETIMEDOUT);
    assert_true(clock_now() >= r->deadline);
    r->steps++;
}

static void test_a_park_ends_at_its_deadline_not_before(void **state) {
    struct rig r;
    (void)state;
    rig_open(&r, (struct fiber_config){ 0 });
    r.deadline = clock_now() + 3 * NSEC_PER_MSEC;
    assert_int_equal(fiber_spawn(r.fibers, "f", park_until_deadline, &r), 0);
    run_for(&r, 10 * NSEC_PER_MSEC);
    assert_int_equal(r.steps, 1);
    rig_close(&r);
}

static void park_near_then_far(void *arg) {
    struct rig *r = arg;
    r->fiber = fiber_self(r->fibers);
    assert_int_equal(fiber_park(r->fibers, clock_now() + 20 * NSEC_PER_MSEC), 0);
    r->deadline = clock_now() + 40 * NSEC_PER_MSEC; /* the timer still stands at the first one */
    assert_int_equal(fiber_park(r->fibers, r->deadline), -ETIMEDOUT);
    assert_true(clock_now() >= r->deadline);
    r->deadline = clock_now() + 2 * NSEC_PER_MSEC;
    assert_int_equal(fiber_park(r->fibers, r->deadline), -ETIMEDOUT);
    assert_true(clock_now() >= r->deadline);
    r->steps++;
}

static void test_a_later_deadline_is_not_cut_short_by_an_earlier_timer(void **state) {
    struct rig r;
    (void)state;
    rig_open(&r, (struct fiber_config){ 0 });
    assert_int_equal(fiber_spawn(r.fibers, "f", park_near_then_far, &r), 0);
    fiber_wake(r.fiber);
    run_for(&r, 60 * NSEC_PER_MSEC);
    assert_int_equal(r.steps, 1);
    rig_close(&r);
}

static void test_a_timer_left_by_a_fiber_does_not_hit_the_next_on_its_stack(void **state) {
    struct rig r;
    (void)state;
    rig_open(&r, (struct fiber_config){ 0 });
    r.deadline = clock_now() + 20 * NSEC_PER_MSEC;
    assert_int_equal(fiber_spawn(r.fibers, "first", park_once, &r), 0);
    fiber_wake(r.fiber);
    r.deadline = NSEC_NEVER;
    assert_int_equal(fiber_spawn(r.fibers, "second", park_once, &r), 0);
    run_for(&r, 30 * NSEC_PER_MSEC);
    assert_int_equal(r.steps, 1);
    fiber_wake(r.fiber);
    assert_int_equal(r.steps, 2);
    rig_close(&r);
}

static void park_again_and_again(void *arg) {
    struct rig *r = arg;
    r->fiber = fiber_self(r->fibers);
    assert_int_equal(fiber_park(r->fibers, NSEC_NEVER), -ECANCELED);
    assert_true(fiber_cancelled(r->fiber));
    assert_int_equal(fiber_park(r->fibers, NSEC_NEVER), -ECANCELED);
    r->steps++;
}

static void test_cancel_ends_every_park(void **state) {
    struct rig r;
    (void)state;
    rig_open(&r, (struct fiber_config){ 0 });
    assert_int_equal(fiber_spawn(r.fibers, "f", park_again_and_again, &r), 0);
    assert_int_equal(r.steps, 0);
    fiber_cancel(r.fiber);
    assert_int_equal(r.steps, 1);
    rig_close(&r);
}

static void spawn_wake_and_look(void *arg) {
    struct rig *r = arg;
    struct fiber *self = fiber_self(r->fibers);

    assert_int_equal(fiber_spawn(r->fibers, "child", park_once, r), 0);
    assert_null(r->fiber); /* it waits for us to park */
    assert_int_equal(fiber_park(r->fibers, clock_now() + NSEC_PER_MSEC), -ETIMEDOUT);
    assert_non_null(r->fiber);
    fiber_wake(r->fiber);
    assert_int_equal(r->steps, 0);
    assert_ptr_equal(fiber_self(r->fibers), self);
}

static void test_inside_a_fiber_others_run_at_the_next_chance(void **state) {
    struct rig r;
    (void)state;
    rig_open(&r, (struct fiber_config){ 0 });
    assert_int_equal(fiber_spawn(r.fibers, "parent", spawn_wake_and_look, &r), 0);
    run_for(&r, 5 * NSEC_PER_MSEC);
    assert_int_equal(r.steps, 1);
    rig_close(&r);
}

static void test_ten_thousand_fibers_spawn_park_cancel_and_end(void **state) {
    struct rig r;
    struct one_of_many *many = calloc(MANY, sizeof(*many));
    (void)state;
    assert_non_null(many);
    rig_open(&r, (struct fiber_config){ 0 });
    for (int i = 0; i < MANY; i++) {
        many[i].rig = &r;
        assert_int_equal(fiber_spawn(r.fibers, "one", park_one_of_many, &many[i]), 0);
    }
    assert_int_equal(fiber_stats(r.fibers).live, MANY);
    for (int i = 0; i < MANY; i++)
        fiber_cancel(many[i].fiber);
    assert_int_equal(r.steps, MANY);
    assert_int_equal(fiber_stats(r.fibers).peak, MANY);
    free(many);
    rig_close(&r);
}

static void ping(void *arg) {
    struct one_of_many *one = arg;
    struct rig *r = one->rig;

    one->fiber = fiber_self(r->fibers);
    while (fiber_park(r->fibers, NSEC_NEVER) == 0) {
        r->steps++;
        fiber_wake(r->fiber);
        struct fiber *other = r->fiber;
        r->fiber = one->fiber;
        fiber_wake(other);
    }
}

static void test_fibers_that_wake_each_other_for_ever_do_not_starve_timers(void **state) {
    struct rig r;
    struct one_of_many pair[2] = { { .rig = &r }, { .rig = &r } };
    (void)state;
    rig_open(&r, (struct fiber_config){ 0 });
    assert_int_equal(fiber_spawn(r.fibers, "ping", ping, &pair[0]), 0);
    assert_int_equal(fiber_spawn(r.fibers, "pong", ping, &pair[1]), 0);
    r.fiber = pair[1].fiber;
    fiber_wake(pair[0].fiber);
    run_for(&r, 2 * NSEC_PER_MSEC);
    assert_true(r.steps > 256);
    fiber_cancel(pair[0].fiber);
    fiber_cancel(pair[1].fiber);
    run_for(&r, NSEC_PER_MSEC);
    rig_close(&r);
}

struct switches {
    unsigned in, out;
    void *last;
};

static void count_switch(void *arg, void *shown) {
    struct switches *s = arg;

    if (shown == NULL) {
        s->out++;
        return;
    }
    s->in++;
    s->last = shown;
}

static void test_an_observer_sees_who_gets_the_thread_and_when_it_is_back(void **state) {
    struct switches switches = { 0 };
    struct rig r;
    (void)state;
    rig_open(&r, (struct fiber_config){ 0 });
    fibers_observe(r.fibers, count_switch, &switches);
    assert_int_equal(fiber_spawn(r.fibers, "f", park_once, &r), 0);
    assert_ptr_equal(switches.last, &r);
    assert_int_equal(switches.out, 1);
    fiber_wake(r.fiber);
    assert_int_equal(switches.in, 2);
    assert_int_equal(switches.out, 2);
    rig_close(&r);
}

static void spawn_part(void *arg) {
    struct rig **r = arg;

    assert_int_equal(fiber_spawn_part((*r)->fibers, "part", park_once, *r), 0);
}

static void test_an_observer_sees_a_part_as_the_fiber_it_works_for(void **state) {
    struct switches switches = { 0 };
    struct rig r, *shown = &r;
    (void)state;
    rig_open(&r, (struct fiber_config){ 0 });
    fibers_observe(r.fibers, count_switch, &switches);
    assert_int_equal(fiber_spawn(r.fibers, "f", spawn_part, &shown), 0);
    assert_int_equal(switches.in, 2); /* the fiber and its part */
    assert_ptr_equal(switches.last, &shown);
    switches.last = NULL;
    fiber_wake(r.fiber);
    assert_int_equal(switches.in, 3);
    assert_ptr_equal(switches.last, &shown);
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_fiber_runs_at_once_and_ends),
        cmocka_unit_test(test_a_wake_before_the_park_is_not_lost),
        cmocka_unit_test(test_a_park_ends_at_its_deadline_not_before),
        cmocka_unit_test(test_a_later_deadline_is_not_cut_short_by_an_earlier_timer),
        cmocka_unit_test(test_a_timer_left_by_a_fiber_does_not_hit_the_next_on_its_stack),
        cmocka_unit_test(test_cancel_ends_every_park),
        cmocka_unit_test(test_inside_a_fiber_others_run_at_the_next_chance),
        cmocka_unit_test(test_ten_thousand_fibers_spawn_park_cancel_and_end),
        cmocka_unit_test(test_an_observer_sees_who_gets_the_thread_and_when_it_is_back),
        cmocka_unit_test(test_an_observer_sees_a_part_as_the_fiber_it_works_for),
        cmocka_unit_test(test_fibers_that_wake_each_other_for_ever_do_not_starve_timers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
