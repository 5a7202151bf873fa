/* SPDX-License-Identifier: MIT */
/* Frames of a WebSocket, whole and byte by byte: what is sent back, and which Close answers what is
 * wrong. */
#include "http/websocket.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define MESSAGE_MAX  300
#define FRAGMENT_MAX 200

static const char mask[4] = { 0x37, (char)0xfa, 0x21, 0x3d };

/* A client's frame, whatever is asked for. */
static void add(struct buf *in, unsigned first, unsigned length, struct slice payload) {
    char head[] = { (char)first, (char)(0x80 | length) };

    assert_int_equal(buf_append(in, slice_of(head, 2)), 0);
    if (length == 126) {
        char more[] = { (char)(payload.len >> 8), (char)payload.len };
        assert_int_equal(buf_append(in, slice_of(more, 2)), 0);
    }
    assert_int_equal(buf_append(in, slice_of(mask, 4)), 0);
    for (size_t i = 0; i < payload.len; i++) {
        char c = (char)(payload.ptr[i] ^ mask[i & 3]);
        assert_int_equal(buf_append(in, slice_of(&c, 1)), 0);
    }
}

static void add_short(struct buf *in, unsigned first, struct slice payload) {
    add(in, first, (unsigned)payload.len, payload);
}

/* Feeds `in` in steps of so many bytes, and compares what comes back. */
static void expect(const struct buf *in, size_t step, struct slice wanted, int end) {
    struct slice rest = buf_unread(in);
    struct websocket ws;
    struct buf out;
    int rc = 0;

    websocket_init(&ws, MESSAGE_MAX, FRAGMENT_MAX);
    buf_init(&out, 4096);
    while (rc == 0 && rest.len > 0) {
        rc = websocket_echo(&ws, slice_take(rest, step), &out);
        rest = slice_drop(rest, step);
    }
    assert_int_equal(rc, end);
    assert_int_equal(buf_unread(&out).len, wanted.len);
    assert_memory_equal(buf_unread(&out).ptr, wanted.ptr, wanted.len);
    buf_free(&out);
    websocket_free(&ws);
}

static void expect_both(struct buf *in, struct slice wanted, int end) {
    for (size_t step = 1; step <= 5; step++)
        expect(in, step, wanted, end);
    expect(in, SIZE_MAX, wanted, end);
    buf_free(in);
}

static void the_key_of_the_rfc_is_accepted(void **state) {
    char accept[WEBSOCKET_ACCEPT_BYTES];

    (void)state;
    assert_true(websocket_accept(SLICE("dGhlIHNhbXBsZSBub25jZQ=="), accept));
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_false(websocket_accept(SLICE(""), accept));
    assert_false(websocket_accept(SLICE("dGhlIHNhbXBsZSBub25jZ"), accept));
    assert_false(websocket_accept(SLICE("dGhlIHNhbXBsZSBub25jZQ"), accept));
    assert_false(websocket_accept(SLICE("dGhlIHNhbXBsZSBub25jZSE="), accept));
}

static void messages_come_back(void **state) {
    struct buf in;

    (void)state;
    buf_init(&in, 4096);
    add_short(&in, 0x81, SLICE("Hello"));
    add_short(&in, 0x82, SLICE("\x00\xff"));
    add_short(&in, 0x81, SLICE(""));
    expect_both(&in, SLICE("\x81\x05Hello\x82\x02\x00\xff\x81\x00"), 0);
}

static void fragments_come_back_as_one_and_pings_between_them(void **state) {
    struct buf in;

    (void)state;
    buf_init(&in, 4096);
    add_short(&in, 0x01, SLICE("a\xc3"));
    add_short(&in, 0x89, SLICE("ping"));
    add_short(&in, 0x00, SLICE(""));
    add_short(&in, 0x8a, SLICE("pong"));
    add_short(&in, 0x80, SLICE("\xa4z"));
    expect_both(&in,
                SLICE("\x8a\x04ping\x81\x04"
                      "a\xc3\xa4z"),
                0);
}

static void longer_frames_have_longer_heads(void **state) {
    char text[FRAGMENT_MAX], wanted[4 + sizeof(text)] = "\x81\x7e\x00\xc8";
    struct buf in;

    (void)state;
    memset(text, 'x', sizeof(text));
    memset(wanted + 4, 'x', sizeof(text));
    buf_init(&in, 4096);
    add(&in, 0x81, 126, slice_of(text, sizeof(text)));
    expect_both(&in, slice_of(wanted, sizeof(wanted)), 0);
}

#define CLOSE_OF(code_high, code_low) SLICE("\x88\x02" code_high code_low)

