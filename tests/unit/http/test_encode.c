/* SPDX-License-Identifier: MIT */
/* What is written: exact bytes, what is refused, and that the parser takes it back. */
#include "http/conn.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct http_limits limits = HTTP_LIMITS_DEFAULT;

static void expect_bytes(struct buf *out, const char *want) {
    struct slice got = buf_unread(out);
    if (!slice_eq(got, slice_str(want)))
        fail_msg("got:\n%.*s\nexpected:\n%s", (int)got.len, got.ptr, want);
    buf_consume(out, got.len);
}

static void requests_are_written_in_order(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, 4096);
    const struct http_field fields[] = { { SLICE("Accept"), SLICE("*/*") },
                                         { SLICE("X"), SLICE("") } };
    struct http_request_head head = { .target = SLICE("/?delay=0"),
                                      .host = SLICE("a:80"),
                                      .version_minor = 1 };
    assert_int_equal(http_encode_request(&out, &head), 0);
    expect_bytes(&out, "GET /?delay=0 HTTP/1.1\r\nHost: a:80\r\n\r\n");

    head = (struct http_request_head){ .method = HTTP_METHOD_POST,
                                       .target = SLICE("*"),
                                       .fields = fields,
                                       .field_count = 2,
                                       .has_content_length = true,
                                       .content_length = UINT64_MAX,
                                       .keep_alive = true };
    assert_int_equal(http_encode_request(&out, &head), 0);
    expect_bytes(&out,
                 "POST * HTTP/1.0\r\nAccept: */*\r\nX: \r\nContent-Length: 18446744073709551615\r\n"
                 "Connection: keep-alive\r\n\r\n");

    head = (struct http_request_head){ .method_text = SLICE("BREW"),
                                       .target = SLICE("/"),
                                       .chunked = true,
                                       .close = true,
                                       .version_minor = 1 };
    assert_int_equal(http_encode_request(&out, &head), 0);
    expect_bytes(&out,
                 "BREW / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
    buf_free(&out);
}

static void responses_are_written_in_order(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, 4096);
    const struct http_field fields[] = { { SLICE("Retry-After"), SLICE("1") } };
    struct http_response_head head = { .status = 503,
                                       .date = SLICE("now"),
                                       .content_type = SLICE("text/plain"),
                                       .fields = fields,
                                       .field_count = 1,
                                       .has_content_length = true,
                                       .version_minor = 1,
                                       .close = true };
    assert_int_equal(http_encode_response(&out, &head), 0);
    expect_bytes(&out, "HTTP/1.1 503 Service Unavailable\r\nDate: now\r\nContent-Type: "
                       "text/plain\r\nContent-Length: 0\r\n"
                       "Connection: close\r\nRetry-After: 1\r\n\r\n");
    head = (struct http_response_head){ .status = 299, .reason = SLICE("Odd one") };
    assert_int_equal(http_encode_response(&out, &head), 0);
    expect_bytes(&out, "HTTP/1.0 299 Odd one\r\n\r\n");
    buf_free(&out);
}

static void nothing_can_be_smuggled_into_a_head(void **state) {
    (void)state;
    static const char *const values[] = { "a\r\nb", "a\nb", "a\rb", "\x7f" };
    static const char *const names[] = { "", "a b", "a:", "a\r\nb", "\xc3\xa9" };
    static const char *const targets[] = { "", "/ HTTP/1.1\r\nX: y", "/a b", "/a\tb" };
    struct buf out;
    buf_init(&out, 4096);
    struct http_field field = { SLICE("X"), SLICE("y") };
    struct http_request_head request = { .target = SLICE("/"), .fields = &field, .field_count = 1 };
    struct http_response_head response = { .status = 200, .fields = &field, .field_count = 1 };
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        field.value = request.host = response.reason = slice_str(values[i]);
        assert_int_equal(http_encode_request(&out, &request), -EINVAL);
        assert_int_equal(http_encode_response(&out, &response), -EINVAL);
        field.value = SLICE("y");
        assert_int_equal(http_encode_request(&out, &request), -EINVAL);
        assert_int_equal(http_encode_response(&out, &response), -EINVAL);
    }
    request.host = response.reason = SLICE("");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        field.name = slice_str(names[i]);
        assert_int_equal(http_encode_request(&out, &request), -EINVAL);
        assert_int_equal(http_encode_response(&out, &response), -EINVAL);
    }
    field.name = SLICE("X");
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        request.target = slice_str(targets[i]);
        assert_int_equal(http_encode_request(&out, &request), -EINVAL);
    }
    field.value = (struct slice){ "a\0b", 3 };
    assert_int_equal(http_encode_response(&out, &response), -EINVAL);
    assert_int_equal(buf_unread(&out).len, 0);
    buf_free(&out);
}

