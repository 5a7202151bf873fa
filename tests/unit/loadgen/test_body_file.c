/* SPDX-License-Identifier: MIT */
/* Bodies from files: from any place on they are what the encoder of chunks writes. */
#include "http/encode.h"
#include "loadgen/body_file.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/srv-test-body-XXXXXX";

static void fill(size_t size) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (size_t i = 0; i < size; i++)
        putc((int)('a' + i % 23), file);
    assert_int_equal(fclose(file), 0);
}

static void test_every_place_goes_on_to_the_end(void **state) {
    (void)state;
    static const size_t sizes[] = { 0, 1, 15, 16, 65535, 65536, 65537, 200000, 131072 };
    static char room[BODY_PIECE_BYTES], plain[200000];
    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (char)('a' + i % 23);
    for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++)
        for (int chunked = 0; chunked < 2; chunked++) {
            struct body_file b;
            struct error err;
            struct buf wire;
            fill(sizes[k]);
            buf_init(&wire, 1 << 20);
            struct slice rest = slice_of(plain, sizes[k]);
            while (chunked && rest.len > 0) {
                assert_int_equal(http_encode_chunk(&wire, slice_take(rest, BODY_CHUNK_BYTES)), 0);
                rest = slice_drop(rest, BODY_CHUNK_BYTES);
            }
            int rc = chunked ? http_encode_chunk(&wire, SLICE("")) : buf_append(&wire, rest);
            assert_int_equal(rc, 0);
            struct slice all = buf_unread(&wire);
            assert_int_equal(body_file_open(&b, path, chunked, &err), 0);
            assert_int_equal(b.wire_bytes, all.len);
            for (uint64_t at = 0; at < all.len; at += at < 40 || at % 65545 < 20 ? 1 : 61) {
                ssize_t n = body_file_read(&b, at, room);
                assert_true(n > 0 && (uint64_t)n <= all.len - at && n <= BODY_PIECE_BYTES);
                assert_memory_equal(room, all.ptr + at, (size_t)n);
            }
            body_file_close(&b);
            buf_free(&wire);
        }
}

static void test_a_file_that_shrinks_is_told(void **state) {
    (void)state;
    static char room[BODY_PIECE_BYTES];
    struct body_file b;
    struct error err;
    fill(1000);
    assert_int_equal(body_file_open(&b, path, true, &err), 0);
    assert_int_equal(truncate(path, 100), 0);
    assert_true(body_file_read(&b, 500, room) == -ENODATA);
    body_file_close(&b);
    assert_true(body_file_open(&b, "/dev/null", false, &err) < 0);
    assert_true(body_file_open(&b, "/no/such", false, &err) < 0);
}

int main(void) {
    int fd = mkstemp(path);
    if (fd < 0 || close(fd) != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_place_goes_on_to_the_end),
        cmocka_unit_test(test_a_file_that_shrinks_is_told),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
