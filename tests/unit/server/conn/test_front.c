/* SPDX-License-Identifier: MIT */
/* Who is served when, who waits, who is turned down, and what is finished before the end. */
#include "proc/signals.h"
#include "server/app/handle.h"
#include "server/conn/front_stop.h"
#include "server/limits.h"
#include "tests/unit/server/front_rig.h"
#include <signal.h>

/* --- slots and the queue ---------------------------------------------------------- */

static void requests_get_slots_and_the_others_wait_in_turn(void **state) {
    struct front_rig *f = *state;

    f->front.slots = 2;
    for (int i = 0; i < 5; i++) {
        connect_client(f, i);
        say(f, i, GET);
        run(f);
    }
    assert_int_equal(value(f, STATS_slots_busy), 2);
    assert_int_equal(value(f, STATS_queue_depth), 3);
    for (int i = 0; i < 5; i++) {
        for (int later = i; later < 5; later++)
            assert_silent(f, later);
        answer_first(f);
        assert_hears(f, i, "\r\n\r\nxxxxx");
    }
    assert_int_equal(f->dispatched, 5);
}

static void a_full_queue_turns_requests_down_and_keeps_their_connections(void **state) {
    struct front_rig *f = *state;

    f->config.max_queue = 1;
    for (int i = 0; i < 3; i++) {
        connect_client(f, i);
        say(f, i, GET);
        run(f);
    }
    assert_silent(f, 0);
    assert_silent(f, 1);
    assert_hears(f, 2, "HTTP/1.1 503 ");
    assert_int_equal(value(f, STATS_shed), 1);
    answer_first(f);
    say(f, 2, GET);
    run(f);
    answer_first(f);
    answer_first(f);
    assert_hears(f, 2, "HTTP/1.1 200 ");
}

/* Else it would keep the loop from the others; and each answer takes some of the stack. */
static void who_is_turned_down_is_read_on_in_another_turn(void **state) {
    enum { REQUEST_BYTES = SERVER_RECV_BYTES, REQUESTS = 50 }; /* each fills one read exactly */
    char request[REQUEST_BYTES + 1];
    struct front_rig *f = *state;

    f->config.max_queue = 0;
    connect_client(f, 0);
    say(f, 0, GET);
    run(f);
    snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: x\r\nX: %0*d\r\n\r\n",
             REQUEST_BYTES - 32, 0);
    assert_int_equal(strlen(request), REQUEST_BYTES);
    connect_client(f, 1);
    for (int i = 0; i < REQUESTS; i++)
        say(f, 1, request);
    run_for(f, 0);
    assert_in_range(value(f, STATS_shed), 1, 5);
    run_for(f, 20 * MSEC);
    assert_int_equal(value(f, STATS_shed), REQUESTS);
    answer_first(f);
}

static void who_waits_too_long_is_told(void **state) {
    static const struct {
        nsec_t queue, request;
        const char *status;
    } cases[] = { { 5 * MSEC, 0, "503 " }, { 0, 5 * MSEC, "504 " }, { SPAN, 5 * MSEC, "504 " } };
    struct front_rig *f = *state;

    connect_client(f, 0);
    say(f, 0, GET);
    run(f);
    for (int i = 0; i < (int)ARRAY_LEN(cases); i++) {
        f->config.queue_timeout = cases[i].queue;
        f->config.request_timeout = cases[i].request;
        connect_client(f, i + 1);
        say(f, i + 1, GET);
        run_for(f, 20 * MSEC);
        assert_hears(f, i + 1, cases[i].status);
    }
    assert_int_equal(value(f, STATS_expired), ARRAY_LEN(cases));
    assert_int_equal(f->dispatched, 1);
}

static void who_leaves_the_queue_is_not_served(void **state) {
    struct front_rig *f = *state;

    for (int i = 0; i < 3; i++) {
        connect_client(f, i);
        say(f, i, GET);
        run(f);
    }
    hang_up(f, 1);
    run(f);
    assert_int_equal(value(f, STATS_queue_depth), 1);
    assert_int_equal(value(f, STATS_abandoned), 1);
    answer_first(f);
    answer_first(f);
    assert_hears(f, 2, "HTTP/1.1 200 ");
    assert_int_equal(f->dispatched, 2);
}

static void who_leaves_while_served_gives_its_slot_to_the_next(void **state) {
    struct front_rig *f = *state;

    for (int i = 0; i < 2; i++) {
        connect_client(f, i);
        say(f, i, GET);
        run(f);
    }
    hang_up(f, 0);
    run(f);
    assert_int_equal(value(f, STATS_connections), 1);
    answer_first(f);
    assert_hears(f, 1, "HTTP/1.1 200 ");
}

/* Its model does not hear of it in time. */
static void an_answer_to_one_that_has_left_is_dropped(void **state) {
    struct front_rig *f = *state;

    f->cancels = false;
    connect_client(f, 0);
    say(f, 0, GET);
    run(f);
    hang_up(f, 0);
    run(f);
    answer_first(f);
    run(f);
    assert_int_equal(value(f, STATS_connections), 0);
    assert_int_equal(value(f, STATS_abandoned), 1);
}