static void two_framings_and_odd_statuses_are_refused(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, 4096);
    const struct http_request_head request = { .target = SLICE("/"),
                                               .has_content_length = true,
                                               .chunked = true };
    const struct http_response_head two = { .status = 200,
                                            .has_content_length = true,
                                            .chunked = true };
    const struct http_response_head low = { .status = 99 }, high = { .status = 1000 };
    assert_int_equal(http_encode_request(&out, &request), -EINVAL);
    assert_int_equal(http_encode_response(&out, &two), -EINVAL);
    assert_int_equal(http_encode_response(&out, &low), -EINVAL);
    assert_int_equal(http_encode_response(&out, &high), -EINVAL);
    buf_free(&out);
}

static void a_full_buffer_is_an_error_and_stays_as_it_was(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, 64);
    const struct http_response_head head = { .status = 200 };
    assert_int_equal(http_encode_response(&out, &head), -ENOBUFS);
    assert_int_equal(
        http_encode_chunk(
            &out, SLICE("0123456789012345678901234567890123456789012345678901234567890123")),
        -ENOBUFS);
    assert_int_equal(buf_unread(&out).len, 0);
    buf_free(&out);
}

static void chunks_have_hex_sizes(void **state) {
    (void)state;
    static const char zeros[300] = { 0 };
    struct buf out;
    buf_init(&out, 4096);
    assert_int_equal(http_encode_chunk(&out, SLICE("hello world")), 0);
    assert_int_equal(http_encode_chunk(&out, SLICE("")), 0);
    expect_bytes(&out, "b\r\nhello world\r\n0\r\n\r\n");
    assert_int_equal(http_encode_chunk(&out, slice_of(zeros, sizeof(zeros))), 0);
    assert_true(slice_starts_with(buf_unread(&out), SLICE("12c\r\n")));
    assert_int_equal(buf_unread(&out).len, 300 + 7);
    buf_free(&out);
}

static void the_parser_takes_requests_back(void **state) {
    (void)state;
    struct buf out;
    struct http_head parsed;
    struct slice value;
    buf_init(&out, 4096);
    const struct http_field fields[] = { { SLICE("X-A"), SLICE("b\tc \xff") } };
    for (int m = 0; m < HTTP_METHOD_CONNECT; m++) {
        const struct http_request_head head = { .method = (enum http_method)m,
                                                .target = SLICE("/x?y"),
                                                .host = SLICE("h:1"),
                                                .fields = fields,
                                                .field_count = 1,
                                                .has_content_length = true,
                                                .content_length = (uint64_t)m,
                                                .version_minor = m & 1,
                                                .close = true };
        assert_int_equal(http_encode_request(&out, &head), 0);
        struct http_parse parse = http_parse_request(buf_unread(&out), 0, &limits, &parsed);
        assert_int_equal(parse.kind, HTTP_PARSE_DONE);
        assert_int_equal(parse.used, buf_unread(&out).len);
        assert_int_equal(parsed.method, m);
        assert_int_equal(parsed.version_minor, m & 1);
        assert_int_equal(parsed.content_length, m);
        assert_true(parsed.says_close && slice_eq(parsed.host, SLICE("h:1")) &&
                    slice_eq(parsed.target, SLICE("/x?y")));
        assert_true(http_field_find(&parsed, SLICE("x-a"), &value) &&
                    slice_eq(value, fields[0].value));
        buf_consume(&out, parse.used);
    }
    buf_free(&out);
}

static void the_parser_takes_responses_back(void **state) {
    (void)state;
    struct buf out;
    struct http_head parsed;
    buf_init(&out, 4096);
    for (uint16_t status = 100; status <= 999; status++) {
        struct http_response_head head = {
            .status = status, .date = http_date_now(), .chunked = true, .version_minor = 1
        };
        assert_int_equal(http_encode_response(&out, &head), 0);
        struct http_parse parse = http_parse_response(buf_unread(&out), 0, &limits, &parsed);
        assert_int_equal(parse.kind, HTTP_PARSE_DONE);
        assert_int_equal(parse.used, buf_unread(&out).len);
        assert_int_equal(parsed.status, status);
        assert_true(slice_eq(parsed.reason, slice_str(http_status_reason(status))));
        assert_int_equal(parsed.framing, HTTP_FRAMING_CHUNKED);
        buf_consume(&out, parse.used);
    }
    buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_written_in_order),
        cmocka_unit_test(responses_are_written_in_order),
        cmocka_unit_test(nothing_can_be_smuggled_into_a_head),
        cmocka_unit_test(two_framings_and_odd_statuses_are_refused),
        cmocka_unit_test(a_full_buffer_is_an_error_and_stays_as_it_was),
        cmocka_unit_test(chunks_have_hex_sizes),
        cmocka_unit_test(the_parser_takes_requests_back),
        cmocka_unit_test(the_parser_takes_responses_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
