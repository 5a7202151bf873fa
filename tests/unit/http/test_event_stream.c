/* SPDX-License-Identifier: MIT */
/* Events in bodies, cut at every byte: how many there are, where each of them ends, and which is
 * the end marker. */
#include "http/event_stream.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define DONE SLICE("[DONE]")

struct seen {
    char text[64]; /* `.` an event, `!` the end marker */
    size_t len;
    bool is_cut;
};

static void note(struct seen *seen, enum event_found found) {
    if (found != EVENT_FOUND_NONE)
        seen->text[seen->len++] = found == EVENT_FOUND_END ? '!' : '.';
}

static void feed(struct event_stream *s, struct slice end, struct slice piece, struct seen *seen) {
    while (piece.len > 0) {
        enum event_found found;
        size_t used = event_stream_next(s, end, piece, &found);
        assert_in_range(used, 1, piece.len);
        piece = slice_drop(piece, used);
        note(seen, found);
    }
}

static struct seen read_split(enum event_format format, struct slice end, struct slice body,
                              size_t first, size_t second) {
    struct seen seen = { .len = 0 };
    struct event_stream s;

    event_stream_init(&s, format);
    feed(&s, end, slice_take(body, first), &seen);
    feed(&s, end, slice_take(slice_drop(body, first), second - first), &seen);
    feed(&s, end, slice_drop(body, second), &seen);
    seen.is_cut = event_stream_is_cut(&s);
    note(&seen, event_stream_finish(&s, end));
    return seen;
}

/* Cut in two and in three at every byte. */
static void expect_with(enum event_format format, struct slice end, struct slice body,
                        const char *wanted, bool is_cut) {
    for (size_t first = 0; first <= body.len; first++)
        for (size_t second = first; second <= body.len; second++) {
            struct seen seen = read_split(format, end, body, first, second);
            assert_string_equal(seen.text, wanted);
            assert_int_equal(seen.is_cut, is_cut);
        }
}

static void expect_sse(struct slice body, const char *wanted, bool is_cut) {
    expect_with(EVENT_FORMAT_SSE, DONE, body, wanted, is_cut);
}

static void expect_lines(struct slice body, const char *wanted, bool is_cut) {
    expect_with(EVENT_FORMAT_JSON_LINES, DONE, body, wanted, is_cut);
}

static void events_end_with_an_empty_line(void **state) {
    (void)state;
    expect_sse(SLICE("data: a\n\ndata:b\n\ndata: c\n\n"), "...", false);
    expect_sse(SLICE(""), "", false);
    expect_sse(SLICE("\n\n\n"), "", false);
    expect_sse(SLICE("data: a\n\n\n\ndata: b\n\n\n"), "..", false);
}

static void lines_end_in_three_ways(void **state) {
    (void)state;
    expect_sse(SLICE("data: a\r\rdata: b\r\r"), "..", false);
    expect_sse(SLICE("data: a\r\n\r\ndata: b\r\n\r\n"), "..", false);
    expect_sse(SLICE("data: a\n\r\ndata: b\r\n\ndata: c\r\n\r"), "...", false);
    expect_sse(SLICE("data: a\n\rdata: b\n\r"), "..", false);
    expect_sse(SLICE("data: a\r\n"), "", true); /* one line end, not two */
}

static void data_of_several_lines_is_one_event(void **state) {
    (void)state;
    expect_sse(SLICE("data: a\ndata: b\ndata\ndata:\n\n"), ".", false);
    expect_sse(SLICE("id: 1\nevent: x\ndata: a\nretry: 3\n\n"), ".", false);
}

static void what_has_no_data_is_no_event(void **state) {
    (void)state;
    expect_sse(SLICE(": comment\n\n"), "", false);
    expect_sse(SLICE("event: ping\nid: 7\n\n"), "", false);
    expect_sse(SLICE("Data: a\n\ndat: a\n\ndatum: a\n\n data: a\n\ndata : a\n\n"), "", false);
    expect_sse(SLICE(":data: a\n\n:\n\n"), "", false);
    expect_sse(SLICE("data\n\ndata:\n\n"), "..", false);
}

static void a_byte_order_mark_is_skipped_once(void **state) {
    (void)state;
    expect_sse(SLICE("\xef\xbb\xbf"
                     "data: a\n\n"),
               ".", false);
    expect_sse(SLICE("\xef\xbb\xbf\xef\xbb\xbf"
                     "data: a\n\n"),
               "", false);
    expect_sse(SLICE("\xef\xbb"
                     "data: a\n\ndata: b\n\n"),
               ".", false);
    expect_sse(SLICE("\xef\xbb\xbf"), "", false);
    expect_sse(SLICE("\xef\xbb\n\ndata: b\n\n"), ".", false);
    expect_sse(SLICE("\n\xef\xbb\xbf"
                     "data: a\n\n"),
               "", false);
}

static void an_event_that_is_cut_is_none(void **state) {
    (void)state;
    expect_sse(SLICE("data: a\n\ndata: b\n"), ".", true);
    expect_sse(SLICE("data: a\n\ndata: b"), ".", true);
    expect_sse(SLICE("data: a\n\nda"), ".", true);
    expect_sse(SLICE("data: a\n\n\xef"), ".", true);
}

