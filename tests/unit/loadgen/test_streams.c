/* SPDX-License-Identifier: MIT */
/* Events and the times between them, at moments that are known: first events, gaps, stalls, reads
 * with several events, and how streams end. */
#include "loadgen/streams.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define MS        NSEC_PER_MSEC
#define BEGIN     (1000 * NSEC_PER_SEC)
#define EVENT     SLICE("data: x\n\n")
#define EVENT_END SLICE("data: [DONE]\n\n")

static const struct stream_wishes wishes = { .format = EVENT_FORMAT_SSE,
                                             .end = SLICE_INIT("[DONE]"),
                                             .stall = 100 * MS };

static struct streams *make(const struct stream_wishes *w) {
    struct streams *all = streams_new(w);
    assert_non_null(all);
    return all;
}

static void begin_as(struct streams *all, struct stream *s, uint16_t status, struct slice fields,
                     bool counts) {
    struct http_head head = { .status = status, .fields = fields };
    streams_turn(s);
    streams_begin(all, s, &head, BEGIN, counts);
}

static void begin(struct streams *all, struct stream *s) {
    begin_as(all, s, 200, SLICE(""), true);
}

/* A read of its own, so long after the begin. */
static void take(struct streams *all, struct stream *s, nsec_t at, struct slice data) {
    streams_turn(s);
    streams_take(all, s, data, BEGIN + at);
}

static void times_count_from_the_plan_and_from_event_to_event(void **state) {
    struct streams *all = make(&wishes);
    struct stream s = { .events = 0 };
    (void)state;
    begin(all, &s);
    take(all, &s, 30 * MS, EVENT);
    take(all, &s, 50 * MS, SLICE("data: "));
    take(all, &s, 70 * MS, SLICE("x\n\n")); /* there when it is complete */
    take(all, &s, 130 * MS, EVENT);
    assert_true(streams_end(all, &s, BEGIN + 140 * MS));
    assert_int_equal(hist_count(all->first), 1);
    assert_int_equal(hist_max(all->first), 30000);
    assert_int_equal(hist_count(all->gaps), 2);
    assert_int_equal(hist_min(all->gaps), 40000);
    assert_int_equal(hist_max(all->gaps), 60000);
    assert_int_equal(hist_max(all->counts), 3);
    assert_int_equal(hist_max(all->rates), 20000); /* two in 100 ms */
    assert_int_equal(all->events, 3);
    assert_int_equal(all->bytes, 3 * EVENT.len);
    assert_int_equal(all->stalls, 0);
    streams_free(all);
}

static void events_of_one_turn_have_no_gaps(void **state) {
    struct streams *all = make(&wishes);
    struct stream s = { .events = 0 };
    (void)state;
    begin(all, &s);
    take(all, &s, 10 * MS, SLICE("data: x\n\ndata: x\n\ndata: x\n\n"));
    streams_take(all, &s, EVENT, BEGIN + 11 * MS); /* read on without a wait: the same turn */
    take(all, &s, 20 * MS, SLICE("data: x\n\ndata: x\n\n"));
    take(all, &s, 50 * MS, EVENT);
    assert_int_equal(all->events, 7);
    assert_int_equal(all->crowded, 2);
    assert_int_equal(all->unseen, 4);
    assert_int_equal(hist_count(all->gaps), 2);
    assert_int_equal(hist_min(all->gaps), 10000);
    assert_int_equal(hist_max(all->gaps), 30000);
    streams_free(all);
}

static void gaps_above_the_bound_are_stalls(void **state) {
    struct streams *all = make(&wishes);
    struct stream s = { .events = 0 };
    (void)state;
    begin(all, &s);
    take(all, &s, 500 * MS, EVENT); /* a late first event is none */
    take(all, &s, 600 * MS, EVENT); /* as long as the bound is none */
    take(all, &s, 701 * MS, EVENT);
    take(all, &s, 900 * MS, EVENT);
    assert_int_equal(all->stalls, 2);
    assert_int_equal(all->stalled, 1);
    streams_break(all, &s, BEGIN, true, false, BEGIN + 1001 * MS); /* and the wait that goes on */
    assert_int_equal(all->stalls, 3);
    assert_int_equal(all->stalled, 1);
    assert_int_equal(hist_max(all->gap_ages), 101000);
    streams_free(all);
}

static void the_end_marker_is_no_event(void **state) {
    struct stream_wishes needs = wishes;
    struct stream s = { .events = 0 };
    (void)state;
    needs.needs_end = true;
    struct streams *all = make(&needs);
    begin(all, &s);
    take(all, &s, 10 * MS, EVENT);
    take(all, &s, 20 * MS, EVENT_END);
    assert_true(streams_end(all, &s, BEGIN + 20 * MS));
    begin(all, &s);
    take(all, &s, 10 * MS, EVENT_END);
    take(all, &s, 20 * MS, EVENT); /* more after the end: it was none */
    assert_false(streams_end(all, &s, BEGIN + 20 * MS));
    begin(all, &s);
    assert_false(streams_end(all, &s, BEGIN));
    assert_int_equal(all->events, 2);
    assert_int_equal(all->with_end, 1);
    assert_int_equal(all->complete, 3);
    assert_int_equal(hist_count(all->gaps), 0);
    streams_free(all);
}

