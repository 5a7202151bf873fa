/* SPDX-License-Identifier: MIT */
/* The loop: timers fire in order and never early, put-off work runs at the end of the turn. */
#include "net/loop.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MANY = 10000 };

struct fixture {
    struct loop *loop;
    unsigned fired;
    nsec_t last_at;
};

struct probe {
    struct timer timer;
    struct fixture *fixture;
    struct timer *victim; /* cancelled when this one fires */
    unsigned again;       /* how often it sets itself again, for "now" */
};

static struct fixture fixture_open(void) {
    struct error err;
    struct fixture f = { .loop = loop_new(&err) };
    assert_non_null(f.loop);
    return f;
}

static void on_timer(struct timer *timer) {
    struct probe *p = CONTAINER_OF(timer, struct probe, timer);
    struct fixture *f = p->fixture;

    assert_false(timer_armed(timer));
    assert_true(clock_now() >= timer->at);
    f->fired++;
    if (p->victim != NULL)
        timer_cancel(f->loop, p->victim);
    if (p->again > 0) {
        p->again--;
        assert_int_equal(timer_set(f->loop, timer, loop_now(f->loop)), 0);
    }
}

static void on_stop(struct timer *timer) {
    struct probe *p = CONTAINER_OF(timer, struct probe, timer);
    loop_stop(p->fixture->loop);
}

static void on_ordered(struct timer *timer) {
    struct probe *p = CONTAINER_OF(timer, struct probe, timer);
    assert_true(timer->at >= p->fixture->last_at);
    p->fixture->last_at = timer->at;
    p->fixture->fired++;
}

static void run_for(struct fixture *f, nsec_t span) {
    struct probe stop = { .timer.fire = on_stop, .fixture = f };
    assert_int_equal(timer_set(f->loop, &stop.timer, deadline_after(clock_now(), span)), 0);
    assert_int_equal(loop_run(f->loop), 0);
    timer_cancel(f->loop, &stop.timer);
}

static void test_ten_thousand_timers_fire_in_order(void **state UNUSED) {
    struct fixture f = fixture_open();
    struct probe *probes = calloc(MANY, sizeof(*probes));
    assert_non_null(probes);
    nsec_t now = clock_now();
    unsigned cancelled = 0;
    srand(1);

    for (int i = 0; i < MANY; i++) {
        probes[i] = (struct probe){ .timer.fire = on_ordered, .fixture = &f };
        nsec_t at = now + rand() % 50000 * NSEC_PER_USEC;
        assert_int_equal(timer_set(f.loop, &probes[i].timer, at), 0);
    }
    for (int i = 0; i < MANY; i += 3, cancelled++)
        timer_cancel(f.loop, &probes[i].timer);
    for (int i = 1; i < MANY; i += 3) {
        nsec_t at = now + rand() % 50000 * NSEC_PER_USEC;
        assert_int_equal(timer_set(f.loop, &probes[i].timer, at), 0);
    }
    run_for(&f, 200 * NSEC_PER_MSEC);

    assert_int_equal(f.fired, MANY - cancelled);
    free(probes);
    loop_free(f.loop);
}

static void test_a_deadline_moves_both_ways(void **state UNUSED) {
    struct fixture f = fixture_open();
    struct probe p = { .timer.fire = on_timer, .fixture = &f };
    nsec_t now = clock_now();

    assert_int_equal(timer_set(f.loop, &p.timer, now + 60 * NSEC_PER_SEC), 0);
    assert_int_equal(timer_set(f.loop, &p.timer, now + 5 * NSEC_PER_MSEC), 0);
    assert_int_equal(timer_set(f.loop, &p.timer, now + 10 * NSEC_PER_MSEC), 0);
    run_for(&f, 50 * NSEC_PER_MSEC);
    assert_int_equal(f.fired, 1);

    assert_int_equal(timer_set(f.loop, &p.timer, clock_now() + NSEC_PER_MSEC), 0);
    assert_int_equal(timer_set(f.loop, &p.timer, NSEC_NEVER), 0);
    assert_false(timer_armed(&p.timer));
    run_for(&f, 5 * NSEC_PER_MSEC);
    assert_int_equal(f.fired, 1);
    loop_free(f.loop);
}

