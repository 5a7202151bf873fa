/* SPDX-License-Identifier: MIT */
/* The body decoder by itself: steps, what it leaves, and what it points to. */
#include "http/body.h"
#include "http/error.h"
#include "tests/unit/http/guarded.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct http_limits limits = HTTP_LIMITS_DEFAULT;

/* Decodes `input`, arriving in pieces of `piece` bytes, to `out`. Returns the last step and how
 * much was used in all. */
static struct http_body_step decode(struct http_body *b, struct slice input, size_t piece,
                                    char *out, size_t *ret_used) {
    struct guarded page = guarded_make(input.len);
    struct http_body_step step = { .kind = HTTP_BODY_MORE };
    size_t used = 0, arrived = 0;
    do {
        if (step.kind == HTTP_BODY_MORE)
            arrived = arrived + piece < input.len ? arrived + piece : input.len;
        struct slice unread = guarded_at_end(&page, slice_of(input.ptr + used, arrived - used));
        step = http_body_next(b, unread, arrived == input.len, &limits);
        assert_true(step.used <= unread.len);
        assert_true(step.kind != HTTP_BODY_MORE || step.used == unread.len);
        used += step.used;
        if (step.kind == HTTP_BODY_DATA) {
            assert_true(step.data.ptr >= unread.ptr &&
                        step.data.ptr + step.data.len == unread.ptr + step.used);
            memcpy(out, step.data.ptr, step.data.len);
            out += step.data.len;
        }
    } while (step.kind == HTTP_BODY_MORE || step.kind == HTTP_BODY_DATA);
    *out = '\0';
    *ret_used = used;
    guarded_free(&page);
    return step;
}

struct row {
    enum http_framing framing;
    uint64_t length;
    const char *input, *body;
    size_t left;
    const char *why;
};

static const struct row rows[] = {
    { HTTP_FRAMING_NONE, 0, "next", "", 4, NULL },
    { HTTP_FRAMING_LENGTH, 0, "next", "", 4, NULL },
    { HTTP_FRAMING_LENGTH, 5, "hellonext", "hello", 4, NULL },
    { HTTP_FRAMING_LENGTH, 5, "hell", "hell", 0, http_err_truncated },
    { HTTP_FRAMING_CLOSE, 0, "all", "all", 0, NULL },
    { HTTP_FRAMING_CLOSE, 0, "", "", 0, NULL },
    { HTTP_FRAMING_CHUNKED, 0, "0\r\n\r\nnext", "", 4, NULL },
    { HTTP_FRAMING_CHUNKED, 0, "A\r\n0123456789\r\na;x\r\n0123456789\r\n00\r\n\r\n\r\n",
      "01234567890123456789", 2, NULL },
    { HTTP_FRAMING_CHUNKED, 0, "0000000000000003\r\nabc\r\n0\r\nX: y\r\nZ:\r\n\r\n", "abc", 0,
      NULL },
    { HTTP_FRAMING_CHUNKED, 0, "1 ; a = \"q;\\\"\" ;\tb\r\nx\r\n0\r\n\r\n", "x", 0, NULL },
    { HTTP_FRAMING_CHUNKED, 0, "3\r\nab", "ab", 0, http_err_truncated },
    { HTTP_FRAMING_CHUNKED, 0, "3\r\nabc\r\n", "abc", 0, http_err_truncated },
    { HTTP_FRAMING_CHUNKED, 0, "1\r\naX", "a", 1, http_err_chunk_end },
};

static void bodies_are_decoded_in_any_pieces(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t piece = 1; piece < 64; piece++) {
            struct http_body b;
            char out[64];
            size_t used;
            http_body_init(&b, rows[i].framing, rows[i].length);
            struct http_body_step step = decode(&b, slice_str(rows[i].input), piece, out, &used);
            assert_int_equal(step.kind, rows[i].why == NULL ? HTTP_BODY_DONE : HTTP_BODY_BAD);
            assert_ptr_equal(step.why, rows[i].why);
            assert_string_equal(out, rows[i].body);
            assert_int_equal(used, strlen(rows[i].input) - rows[i].left);
            assert_int_equal(b.decoded, strlen(rows[i].body));
        }
    }
}

static void the_decoder_is_small(void **state) {
    (void)state;
    assert_true(sizeof(struct http_body) <= 24);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_are_decoded_in_any_pieces),
        cmocka_unit_test(the_decoder_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
