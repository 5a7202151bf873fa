/* SPDX-License-Identifier: MIT */
/* Answers step by step: the pieces are due when the paces say, however late each of them was made.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "slowapi/limits.h"
#include "slowapi/reply.h"
#include <stdio.h>
#include <stdlib.h>

#define LATE (NSEC_PER_MSEC / 5) /* each piece is made that much after it was due */

struct fixture {
    _Atomic uint64_t struck[FAULT_KINDS];
    struct http_limits limits;
    struct http_conn conn;
    struct reply *reply;
    struct buf out;
};

/* What a whole answer was like. */
struct seen {
    nsec_t span; /* from the head to when the end was due */
    uint64_t body_bytes;
};

static void begin(struct fixture *f, enum body_kind kind, uint64_t units) {
    static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    struct http_head head;
    struct http_event ev;

    *f = (struct fixture){ .limits = HTTP_LIMITS_DEFAULT };
    http_conn_init(&f->conn, HTTP_SERVER, &f->limits);
    (void)http_conn_feed(&f->conn, slice_str(request), false, &head, &ev);
    assert_int_equal(ev.kind, HTTP_EV_HEAD);
    buf_init(&f->out, SLOWAPI_OUT_BYTES);
    f->reply = reply_new(200);
    assert_non_null(f->reply);
    f->reply->body.kind = (uint8_t)kind;
    f->reply->body.units = units;
    f->reply->body.text = SLICE("slow api response");
    f->reply->body.is_chunked = kind >= BODY_LINES;
}

static void add_fault(struct fixture *f, const char *text) {
    const char *why;

    assert_int_equal(fault_parse(slice_str(text), &f->reply->faults[f->reply->fault_count++], &why),
                     0);
}

static void wait_until(nsec_t until) {
    while (clock_now() < until) {
    }
}

static struct seen run(struct fixture *f) {
    struct seen seen = { 0 };
    struct reply_step step = { .act = REPLY_NEXT };
    nsec_t began = 0;

    reply_set_pace(f->reply);
    while (step.act == REPLY_NEXT || step.act == REPLY_WAIT) {
        buf_consume(&f->out, buf_unread(&f->out).len);
        assert_int_equal(reply_step(f->reply, &f->conn, f->struck, false, &f->out, &step), 0);
        if (began == 0)
            began = f->reply->due;
        if (step.act == REPLY_WAIT)
            wait_until(step.until + LATE);
    }
    seen.span = f->reply->due - began;
    seen.body_bytes = f->reply->body_bytes;
    reply_free(f->reply);
    buf_free(&f->out);
    return seen;
}

static void assert_span(struct seen seen, nsec_t span) {
    assert_in_range(seen.span, span - span / 1000, span + span / 1000);
}

static void lateness_is_not_handed_on_to_later_pieces(void **state UNUSED) {
    struct fixture f;

    begin(&f, BODY_SSE, 41);
    f.reply->body.piece = 0;
    f.reply->body.span = 40 * NSEC_PER_MSEC;
    assert_span(run(&f), 40 * NSEC_PER_MSEC);

    begin(&f, BODY_STARS, 31);
    add_fault(&f, "drip=1ms");
    assert_span(run(&f), 30 * NSEC_PER_MSEC);
}

static void a_bandwidth_is_kept_for_each_kind_of_body(void **state UNUSED) {
    static const enum body_kind kinds[] = { BODY_LETTERS, BODY_BYTES, BODY_PATTERN, BODY_STARS,
                                            BODY_LINES,   BODY_JSONL, BODY_SSE };
    struct fixture f;

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        bool is_events = kinds[i] >= BODY_LINES;
        begin(&f, kinds[i], is_events ? 40 : 2000);
        add_fault(&f, "bandwidth=100k");
        struct seen seen = run(&f);
        assert_true(is_events ? seen.body_bytes > 1000 : seen.body_bytes == 2000);
        assert_span(seen, (nsec_t)(seen.body_bytes * NSEC_PER_SEC / 102400));
    }

    begin(&f, BODY_BYTES, 3000000);
    add_fault(&f, "bandwidth=100m");
    struct seen seen = run(&f);
    assert_span(seen, (nsec_t)(seen.body_bytes * NSEC_PER_SEC / (100 << 20)));

    begin(&f, BODY_TEXT, 17);
    add_fault(&f, "bandwidth=1k");
    assert_span(run(&f), 17 * NSEC_PER_SEC / 1024);
}

static void the_later_of_all_paces_counts(void **state UNUSED) {
    struct fixture f;

    begin(&f, BODY_LINES, 6);
    f.reply->body.interval = 5 * NSEC_PER_MSEC;
    add_fault(&f, "bandwidth=10m");
    struct seen seen = run(&f);
    assert_in_range(seen.span, 25 * NSEC_PER_MSEC, 25 * NSEC_PER_MSEC + NSEC_PER_MSEC / 10);

    begin(&f, BODY_LINES, 6);
    f.reply->body.interval = 1;
    add_fault(&f, "drip=1us");
    add_fault(&f, "bandwidth=10k");
    seen = run(&f);
    assert_span(seen, (nsec_t)(seen.body_bytes * NSEC_PER_SEC / 10240));

    begin(&f, BODY_STARS, 6);
    f.reply->body.interval = 3 * NSEC_PER_MSEC;
    add_fault(&f, "drip=4ms");
    assert_span(run(&f), 20 * NSEC_PER_MSEC);
}

