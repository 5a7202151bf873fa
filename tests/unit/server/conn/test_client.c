/* SPDX-License-Identifier: MIT */
/* Clients that do not read their answers, and that no failing allocation hurts. */
#include "tests/unit/server/front_rig.h"

/* --- clients that do not read ------------------------------------------------------- */

static void who_does_not_read_holds_no_slot(void **state) {
    struct front_rig *f = *state;

    for (int i = 0; i < 3; i++)
        ask_for_much_and_do_not_read(f, i);
    assert_int_equal(value(f, STATS_slots_busy), 0);
    assert_int_equal(value(f, STATS_connections), 3);
    for (int i = 0; i < 3; i++)
        assert_in_range(drain(f, i), LARGE, LARGE + 500);
    say(f, 1, GET); /* the connection is kept */
    run(f);
    answer_first(f);
    assert_hears(f, 1, "HTTP/1.1 200 ");
}

static void what_stands_behind_a_long_answer_waits_for_its_end(void **state) {
    struct front_rig *f = *state;

    connect_client(f, 0);
    say(f, 0, "GET /4000000 HTTP/1.1\r\nHost: x\r\n\r\n" GET);
    run(f);
    answer_first(f);
    say(f, 0, GET);
    run(f);
    assert_true(TAILQ_EMPTY(&f->served));
    (void)drain(f, 0);
    for (int i = 0; i < 2; i++) {
        answer_first(f);
        assert_hears(f, 0, "\r\n\r\nxxxxx");
        run(f);
    }
}

static void one_that_half_closes_meanwhile_gets_the_rest(void **state) {
    struct front_rig *f = *state;

    ask_for_much_and_do_not_read(f, 0);
    shutdown(f->clients[0], SHUT_WR);
    run_for(f, 10 * MSEC);
    assert_in_range(drain(f, 0), LARGE, LARGE + 500);
    run(f);
    assert_closed(f, 0);
    assert_int_equal(value(f, STATS_abandoned), 0);
}

static void one_that_leaves_meanwhile_is_forgotten(void **state) {
    struct front_rig *f = *state;

    ask_for_much_and_do_not_read(f, 0);
    hang_up(f, 0);
    run(f);
    assert_int_equal(value(f, STATS_connections), 0);
    assert_int_equal(value(f, STATS_abandoned), 1);
}

static void one_that_takes_too_long_is_closed(void **state) {
    struct front_rig *f = *state;

    f->config.send_timeout = 5 * MSEC;
    ask_for_much_and_do_not_read(f, 0);
    run_for(f, 20 * MSEC);
    assert_int_equal(value(f, STATS_connections), 0);
    assert_int_equal(value(f, STATS_abandoned), 1);
}

/* --- without memory ------------------------------------------------------------------ */

static void any_allocation_may_fail(void **state) {
    static const char post[] = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde";
    struct front_rig *f = *state;
    bool failed = true;

    f->answers_at_once = true;
    for (long n = 0; failed; n++) {
        assert_in_range(n, 0, 50);
        mem_fail_after(n);
        connect_client(f, 0);
        (void)!send(f->clients[0], post, strlen(post), MSG_NOSIGNAL);
        run(f);
        failed = mem_failed();
        mem_fail_after(-1);
        const char *text = hear(f, 0);
        assert_true(text == NULL || *text == '\0' || strncmp(text, "HTTP/1.1 50", 11) == 0 ||
                    strncmp(text, "HTTP/1.1 200", 12) == 0);
        assert_true(failed || strncmp(text, "HTTP/1.1 200", 12) == 0);
        hang_up(f, 0);
        run(f);
        assert_int_equal(value(f, STATS_slots_busy), 0);
        assert_int_equal(value(f, STATS_queue_depth), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FRONT_TEST(who_does_not_read_holds_no_slot),
        FRONT_TEST(what_stands_behind_a_long_answer_waits_for_its_end),
        FRONT_TEST(one_that_half_closes_meanwhile_gets_the_rest),
        FRONT_TEST(one_that_leaves_meanwhile_is_forgotten),
        FRONT_TEST(one_that_takes_too_long_is_closed),
        FRONT_TEST(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
