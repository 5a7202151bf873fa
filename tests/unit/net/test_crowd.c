/* SPDX-License-Identifier: MIT */
/* A crowd: who of several processes lets the others accept first, and for how long. */
#include "net/crowd.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { PLACES = 4 };

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
        if (crowd_is_ahead(&f->places[0]) != cases[i].ahead)
            fail_msg("%d beside %d, %d and %d", cases[i].own, cases[i].others[0],
                     cases[i].others[1], cases[i].others[2]);
    }
}

static void who_does_not_accept_does_not_count(void **state) {
    struct fixture *f = *state;

    count(&f->places[0], 6);
    assert_true(crowd_is_ahead(&f->places[0]));
    crowd_accepts(&f->places[1], false); /* full */
    crowd_leave(&f->places[2]);
    count(&f->places[3], 4);
    assert_false(crowd_is_ahead(&f->places[0]));
    crowd_accepts(&f->places[1], true);
    assert_true(crowd_is_ahead(&f->places[0]));
    for (unsigned i = 1; i < PLACES; i++)
        crowd_leave(&f->places[i]);
    assert_false(crowd_is_ahead(&f->places[0]));
}

/* Returns how many it may accept at once. */
static int free_after_a_wait(struct crowd_place *place) {
    int n = 0;

    assert_true(crowd_is_ahead(place));
    crowd_waited(place);
    while (!crowd_is_ahead(place)) {
        count(place, 1);
        n++;
    }
    return n;
}

static void waits_in_vain_become_rare(void **state) {
    struct fixture *f = *state;

    count(&f->places[0], 10);
    assert_int_equal(free_after_a_wait(&f->places[0]), 1);
    assert_int_equal(free_after_a_wait(&f->places[0]), 2);
    assert_int_equal(free_after_a_wait(&f->places[0]), 4);
    assert_int_equal(free_after_a_wait(&f->places[0]), 8);
    count(&f->places[1], 1); /* another one has come: it may have the next */
    assert_int_equal(free_after_a_wait(&f->places[0]), 1);
}

static void others_that_come_end_the_freedom(void **state) {
    struct fixture *f = *state;

    count(&f->places[0], 10);
    for (int i = 0; i < 6; i++)
        (void)free_after_a_wait(&f->places[0]);
    assert_true(crowd_is_ahead(&f->places[0]));
    crowd_waited(&f->places[0]); /* 64 */
    assert_false(crowd_is_ahead(&f->places[0]));
    count(&f->places[2], 1);
    assert_false(crowd_is_ahead(&f->places[0])); /* the one that each wait allows */
    assert_true(crowd_is_ahead(&f->places[0]));
}

static void a_new_owner_starts_with_nothing(void **state) {
    struct fixture *f = *state;

    count(&f->places[0], 10);
    assert_true(crowd_is_ahead(&f->places[0]));
    crowd_enter(&f->places[0], f->crowd, 0);
    assert_false(crowd_is_ahead(&f->places[0]));
    count(&f->places[0], 3);
    assert_true(crowd_is_ahead(&f->places[0]));
}

static void nobody_waits_alone(void **state) {
    (void)state;

    crowd_count(NULL, 1);
    crowd_accepts(NULL, true);
    assert_false(crowd_is_ahead(NULL));
    crowd_waited(NULL);
    crowd_leave(NULL);
    crowd_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_process_is_ahead_with_more_than_its_share, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(who_does_not_accept_does_not_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(waits_in_vain_become_rare, set_up, tear_down),
        cmocka_unit_test_setup_teardown(others_that_come_end_the_freedom, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_new_owner_starts_with_nothing, set_up, tear_down),
        cmocka_unit_test(nobody_waits_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