static void the_end_marker_is_found(void **state) {
    (void)state;
    expect_sse(SLICE("data: a\n\ndata: [DONE]\n\n"), ".!", false);
    expect_sse(SLICE("data:[DONE]\r\n\r\n"), "!", false);
    expect_sse(SLICE("data: [DONE]\nid: 9\n\n"), "!", false);
    expect_sse(SLICE("data: [DONE]"), "!", true);
    expect_sse(SLICE("data: [DONE]\n"), "!", true);
}

static void what_looks_like_the_end_marker_is_data(void **state) {
    (void)state;
    expect_sse(SLICE("data:  [DONE]\n\n"), ".", false);
    expect_sse(SLICE("data: [DONE] \n\n"), ".", false);
    expect_sse(SLICE("data: [DONE\n\n"), ".", false);
    expect_sse(SLICE("data: [DONE]\ndata\n\n"), ".", false);
    expect_sse(SLICE("data\ndata: [DONE]\n\n"), ".", false);
    expect_sse(SLICE("data: [DO\ndata: NE]\n\n"), ".", false);
    expect_sse(SLICE("event: [DONE]\n\nid: [DONE]\n\n: [DONE]\n\n"), "", false);
    expect_sse(SLICE("data: a\n\ndata: [DONE]\ndata: b"), ".", true);
}

static void no_marker_is_ever_found_without_one(void **state) {
    (void)state;
    expect_with(EVENT_FORMAT_SSE, SLICE(""), SLICE("data\n\ndata:\n\ndata: [DONE]\n\n"), "...",
                false);
    expect_with(EVENT_FORMAT_JSON_LINES, SLICE(""), SLICE("[DONE]\n{}\n  {}"), "...", true);
}

static void json_lines_end_with_a_line_feed(void **state) {
    (void)state;
    expect_lines(SLICE("{\"a\":1}\n{\"b\":2}\r\n[3]\n"), "...", false);
    expect_lines(SLICE("{\"a\":1}\n\n \t\r\n\r\n{\"b\":2}\n"), "..", false);
    expect_lines(SLICE("{\"a\":1}\r{\"b\":2}\n"), ".", false); /* CR alone ends no line */
    expect_lines(SLICE(""), "", false);
}

static void the_last_json_line_needs_no_line_feed(void **state) {
    (void)state;
    expect_lines(SLICE("{\"a\":1}\n{\"b\":2}"), "..", true);
    expect_lines(SLICE("{\"a\":1}\n  \t"), ".", false);
    expect_lines(SLICE("{\"a\":1}\n[DONE]"), ".!", true);
}

static void json_lines_may_have_an_end_marker(void **state) {
    (void)state;
    expect_lines(SLICE("{}\n[DONE]\n"), ".!", false);
    expect_lines(SLICE("{}\n [DONE] \t\r\n"), ".!", false);
    expect_lines(SLICE("[DONE\n[DONE]]\n[DONE] x\n[D\n"), "....", false);
    expect_with(EVENT_FORMAT_JSON_LINES, SLICE("{\"done\": true}"),
                SLICE("{\"done\": false}\n{\"done\": true}\n"), ".!", false);
}

/* A line of any length is only counted. */
static void lines_have_any_length(void **state) {
    static char line[100000];
    struct event_stream s;
    struct seen seen = { .len = 0 };

    (void)state;
    memset(line, 'x', sizeof(line));
    event_stream_init(&s, EVENT_FORMAT_SSE);
    feed(&s, DONE, SLICE("data: "), &seen);
    for (int i = 0; i < 100; i++)
        feed(&s, DONE, slice_of(line, sizeof(line)), &seen);
    assert_string_equal(seen.text, "");
    feed(&s, DONE, SLICE("\n\n"), &seen);
    assert_string_equal(seen.text, ".");
}

static void media_types_name_formats(void **state) {
    enum event_format format;

    (void)state;
    assert_true(event_stream_format(SLICE("text/event-stream"), &format));
    assert_int_equal(format, EVENT_FORMAT_SSE);
    assert_true(event_stream_format(SLICE("Text/Event-Stream; charset=utf-8"), &format));
    assert_int_equal(format, EVENT_FORMAT_SSE);
    assert_true(event_stream_format(SLICE("application/x-ndjson ;a=b"), &format));
    assert_int_equal(format, EVENT_FORMAT_JSON_LINES);
    assert_false(event_stream_format(SLICE("application/json"), &format));
    assert_false(event_stream_format(SLICE("text/event-stream2"), &format));
    assert_false(event_stream_format(SLICE(""), &format));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_end_with_an_empty_line),
        cmocka_unit_test(lines_end_in_three_ways),
        cmocka_unit_test(data_of_several_lines_is_one_event),
        cmocka_unit_test(what_has_no_data_is_no_event),
        cmocka_unit_test(a_byte_order_mark_is_skipped_once),
        cmocka_unit_test(an_event_that_is_cut_is_none),
        cmocka_unit_test(the_end_marker_is_found),
        cmocka_unit_test(what_looks_like_the_end_marker_is_data),
        cmocka_unit_test(no_marker_is_ever_found_without_one),
        cmocka_unit_test(json_lines_end_with_a_line_feed),
        cmocka_unit_test(the_last_json_line_needs_no_line_feed),
        cmocka_unit_test(json_lines_may_have_an_end_marker),
        cmocka_unit_test(lines_have_any_length),
        cmocka_unit_test(media_types_name_formats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