/* A pace that cuts a body into smaller pieces does not slow down the others. */
static void pieces_of_one_pace_suit_the_others(void **state UNUSED) {
    static const char *const faults[] = { "drip=10us", "bandwidth=100k", "hang=1us@30" };
    struct fixture f;

    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        begin(&f, BODY_PATTERN, 100); /* less than a piece */
        f.reply->body.span = 100 * NSEC_PER_MSEC;
        add_fault(&f, faults[i]);
        assert_in_range(run(&f).span, 99990 * NSEC_PER_USEC, 199 * NSEC_PER_MSEC);
    }

    begin(&f, BODY_PATTERN, 100);
    f.reply->body.span = 10 * NSEC_PER_MSEC;
    add_fault(&f, "drip=200us");
    assert_span(run(&f), 99 * NSEC_PER_MSEC / 5);
}

static void of_a_span_and_an_interval_the_longer_counts(void **state UNUSED) {
    static const nsec_t rows[][3] = { { 8, 1, 8 }, { 3, 2, 8 }, { 0, 2, 8 } }; /* ms */

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fixture f;
        begin(&f, BODY_SSE, 5);
        f.reply->body.span = rows[i][0] * NSEC_PER_MSEC;
        f.reply->body.interval = rows[i][1] * NSEC_PER_MSEC;
        assert_span(run(&f), rows[i][2] * NSEC_PER_MSEC);
    }
}

static void short_drips_take_at_least_their_time(void **state UNUSED) {
    static const struct {
        uint64_t units;
        nsec_t span;
    } rows[] = {
        { 1, 3 * NSEC_PER_MSEC },      { 2, NSEC_PER_MSEC },      { 3, NSEC_PER_MSEC },
        { 3, 2 * NSEC_PER_MSEC },      { 40, NSEC_PER_MSEC / 2 }, { 1001, 20 * NSEC_PER_MSEC },
        { 400000, 5 * NSEC_PER_MSEC }, /* joined pieces that are made in several */
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fixture f;
        begin(&f, BODY_STARS, rows[i].units);
        f.reply->body.piece = 0;
        f.reply->body.span = rows[i].span;
        struct seen seen = run(&f);
        assert_int_equal(seen.body_bytes, rows[i].units);
        assert_span(seen, rows[i].span);
    }
}

static void a_hang_moves_what_comes_after_it(void **state UNUSED) {
    struct fixture f;

    begin(&f, BODY_STARS, 5);
    add_fault(&f, "drip=2ms");
    add_fault(&f, "hang=10ms@40");
    assert_in_range(run(&f).span, 18 * NSEC_PER_MSEC, 1000 * NSEC_PER_MSEC);
}

/* The body of 1000 units that is made `piece` at a time. The caller frees it with the fixture's
 * `out`. */
static struct slice make_body(struct fixture *f, enum body_kind kind, uint64_t piece) {
    struct reply_step step = { .act = REPLY_NEXT };
    size_t head_bytes = 0;

    begin(f, kind, 1000);
    f->reply->body.seed = 7;
    f->reply->body.offset = 3;
    f->reply->body.piece = piece;
    reply_set_pace(f->reply);
    while (step.act == REPLY_NEXT) {
        assert_int_equal(reply_step(f->reply, &f->conn, f->struck, false, &f->out, &step), 0);
        if (head_bytes == 0)
            head_bytes = buf_unread(&f->out).len;
    }
    assert_int_equal(step.act, REPLY_KEEP);
    reply_free(f->reply);
    return slice_drop(buf_unread(&f->out), head_bytes);
}

static void bytes_are_the_same_in_any_pieces(void **state UNUSED) {
    static const enum body_kind kinds[] = { BODY_LETTERS, BODY_BYTES, BODY_PATTERN, BODY_STARS };
    struct fixture whole, pieces;

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct slice all = make_body(&whole, kinds[i], 1000);
        assert_int_equal(all.len, 1000);
        for (uint64_t piece = 1; piece < 30; piece++) {
            assert_true(slice_eq(all, make_body(&pieces, kinds[i], piece)));
            buf_free(&pieces.out);
        }
        buf_free(&whole.out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lateness_is_not_handed_on_to_later_pieces),
        cmocka_unit_test(a_bandwidth_is_kept_for_each_kind_of_body),
        cmocka_unit_test(the_later_of_all_paces_counts),
        cmocka_unit_test(pieces_of_one_pace_suit_the_others),
        cmocka_unit_test(of_a_span_and_an_interval_the_longer_counts),
        cmocka_unit_test(short_drips_take_at_least_their_time),
        cmocka_unit_test(a_hang_moves_what_comes_after_it),
        cmocka_unit_test(bytes_are_the_same_in_any_pieces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