static void who_closes_its_sending_side_gets_its_answer(void **state) {
    struct front_rig *f = *state;

    connect_client(f, 0);
    say(f, 0, GET);
    shutdown(f->clients[0], SHUT_WR);
    run_for(f, 10 * MSEC); /* it is asked */
    answer_first(f);
    assert_hears(f, 0, "HTTP/1.1 200 ");
    run(f);
    assert_closed(f, 0);
}

/* The queue holds one: who has just closed its sending side may be gone. It is not, and once that
 * is known it counts again. */
static void who_may_have_left_does_not_fill_the_queue(void **state) {
    struct front_rig *f = *state;

    f->config.max_queue = 1;
    for (int i = 0; i < 3; i++) {
        connect_client(f, i);
        run(f);
    }
    say(f, 0, GET);
    run(f);
    say(f, 1, GET);
    shutdown(f->clients[1], SHUT_WR);
    say(f, 2, GET); /* in the same turn: on a busy machine it would be asked before the next one */
    run(f);
    assert_int_equal(value(f, STATS_shed), 0);
    assert_int_equal(value(f, STATS_queue_depth), 2);
    run_for(f, 10 * MSEC); /* it is asked */
    connect_client(f, 3);
    say(f, 3, GET);
    run(f);
    assert_hears(f, 3, "HTTP/1.1 503 ");
    for (int i = 0; i < 3; i++) {
        answer_first(f);
        assert_hears(f, i, "HTTP/1.1 200 ");
    }
    assert_int_equal(f->front.unsure, 0);
}

/* --- pipelines ---------------------------------------------------------------------- */

static void pipelined_requests_are_served_one_after_the_other(void **state) {
    struct front_rig *f = *state;

    f->front.slots = 4;
    connect_client(f, 0);
    say(f, 0, GET GET GET);
    run(f);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(value(f, STATS_slots_busy), 1);
        answer_first(f);
        assert_hears(f, 0, "\r\n\r\nxxxxx");
        run(f);
    }
    assert_int_equal(value(f, STATS_slots_busy), 0);
}

/* Others come first between two requests of one connection. */
static void a_pipeline_does_not_overtake_who_waits(void **state) {
    struct front_rig *f = *state;

    connect_client(f, 0);
    say(f, 0, GET GET);
    run(f);
    connect_client(f, 1);
    say(f, 1, GET);
    run(f);
    answer_first(f);
    assert_hears(f, 0, "\r\n\r\nxxxxx");
    answer_first(f);
    assert_hears(f, 1, "\r\n\r\nxxxxx");
    answer_first(f);
    assert_hears(f, 0, "\r\n\r\nxxxxx");
}

static void pipeline(struct front_rig *f, int i, size_t count) {
    static char text[2000 * sizeof(GET)];

    for (size_t n = 0; n < count; n++)
        memcpy(text + n * strlen(GET), GET, sizeof(GET));
    say(f, i, text);
}

static void a_model_that_answers_at_once_is_not_called_inside_itself(void **state) {
    struct front_rig *f = *state;

    f->answers_at_once = true;
    connect_client(f, 0);
    pipeline(f, 0, 1000);
    (void)drain(f, 0);
    assert_int_equal(f->dispatched, 1000);
    assert_int_equal(f->depth_most, 1);
}

static void a_long_pipeline_leaves_room_for_others(void **state) {
    struct front_rig *f = *state;

    f->answers_at_once = true;
    for (int i = 0; i < 3; i++)
        connect_client(f, i);
    pipeline(f, 0, 1000);
    for (int i = 1; i < 3; i++)
        say(f, i, GET);
    run(f);
    for (int i = 1; i < 3; i++) {
        assert_hears(f, i, "HTTP/1.1 200 ");
        assert_in_range(f->served_at[i], 0, 100);
    }
    (void)drain(f, 0);
    assert_int_equal(f->dispatched, 1002);
}

/* --- the end ------------------------------------------------------------------------ */

static void a_graceful_stop_closes_the_silent_and_finishes_the_rest(void **state) {
    struct front_rig *f = *state;

    for (int i = 0; i < 3; i++)
        connect_client(f, i);
    say(f, 1, GET);
    run(f);
    say(f, 2, GET);
    run(f);
    front_signal(&f->front, SIGTERM);
    run_for(f, SERVER_SILENCE_NSEC + 10 * MSEC);
    assert_closed(f, 0);
    for (int i = 1; i < 3; i++) {
        answer_first(f);
        assert_hears(f, i, "Connection: close\r\n");
    }
    assert_int_equal(value(f, STATS_connections), 0);
}

static void a_graceful_stop_answers_kept_connections_once_more(void **state) {
    struct front_rig *f = *state;

    for (int i = 0; i < 2; i++)
        connect_client(f, i);
    say(f, 0, GET);
    run(f);
    answer_first(f);
    assert_hears(f, 0, "HTTP/1.1 200 ");
    front_signal(&f->front, SIGTERM);
    run(f);
    for (int i = 0; i < 2; i++) { /* one is kept, the other has not asked so far */
        say(f, i, GET);
        run(f);
        answer_first(f);
        assert_hears(f, i, "Connection: close\r\n");
    }
    assert_int_equal(value(f, STATS_connections), 0);
}