static void test_a_timer_cancels_another_that_is_due(void **state UNUSED) {
    struct fixture f = fixture_open();
    struct probe second = { .timer.fire = on_timer, .fixture = &f };
    struct probe first = { .timer.fire = on_timer, .fixture = &f, .victim = &second.timer };

    assert_int_equal(timer_set(f.loop, &first.timer, 1), 0);
    assert_int_equal(timer_set(f.loop, &second.timer, 2), 0);
    run_for(&f, 5 * NSEC_PER_MSEC);
    assert_int_equal(f.fired, 1);
    loop_free(f.loop);
}

static void test_a_timer_that_rearms_for_now_starves_nobody(void **state UNUSED) {
    struct fixture f = fixture_open();
    struct probe p = { .timer.fire = on_timer, .fixture = &f, .again = UINT32_MAX };

    assert_int_equal(timer_set(f.loop, &p.timer, 1), 0);
    run_for(&f, 5 * NSEC_PER_MSEC);
    assert_true(f.fired > 1);
    timer_cancel(f.loop, &p.timer);
    loop_free(f.loop);
}

static void test_a_loop_runs_again_after_a_stop(void **state UNUSED) {
    struct fixture f = fixture_open();

    loop_stop(f.loop);
    assert_int_equal(loop_run(f.loop), 0);
    nsec_t start = clock_now();
    run_for(&f, 2 * NSEC_PER_MSEC);
    run_for(&f, 2 * NSEC_PER_MSEC);
    assert_true(clock_now() - start >= 4 * NSEC_PER_MSEC);
    loop_free(f.loop);
}

struct chore {
    struct deferred work;
    struct fixture *fixture;
    unsigned runs, again;
};

static void on_chore(struct deferred *work) {
    struct chore *c = CONTAINER_OF(work, struct chore, work);

    c->runs++;
    if (c->again == 0) {
        loop_stop(c->fixture->loop);
        return;
    }
    c->again--;
    loop_defer(c->fixture->loop, work);
}

static void test_work_that_defers_itself_for_ever_starves_no_timer(void **state UNUSED) {
    struct fixture f = fixture_open();
    struct chore c = { .work.run = on_chore, .fixture = &f, .again = UINT32_MAX };

    loop_defer(f.loop, &c.work);
    run_for(&f, 2 * NSEC_PER_MSEC);
    assert_true(c.runs > 1);
    loop_undefer(f.loop, &c.work);
    unsigned runs = c.runs;
    run_for(&f, NSEC_PER_MSEC);
    assert_int_equal(c.runs, runs);
    loop_free(f.loop);
}

static void on_free(struct deferred *work) {
    free(work);
}

static void test_deferred_work_runs_once_per_request_and_without_sleep(void **state UNUSED) {
    struct fixture f = fixture_open();
    struct chore c = { .work.run = on_chore, .fixture = &f, .again = 3 };

    loop_defer(f.loop, &c.work);
    loop_defer(f.loop, &c.work);
    assert_int_equal(loop_run(f.loop), 0); /* there is nothing else that could wake it */
    assert_int_equal(c.runs, 4);
    loop_free(f.loop);
}

static void test_a_loop_that_ends_runs_what_is_deferred(void **state UNUSED) {
    struct fixture f = fixture_open();
    struct deferred *work = calloc(1, sizeof(*work));
    assert_non_null(work);

    work->run = on_free;
    loop_defer(f.loop, work);
    loop_free(f.loop); /* the leak checker looks */
}

struct turns {
    unsigned count;
    nsec_t longest;
};

static void on_turned(void *arg, nsec_t began, nsec_t ended) {
    struct turns *t = arg;

    t->count++;
    if (ended - began > t->longest)
        t->longest = ended - began;
}

