/* SPDX-License-Identifier: MIT */
/* Content codings: which one is chosen, and that what was coded can be read. */
#include "http/coding.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include <cmocka.h>

static enum http_coding choice_of(const char *lines) {
    const struct http_limits limits = HTTP_LIMITS_DEFAULT;
    struct http_head head;
    char text[512];

    snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: x\r\n%s\r\n", lines);
    assert_int_equal(http_parse_request(slice_str(text), 0, &limits, &head).kind, HTTP_PARSE_DONE);
    return http_coding_choose(&head);
}

static void the_greatest_weight_is_chosen(void **state) {
    static const struct {
        const char *lines;
        enum http_coding coding;
    } cases[] = {
        { "", HTTP_CODING_IDENTITY },
        { "Accept-Encoding:\r\n", HTTP_CODING_IDENTITY },
        { "Accept-Encoding: gzip\r\n", HTTP_CODING_GZIP },
        { "Accept-Encoding: x-gzip\r\n", HTTP_CODING_GZIP },
        { "Accept-Encoding: GZip\r\n", HTTP_CODING_GZIP },
        { "Accept-Encoding: gzip, deflate, br\r\n", HTTP_CODING_BR },
        { "Accept-Encoding: gzip, deflate\r\n", HTTP_CODING_GZIP },
        { "Accept-Encoding: deflate\r\n", HTTP_CODING_DEFLATE },
        { "Accept-Encoding: br;q=0.1, gzip;q=0.2\r\n", HTTP_CODING_GZIP },
        { "Accept-Encoding: br; Q=0.1 , gzip ; q = 0.05\r\n", HTTP_CODING_BR },
        { "Accept-Encoding: br;q=0, gzip;q=0.001\r\n", HTTP_CODING_GZIP },
        { "Accept-Encoding: gzip;q=0\r\n", HTTP_CODING_IDENTITY },
        { "Accept-Encoding: gzip;q=2\r\n", HTTP_CODING_IDENTITY },
        { "Accept-Encoding: gzip;q=abc\r\n", HTTP_CODING_IDENTITY },
        { "Accept-Encoding: *\r\n", HTTP_CODING_BR },
        { "Accept-Encoding: *;q=0.5, br;q=0\r\n", HTTP_CODING_GZIP },
        { "Accept-Encoding: *;q=0\r\n", HTTP_CODING_IDENTITY },
        { "Accept-Encoding: identity, gzip;q=0.9\r\n", HTTP_CODING_IDENTITY },
        { "Accept-Encoding: identity;q=0.5, gzip\r\n", HTTP_CODING_GZIP },
        { "Accept-Encoding: zstd, compress\r\n", HTTP_CODING_IDENTITY },
        { "Accept-Encoding: zstd\r\nAccept-Encoding: deflate\r\n", HTTP_CODING_DEFLATE },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (choice_of(cases[i].lines) != cases[i].coding)
            fail_msg("%s", cases[i].lines);
}

static void names_lead_to_codings_and_back(void **state) {
    enum http_coding coding;

    (void)state;
    for (enum http_coding i = HTTP_CODING_IDENTITY; i <= HTTP_CODING_BR; i++)
        assert_true(http_coding_find(http_coding_name(i), &coding) && coding == i);
    assert_false(http_coding_find(SLICE("zstd"), &coding));
}

static void coded_text_is_read_by_zlib(void **state) {
    static char plain[300000], read[sizeof(plain)];
    struct buf out;

    (void)state;
    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (char)(i * i % 251);
    for (size_t size = 0; size <= sizeof(plain); size = size * 7 + 1) {
        for (enum http_coding coding = HTTP_CODING_GZIP; coding <= HTTP_CODING_DEFLATE; coding++) {
            buf_init(&out, 1u << 20);
            assert_int_equal(http_coding_append(coding, slice_of(plain, size), &out), 0);
            z_stream stream = { .next_in = (Bytef *)out.data,
                                .avail_in = (uInt)buf_unread(&out).len,
                                .next_out = (Bytef *)read,
                                .avail_out = sizeof(read) };
            /* 32: gzip's wrapping or zlib's, as it is there */
            assert_int_equal(inflateInit2(&stream, MAX_WBITS + 32), Z_OK);
            assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
            assert_int_equal(stream.total_out, size);
            assert_memory_equal(read, plain, size);
            inflateEnd(&stream);
            buf_free(&out);
        }
    }
}

/* Decodes in pieces of `step`, into a room that small. -EINVAL, or whether it was complete. */
static int decode(enum http_coding coding, struct slice coded, size_t step, struct buf *out) {
    struct http_decoder d = { .state = NULL };
    char room[7];
    int rc = http_decoder_begin(&d, coding);
    assert_int_equal(rc, 0);
    while (coded.len > 0 && rc >= 0) {
        struct slice piece = slice_take(coded, step), plain;
        coded = slice_drop(coded, step);
        while ((rc = http_decoder_next(&d, &piece, room, sizeof(room), &plain)) > 0)
            assert_int_equal(buf_append(out, plain), 0);
    }
    if (rc == 0)
        rc = http_decoder_is_done(&d);
    http_decoder_end(&d);
    http_decoder_end(&d);
    return rc;
}

static void what_was_coded_is_decoded(void **state) {
    static const size_t steps[] = { 1, 2, 13, 100000 };
    char plain[3000];
    struct buf coded, out;

    (void)state;
    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (char)(i * i % 251);
    for (enum http_coding coding = HTTP_CODING_GZIP; coding <= HTTP_CODING_BR; coding++)
        for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
            buf_init(&coded, 1u << 20);
            buf_init(&out, 1u << 20);
            assert_int_equal(http_coding_append(coding, slice_of(plain, sizeof(plain)), &coded), 0);
            struct slice whole = buf_unread(&coded);
            assert_int_equal(decode(coding, whole, steps[i], &out), 1);
            assert_int_equal(buf_unread(&out).len, sizeof(plain));
            assert_memory_equal(buf_unread(&out).ptr, plain, sizeof(plain));
            assert_int_equal(decode(coding, slice_take(whole, whole.len - 1), steps[i], &out), 0);
            buf_free(&coded);
            buf_free(&out);
        }
}