static void a_graceful_stop_waits_for_who_reads_slowly(void **state) {
    struct front_rig *f = *state;

    ask_for_much_and_do_not_read(f, 0);
    front_signal(&f->front, SIGTERM);
    run(f);
    assert_in_range(drain(f, 0), LARGE, LARGE + 500);
    say(f, 0, GET); /* it was told that its connection is kept */
    run(f);
    answer_first(f);
    assert_hears(f, 0, "Connection: close\r\n");
    assert_int_equal(value(f, STATS_connections), 0);
    assert_int_equal(value(f, STATS_abandoned), 0);
}

static void a_stop_at_once_ends_them_all(void **state) {
    struct front_rig *f = *state;

    ask_for_much_and_do_not_read(f, 0);
    for (int i = 1; i < 5; i++) {
        connect_client(f, i);
        say(f, i, i < 4 ? GET : "GET / HT"); /* one is served, two wait, one dawdles */
        run(f);
    }
    front_signal(&f->front, SIGINT);
    run(f);
    assert_int_equal(value(f, STATS_connections), 0);
    assert_int_equal(f->dispatched, 2);
    for (int i = 1; i < 5; i++)
        assert_closed(f, i);
}

static void patience_ends(void **state) {
    struct front_rig *f = *state;

    ask_for_much_and_do_not_read(f, 0);
    connect_client(f, 1);
    say(f, 1, GET);
    run(f);
    f->config.graceful_timeout = 5 * MSEC;
    front_signal(&f->front, SIGTERM);
    run_for(f, SPAN); /* the loop ends by itself */
    assert_int_equal(value(f, STATS_connections), 0);
}

/* As a thread that has just written its answer: the word that it is cancelled comes too late. */
static void nothing_is_begun_after_a_stop_at_once(void **state) {
    struct front_rig *f = *state;
    enum session_end end;
    struct client *c;

    f->cancels = false;
    connect_client(f, 0);
    say(f, 0, GET GET);
    run(f);
    c = TAILQ_FIRST(&f->served);
    TAILQ_REMOVE(&f->served, c, queued);
    session_begin(&c->session, clock_now());
    end = handle_serve(&c->session, &f->io.io);
    assert_int_equal(end, SESSION_KEEP);
    front_signal(&f->front, SIGINT);
    front_return(c, end);
    run(f);
    assert_int_equal(f->dispatched, 1);
    assert_int_equal(value(f, STATS_connections), 0);
}

static void a_retired_worker_answers_once_more_and_says_close(void **state) {
    struct front_rig *f = *state;

    connect_client(f, 0);
    run(f);
    front_signal(&f->front, SIGRETIRE);
    run(f);
    say(f, 0, GET);
    run(f);
    answer_first(f);
    assert_hears(f, 0, "Connection: close\r\n");
    assert_int_equal(value(f, STATS_connections), 0);
}

/* Its answer says that the connection is kept: the next request must not be lost. */
static void a_retired_worker_keeps_who_was_promised_so(void **state) {
    struct front_rig *f = *state;

    ask_for_much_and_do_not_read(f, 0);
    front_signal(&f->front, SIGRETIRE);
    run(f);
    assert_in_range(drain(f, 0), LARGE, LARGE + 500);
    say(f, 0, GET);
    run(f);
    answer_first(f);
    assert_hears(f, 0, "Connection: close\r\n");
    assert_int_equal(value(f, STATS_connections), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FRONT_TEST(requests_get_slots_and_the_others_wait_in_turn),
        FRONT_TEST(a_full_queue_turns_requests_down_and_keeps_their_connections),
        FRONT_TEST(who_is_turned_down_is_read_on_in_another_turn),
        FRONT_TEST(who_waits_too_long_is_told),
        FRONT_TEST(who_leaves_the_queue_is_not_served),
        FRONT_TEST(who_leaves_while_served_gives_its_slot_to_the_next),
        FRONT_TEST(an_answer_to_one_that_has_left_is_dropped),
        FRONT_TEST(who_may_have_left_does_not_fill_the_queue),
        FRONT_TEST(who_closes_its_sending_side_gets_its_answer),
        FRONT_TEST(pipelined_requests_are_served_one_after_the_other),
        FRONT_TEST(a_pipeline_does_not_overtake_who_waits),
        FRONT_TEST(a_model_that_answers_at_once_is_not_called_inside_itself),
        FRONT_TEST(a_long_pipeline_leaves_room_for_others),
        FRONT_TEST(a_graceful_stop_closes_the_silent_and_finishes_the_rest),
        FRONT_TEST(a_graceful_stop_answers_kept_connections_once_more),
        FRONT_TEST(a_graceful_stop_waits_for_who_reads_slowly),
        FRONT_TEST(a_stop_at_once_ends_them_all),
        FRONT_TEST(patience_ends),
        FRONT_TEST(nothing_is_begun_after_a_stop_at_once),
        FRONT_TEST(a_retired_worker_answers_once_more_and_says_close),
        FRONT_TEST(a_retired_worker_keeps_who_was_promised_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
