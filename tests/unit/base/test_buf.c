/* SPDX-License-Identifier: MIT */
/* Capped buffers: growth, limits, cursors, and no byte lost on any path. */
#include "base/alloc.h"
#include "base/buf.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void assert_unread(const struct buf *b, const char *text) {
    struct slice unread = buf_unread(b);
    assert_int_equal(unread.len, strlen(text));
    assert_memory_equal(unread.ptr, text, unread.len);
}

static void starts_empty_and_without_memory(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    assert_unread(&b, "");
    assert_int_equal(buf_room(&b), 0);
    assert_null(b.data);
    buf_free(&b);
}

static void appends_and_consumes(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    assert_int_equal(buf_append(&b, SLICE("hello ")), 0);
    assert_int_equal(buf_printf(&b, "%s %d", "world", 7), 0);
    assert_unread(&b, "hello world 7");
    buf_consume(&b, 6);
    assert_unread(&b, "world 7");
    buf_consume(&b, 7);
    assert_int_equal(b.start, 0); /* both cursors are back: nothing will have to move */
    assert_int_equal(b.end, 0);
    buf_free(&b);
    assert_int_equal(buf_append(&b, SLICE("again")), 0);
    assert_unread(&b, "again");
    buf_free(&b);
}

static void takes_bytes_at_its_tail(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    assert_int_equal(buf_reserve(&b, 3), 0);
    assert_true(buf_room(&b) >= 3);
    memcpy(buf_tail(&b), "abc", 3);
    buf_added(&b, 3);
    assert_unread(&b, "abc");
    buf_free(&b);
}

static void never_exceeds_its_maximum(void **state) {
    (void)state;
    for (size_t max = 1; max < 700; max += 37) {
        struct buf b;
        buf_init(&b, max);
        for (size_t i = 0; i < max; i++)
            assert_int_equal(buf_append(&b, SLICE("x")), 0);
        assert_int_equal(buf_append(&b, SLICE("x")), -ENOBUFS);
        assert_int_equal(buf_reserve(&b, SIZE_MAX), -ENOBUFS);
        assert_int_equal(buf_printf(&b, "x"), -ENOBUFS);
        assert_int_equal(buf_unread(&b).len, max);
        assert_true(b.cap <= max);

        buf_consume(&b, 1); /* room only after moving down */
        assert_int_equal(buf_append(&b, SLICE("y")), 0);
        assert_int_equal(buf_unread(&b).ptr[max - 1], 'y');
        buf_free(&b);
    }
}

static void a_failed_append_changes_nothing(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 100000);
    assert_int_equal(buf_append(&b, SLICE("keep")), 0);
    static char big[5000];
    memset(big, 'b', sizeof(big));
    mem_fail_after(0);
    assert_int_equal(buf_append(&b, slice_of(big, sizeof(big))), -ENOMEM);
    mem_fail_after(0);
    assert_int_equal(buf_printf(&b, "%5000d", 1), -ENOMEM);
    mem_fail_after(-1);
    assert_unread(&b, "keep");
    assert_int_equal(buf_append(&b, slice_of(big, sizeof(big))), 0);
    assert_int_equal(buf_unread(&b).len, 5004);
    buf_free(&b);
}

static void prints_what_does_not_fit_yet(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 100000);
    for (int i = 0; i < 300; i++)
        assert_int_equal(buf_printf(&b, "%03d,", i), 0);
    assert_int_equal(buf_unread(&b).len, 1200);
    assert_memory_equal(buf_unread(&b).ptr + 1196, "299,", 4);
    buf_free(&b);
}

/* A byte stream goes through in random pieces; what comes out must be what went in. */
static void random_use_keeps_the_order(void **state) {
    (void)state;
    struct buf b;
    uint32_t seed = 12345;
    unsigned char in = 0, out = 0;
    buf_init(&b, 3000);
    for (int i = 0; i < 20000; i++) {
        seed = seed * 1664525 + 1013904223;
        size_t n = (seed >> 8) % 400;
        if ((seed >> 30) % 2 == 0 && buf_reserve(&b, n) == 0) {
            for (size_t j = 0; j < n; j++)
                buf_tail(&b)[j] = (char)in++;
            buf_added(&b, n);
        } else {
            struct slice got = slice_take(buf_unread(&b), n);
            for (size_t j = 0; j < got.len; j++)
                assert_int_equal((unsigned char)got.ptr[j], out++);
            buf_consume(&b, got.len);
        }
        assert_true(b.start <= b.end && b.end <= b.cap && b.cap <= b.max);
    }
    buf_free(&b);
}

/* Half full and read byte by byte: bytes may move only now and then. */
static void moving_is_rare(void **state) {
    (void)state;
    struct buf b;
    size_t moves = 0;
    buf_init(&b, 1 << 20);
    assert_int_equal(buf_reserve(&b, 8192), 0);
    buf_added(&b, buf_room(&b));
    for (int i = 0; i < 8192; i++) {
        size_t start = b.start + 1;
        buf_consume(&b, 1);
        assert_int_equal(buf_append(&b, SLICE("z")), 0);
        moves += b.start < start;
    }
    assert_true(moves <= 3);
    buf_free(&b);
}

/* What is left of bytes elsewhere is copied; of its own, dropped; and nothing left is no memory. */
static void keeps_what_is_left(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 8);
    assert_int_equal(buf_keep(&b, SLICE("used"), 4), 0);
    assert_null(b.data);
    assert_int_equal(buf_keep(&b, SLICE("used, left"), 4), 0);
    assert_true(slice_eq(buf_unread(&b), SLICE(", left")));
    assert_int_equal(buf_keep(&b, buf_unread(&b), 2), 0);
    assert_true(slice_eq(buf_unread(&b), SLICE("left")));
    assert_int_equal(buf_keep(&b, buf_unread(&b), 0), 0);
    assert_true(slice_eq(buf_unread(&b), SLICE("left")));
    assert_int_equal(buf_keep(&b, buf_unread(&b), 4), 0);
    assert_null(b.data);
    assert_int_equal(buf_keep(&b, SLICE("too much for it"), 3), -ENOBUFS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_empty_and_without_memory),
        cmocka_unit_test(appends_and_consumes),
        cmocka_unit_test(takes_bytes_at_its_tail),
        cmocka_unit_test(never_exceeds_its_maximum),
        cmocka_unit_test(a_failed_append_changes_nothing),
        cmocka_unit_test(prints_what_does_not_fit_yet),
        cmocka_unit_test(random_use_keeps_the_order),
        cmocka_unit_test(moving_is_rare),
        cmocka_unit_test(keeps_what_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