static void what_is_not_coded_so_is_told(void **state) {
    struct buf coded, out;

    (void)state;
    buf_init(&coded, 1u << 20);
    buf_init(&out, 1u << 20);
    for (enum http_coding coding = HTTP_CODING_GZIP; coding <= HTTP_CODING_BR; coding++) {
        assert_int_equal(decode(coding, SLICE("plain text, this is"), 3, &out), -EINVAL);
        assert_int_equal(decode(coding, SLICE(""), 3, &out), 1); /* the answer had no body */
        buf_consume(&coded, buf_unread(&coded).len);
        assert_int_equal(http_coding_append(coding, SLICE("text"), &coded), 0);
        assert_int_equal(buf_append(&coded, SLICE("more")), 0);
        assert_int_equal(decode(coding, buf_unread(&coded), 100, &out), -EINVAL);
    }
    buf_free(&coded);
    buf_free(&out);
}

/* Servers send `deflate` without zlib's wrapping, too; and a body of gzip may have two members. */
static void other_forms_are_decoded_too(void **state) {
    Bytef bare[100];
    z_stream stream = { .next_in = (Bytef *)(uintptr_t) "a bare text",
                        .avail_in = 11,
                        .next_out = bare,
                        .avail_out = sizeof(bare) };
    struct buf coded, out;

    (void)state;
    buf_init(&coded, 1u << 20);
    buf_init(&out, 1u << 20);
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    struct slice whole = slice_of((const char *)bare, stream.total_out);
    deflateEnd(&stream);
    assert_int_equal(decode(HTTP_CODING_DEFLATE, whole, 1, &out), 1);
    assert_true(slice_eq(buf_unread(&out), SLICE("a bare text")));

    buf_consume(&out, buf_unread(&out).len);
    assert_int_equal(http_coding_append(HTTP_CODING_GZIP, SLICE("one, "), &coded), 0);
    assert_int_equal(http_coding_append(HTTP_CODING_GZIP, SLICE("two"), &coded), 0);
    assert_int_equal(decode(HTTP_CODING_GZIP, buf_unread(&coded), 5, &out), 1);
    assert_true(slice_eq(buf_unread(&out), SLICE("one, two")));
    buf_free(&coded);
    buf_free(&out);
}

static void what_does_not_fit_is_told(void **state) {
    struct buf out;

    (void)state;
    for (enum http_coding coding = HTTP_CODING_IDENTITY; coding <= HTTP_CODING_BR; coding++) {
        buf_init(&out, 4);
        assert_int_equal(http_coding_append(coding, SLICE("longer than four"), &out), -ENOBUFS);
        buf_free(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_greatest_weight_is_chosen),
        cmocka_unit_test(names_lead_to_codings_and_back),
        cmocka_unit_test(coded_text_is_read_by_zlib),
        cmocka_unit_test(what_was_coded_is_decoded),
        cmocka_unit_test(what_is_not_coded_so_is_told),
        cmocka_unit_test(other_forms_are_decoded_too),
        cmocka_unit_test(what_does_not_fit_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