static void ends_are_told_apart(void **state) {
    struct streams *all = make(&wishes);
    struct stream s = { .events = 0 };
    (void)state;
    begin(all, &s);
    take(all, &s, MS, SLICE("data: a\n\ndata: b"));
    assert_true(streams_end(all, &s, BEGIN + MS)); /* cut within an event */
    begin(all, &s);
    take(all, &s, MS, EVENT);
    streams_break(all, &s, BEGIN, false, false, BEGIN + 2 * MS); /* reset: no age of a gap */
    begin(all, &s);
    streams_break(all, &s, BEGIN, true, true, BEGIN + 3 * MS);  /* the run has ended */
    streams_break(all, &s, BEGIN, true, false, BEGIN + 4 * MS); /* a request without a head */
    streams_miss(all, BEGIN, BEGIN + 5 * MS);
    assert_int_equal(all->begun, 3);
    assert_int_equal(all->complete, 1);
    assert_int_equal(all->cut, 1);
    assert_int_equal(all->broken, 1);
    assert_int_equal(all->in_flight, 1);
    assert_int_equal(hist_count(all->gap_ages), 0);
    assert_int_equal(hist_count(all->first_ages), 3);
    assert_int_equal(hist_max(all->first_ages), 5000);
    streams_free(all);
}

static void the_last_line_of_json_is_an_event_when_the_body_ends(void **state) {
    struct stream_wishes lines = wishes;
    struct stream s = { .events = 0 };
    (void)state;
    lines.format = EVENT_FORMAT_JSON_LINES;
    struct streams *all = make(&lines);
    begin(all, &s);
    take(all, &s, 10 * MS, SLICE("{}\n{}"));
    streams_turn(&s);
    assert_true(streams_end(all, &s, BEGIN + 30 * MS));
    assert_int_equal(all->events, 2);
    assert_int_equal(all->cut, 0);
    assert_int_equal(hist_max(all->gaps), 20000);
    streams_free(all);
}

static void answers_that_are_no_streams_are_counted_apart(void **state) {
    struct stream_wishes any = wishes;
    struct stream s = { .events = 0 };
    (void)state;
    any.is_auto = true;
    struct streams *all = make(&any);
    begin_as(all, &s, 200, SLICE("Content-Type: text/event-stream\r\n"), true);
    take(all, &s, MS, EVENT);
    assert_true(streams_end(all, &s, BEGIN + MS));
    begin_as(all, &s, 200, SLICE("Content-Type: text/html\r\n"), true);
    take(all, &s, MS, EVENT);
    assert_true(streams_end(all, &s, BEGIN + MS));
    begin_as(all, &s, 503, SLICE("Content-Type: text/event-stream\r\n"), true);
    begin_as(all, &s, 200, SLICE("Content-Type: text/event-stream\r\nContent-Encoding: br\r\n"),
             true);
    take(all, &s, MS, EVENT);
    begin_as(all, &s, 200, SLICE("Content-Type: text/event-stream\r\n"), false); /* warm-up */
    take(all, &s, MS, EVENT);
    assert_int_equal(all->begun, 1);
    assert_int_equal(all->others, 3);
    assert_int_equal(all->events, 1);
    streams_free(all);
}

static void sums_and_resets_leave_nothing_out(void **state) {
    struct streams *all = make(&wishes), *sum = make(&wishes);
    struct stream s = { .events = 0 };
    (void)state;
    begin(all, &s);
    take(all, &s, 10 * MS, EVENT);
    take(all, &s, 500 * MS, SLICE("data: x\n\ndata: x\n\n"));
    assert_true(streams_end(all, &s, BEGIN + 500 * MS));
    streams_merge(sum, all);
    streams_merge(sum, all);
    assert_int_equal(sum->begun, 2);
    assert_int_equal(sum->complete, 2);
    assert_int_equal(sum->events, 6);
    assert_int_equal(sum->unseen, 2);
    assert_int_equal(sum->crowded, 2);
    assert_int_equal(sum->stalls, 2);
    assert_int_equal(sum->stalled, 2);
    assert_int_equal(sum->bytes, 2 * all->bytes);
    assert_int_equal(hist_count(sum->first), 2);
    assert_int_equal(hist_count(sum->gaps), 2);
    assert_int_equal(hist_count(sum->counts), 2);
    streams_reset(sum);
    assert_int_equal(sum->events, 0);
    assert_int_equal(hist_count(sum->gaps), 0);
    assert_int_equal(sum->wishes.stall, 100 * MS);
    streams_free(all);
    streams_free(sum);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_count_from_the_plan_and_from_event_to_event),
        cmocka_unit_test(events_of_one_turn_have_no_gaps),
        cmocka_unit_test(gaps_above_the_bound_are_stalls),
        cmocka_unit_test(the_end_marker_is_no_event),
        cmocka_unit_test(ends_are_told_apart),
        cmocka_unit_test(the_last_line_of_json_is_an_event_when_the_body_ends),
        cmocka_unit_test(answers_that_are_no_streams_are_counted_apart),
        cmocka_unit_test(sums_and_resets_leave_nothing_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