static void on_work(struct timer *timer UNUSED) {
    for (nsec_t end = clock_now() + 20 * NSEC_PER_MSEC; clock_now() < end;)
        ;
}

static void
test_an_observer_learns_how_long_a_turn_worked_not_how_long_it_slept(void **state UNUSED) {
    struct fixture f = fixture_open();
    struct timer work = { .fire = on_work };
    struct turns turns = { 0 };

    loop_observe(f.loop, on_turned, &turns);
    run_for(&f, 100 * NSEC_PER_MSEC);
    assert_true(turns.count >= 1);
    assert_true(turns.longest < 90 * NSEC_PER_MSEC);
    assert_int_equal(timer_set(f.loop, &work, clock_now()), 0);
    run_for(&f, 50 * NSEC_PER_MSEC);
    assert_true(turns.longest >= 20 * NSEC_PER_MSEC);

    unsigned before = turns.count;
    loop_observe(f.loop, NULL, NULL);
    run_for(&f, 1 * NSEC_PER_MSEC);
    assert_int_equal(turns.count, before);
    loop_free(f.loop);
}

struct seen_turn {
    struct timer timer;
    struct loop *loop;
    nsec_t began;
};

static void note_begin(struct timer *timer) {
    struct seen_turn *seen = CONTAINER_OF(timer, struct seen_turn, timer);

    seen->began = loop_turn_began(seen->loop);
}

static void test_others_learn_when_the_turn_began_that_runs(void **state UNUSED) {
    struct fixture f = fixture_open();
    struct seen_turn seen = { .timer = { .fire = note_begin }, .loop = f.loop };
    nsec_t before = clock_now();

    assert_int_equal(timer_set(f.loop, &seen.timer, before), 0);
    run_for(&f, 10 * NSEC_PER_MSEC);
    assert_true(seen.began >= before && seen.began <= clock_now());
    loop_free(f.loop);
}

static nsec_t awoke_at;
static unsigned awoke;

static void on_awake(nsec_t now) {
    awoke_at = now;
    awoke++;
}

static void on_long_work(struct timer *timer) {
    assert_true(awoke_at <= clock_now() && clock_now() - awoke_at < 15 * NSEC_PER_MSEC);
    on_work(timer);
    assert_true(clock_now() - awoke_at >= 20 * NSEC_PER_MSEC);
}

static void test_a_turn_tells_that_it_begins_not_that_it_ends(void **state UNUSED) {
    struct fixture f = fixture_open();
    struct timer work = { .fire = on_long_work };

    loop_on_awake(f.loop, on_awake);
    run_for(&f, 30 * NSEC_PER_MSEC); /* the loop slept before */
    assert_int_equal(timer_set(f.loop, &work, clock_now() + 10 * NSEC_PER_MSEC), 0);
    run_for(&f, 50 * NSEC_PER_MSEC);
    loop_on_awake(f.loop, NULL);
    unsigned before = awoke;
    assert_true(before >= 3);
    run_for(&f, 1 * NSEC_PER_MSEC);
    assert_int_equal(awoke, before);
    loop_free(f.loop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_turn_tells_that_it_begins_not_that_it_ends),
        cmocka_unit_test(test_ten_thousand_timers_fire_in_order),
        cmocka_unit_test(test_a_deadline_moves_both_ways),
        cmocka_unit_test(test_a_timer_cancels_another_that_is_due),
        cmocka_unit_test(test_a_timer_that_rearms_for_now_starves_nobody),
        cmocka_unit_test(test_a_loop_runs_again_after_a_stop),
        cmocka_unit_test(test_deferred_work_runs_once_per_request_and_without_sleep),
        cmocka_unit_test(test_work_that_defers_itself_for_ever_starves_no_timer),
        cmocka_unit_test(test_an_observer_learns_how_long_a_turn_worked_not_how_long_it_slept),
        cmocka_unit_test(test_others_learn_when_the_turn_began_that_runs),
        cmocka_unit_test(test_a_loop_that_ends_runs_what_is_deferred),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
