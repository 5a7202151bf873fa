/* SPDX-License-Identifier: MIT */
/* A crowd: who of several processes lets the others accept first, and for how long. */
#include "net/crowd.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { PLACES = 4 };
#define NOW (1000 * NSEC_PER_SEC)

struct fixture {
    struct crowd *crowd;
    struct crowd_place places[PLACES];
};

static int set_up(void **state) {
    static struct fixture f;

    f.crowd = crowd_new(PLACES);
    assert_non_null(f.crowd);
    for (unsigned i = 0; i < PLACES; i++)
        crowd_enter(&f.places[i], f.crowd, i);
    *state = &f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;

    crowd_free(f->crowd);
    return 0;
}

static void count(struct crowd_place *place, int n) {
    for (int i = 0; i < n; i++)
        crowd_count(place, 1);
    for (int i = 0; i > n; i--)
        crowd_count(place, -1);
}

/* One of four has `own`, the others have so many: it is ahead or not. */
static void a_process_is_ahead_with_more_than_its_share(void **state) {
    static const struct {
        int own, others[PLACES - 1];
        bool ahead;
    } cases[] = {
        { 0, { 0, 0, 0 }, false },         { 2, { 0, 0, 0 }, false },
        { 3, { 0, 0, 0 }, true },          { 3, { 1, 1, 1 }, false },
        { 4, { 1, 1, 1 }, true },          { 17, { 10, 10, 10 }, false },
        { 18, { 10, 10, 10 }, true },      { 17, { 0, 0, 30 }, false },
        { 152, { 100, 100, 100 }, false }, { 153, { 100, 100, 100 }, true },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (unsigned k = 0; k < PLACES; k++) {
            crowd_enter(&f->places[k], f->crowd, k);
            count(&f->places[k], k == 0 ? cases[i].own : cases[i].others[k - 1]);
        }
        if (crowd_is_ahead(&f->places[0], NOW) != cases[i].ahead)
            fail_msg("%d beside %d, %d and %d", cases[i].own, cases[i].others[0],
                     cases[i].others[1], cases[i].others[2]);
    }
}

static void who_does_not_accept_does_not_count(void **state) {
    struct fixture *f = *state;

    count(&f->places[0], 6);
    assert_true(crowd_is_ahead(&f->places[0], NOW));
    crowd_accepts(&f->places[1], false); /* full */
    crowd_leave(&f->places[2]);
    count(&f->places[3], 4);
    assert_false(crowd_is_ahead(&f->places[0], NOW));
    crowd_accepts(&f->places[1], true);
    assert_true(crowd_is_ahead(&f->places[0], NOW));
    for (unsigned i = 1; i < PLACES; i++)
        crowd_leave(&f->places[i]);
    assert_false(crowd_is_ahead(&f->places[0], NOW));
}

/* Returns how many it may accept at once after a wait, `later` than its end. */
static int free_after_a_wait(struct crowd_place *place, bool in_vain, nsec_t later) {
    int n = 0;

    assert_true(crowd_is_ahead(place, NOW));
    crowd_waited(place, NOW, in_vain);
    while (!crowd_is_ahead(place, NOW + later)) {
        count(place, 1);
        n++;
    }
    return n;
}

static void waits_in_vain_become_rare(void **state) {
    struct fixture *f = *state;

    count(&f->places[0], 10);
    for (int most = 1; most <= 1024; most *= 2)
        assert_int_equal(free_after_a_wait(&f->places[0], true, 0), most);
    assert_int_equal(free_after_a_wait(&f->places[0], true, 0), 1024);
    assert_int_equal(free_after_a_wait(&f->places[0], false, 0), 1); /* the others came */
    assert_int_equal(free_after_a_wait(&f->places[0], true, 0), 1);
}

/* One of three hangs; that the other two accept, each ahead of it, holds neither of them up. */
static void what_others_take_does_not_make_waits_frequent(void **state) {
    struct fixture *f = *state;
    int waits = 0;

    crowd_leave(&f->places[3]);
    for (int taken = 0; taken < 2000; taken++) {
        struct crowd_place *place = &f->places[taken % 2];

        while (crowd_is_ahead(place, NOW)) {
            crowd_waited(place, NOW, true);
            waits++;
        }
        count(place, 1);
    }
    assert_in_range(waits, 2, 40);
}

static void freedom_does_not_last(void **state) {
    struct fixture *f = *state;

    count(&f->places[0], 10);
    for (int i = 0; i < 6; i++)
        (void)free_after_a_wait(&f->places[0], true, 0);
    assert_int_equal(free_after_a_wait(&f->places[0], true, CROWD_FREE_NSEC), CROWD_FREE_LATER);
}

static void connections_that_end_end_a_wait(void **state) {
    struct fixture *f = *state;

    count(&f->places[0], 3);
    assert_true(crowd_is_still_ahead(&f->places[0]));
    count(&f->places[0], -1);
    assert_false(crowd_is_still_ahead(&f->places[0]));
}

static void a_new_owner_starts_with_nothing(void **state) {
    struct fixture *f = *state;

    count(&f->places[0], 10);
    assert_true(crowd_is_ahead(&f->places[0], NOW));
    crowd_enter(&f->places[0], f->crowd, 0);
    assert_false(crowd_is_ahead(&f->places[0], NOW));
    count(&f->places[0], 3);
    assert_true(crowd_is_ahead(&f->places[0], NOW));
}

static void nobody_waits_alone(void **state) {
    (void)state;

    crowd_count(NULL, 1);
    crowd_accepts(NULL, true);
    assert_false(crowd_is_ahead(NULL, NOW));
    assert_false(crowd_is_still_ahead(NULL));
    crowd_waited(NULL, NOW, true);
    crowd_leave(NULL);
    crowd_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_process_is_ahead_with_more_than_its_share, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(who_does_not_accept_does_not_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(waits_in_vain_become_rare, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_others_take_does_not_make_waits_frequent, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(freedom_does_not_last, set_up, tear_down),
        cmocka_unit_test_setup_teardown(connections_that_end_end_a_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_new_owner_starts_with_nothing, set_up, tear_down),
        cmocka_unit_test(nobody_waits_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