static void a_close_is_answered_with_its_code(void **state) {
    struct buf in;

    (void)state;
    buf_init(&in, 4096);
    add_short(&in, 0x88, SLICE("\x03\xe9 bye"));
    add_short(&in, 0x81, SLICE("ignored"));
    expect_both(&in, CLOSE_OF("\x03", "\xe9"), 1);
    add_short(&in, 0x88, SLICE(""));
    expect_both(&in, SLICE("\x88\x00"), 1);
    add_short(&in, 0x88, SLICE("\x0f\xa0"));
    expect_both(&in, CLOSE_OF("\x0f", "\xa0"), 1);
}

static void what_is_wrong_is_answered_with_a_close(void **state) {
    static const struct {
        unsigned first;
        struct slice payload, close;
    } cases[] = {
        { 0xc1, SLICE_INIT("x"), SLICE_INIT("\x88\x02\x03\xea") }, /* a reserved bit */
        { 0x83, SLICE_INIT("x"), SLICE_INIT("\x88\x02\x03\xea") }, /* opcodes that are none */
        { 0x8b, SLICE_INIT("x"), SLICE_INIT("\x88\x02\x03\xea") },
        { 0x80, SLICE_INIT("x"), SLICE_INIT("\x88\x02\x03\xea") },        /* goes on with nothing */
        { 0x09, SLICE_INIT("x"), SLICE_INIT("\x88\x02\x03\xea") },        /* a ping in fragments */
        { 0x88, SLICE_INIT("\x03"), SLICE_INIT("\x88\x02\x03\xea") },     /* half a code */
        { 0x88, SLICE_INIT("\x03\xed"), SLICE_INIT("\x88\x02\x03\xea") }, /* 1005 */
        { 0x88, SLICE_INIT("\x00\x00"), SLICE_INIT("\x88\x02\x03\xea") },
        { 0x88, SLICE_INIT("\x03\xe8\xff"), SLICE_INIT("\x88\x02\x03\xef") },
        { 0x81, SLICE_INIT("\xff"), SLICE_INIT("\x88\x02\x03\xef") }, /* texts that are no UTF-8 */
        { 0x81, SLICE_INIT("\xc0\x80"), SLICE_INIT("\x88\x02\x03\xef") },
        { 0x81, SLICE_INIT("\xe0\x80\x80"), SLICE_INIT("\x88\x02\x03\xef") },
        { 0x81, SLICE_INIT("\xed\xa0\x80"), SLICE_INIT("\x88\x02\x03\xef") },
        { 0x81, SLICE_INIT("\xf4\x90\x80\x80"), SLICE_INIT("\x88\x02\x03\xef") },
        { 0x81, SLICE_INIT("\xe2\x82"), SLICE_INIT("\x88\x02\x03\xef") },
    };
    struct buf in;

    (void)state;
    buf_init(&in, 4096);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        add_short(&in, cases[i].first, cases[i].payload);
        expect_both(&in, cases[i].close, 1);
    }
    add_short(&in, 0x01, SLICE("a message in a message"));
    add_short(&in, 0x81, SLICE("x"));
    expect_both(&in, SLICE("\x88\x02\x03\xea"), 1);
    assert_int_equal(buf_append(&in, SLICE("\x81\x01x")), 0); /* without a mask */
    expect_both(&in, SLICE("\x88\x02\x03\xea"), 1);
    assert_int_equal(buf_append(&in, SLICE("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff....")), 0);
    expect_both(&in, SLICE("\x88\x02\x03\xea"), 1);
}

static void what_is_too_long_is_refused_before_it_comes(void **state) {
    char text[FRAGMENT_MAX + 1] = "";
    struct buf in;

    (void)state;
    buf_init(&in, 4096);
    add(&in, 0x82, 126, slice_of(text, FRAGMENT_MAX + 1));
    expect_both(&in, SLICE("\x88\x02\x03\xf1"), 1);
    add(&in, 0x02, 126, slice_of(text, FRAGMENT_MAX));
    add(&in, 0x80, 126, slice_of(text, MESSAGE_MAX - FRAGMENT_MAX + 1));
    expect_both(&in, SLICE("\x88\x02\x03\xf1"), 1);
    assert_int_equal(buf_append(&in, SLICE("\x82\xff\x00\x00\x00\x01\x00\x00\x00\x00....")), 0);
    expect_both(&in, SLICE("\x88\x02\x03\xf1"), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_key_of_the_rfc_is_accepted),
        cmocka_unit_test(messages_come_back),
        cmocka_unit_test(fragments_come_back_as_one_and_pings_between_them),
        cmocka_unit_test(longer_frames_have_longer_heads),
        cmocka_unit_test(a_close_is_answered_with_its_code),
        cmocka_unit_test(what_is_wrong_is_answered_with_a_close),
        cmocka_unit_test(what_is_too_long_is_refused_before_it_comes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
