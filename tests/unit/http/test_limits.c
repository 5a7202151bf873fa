/* SPDX-License-Identifier: MIT */
/* Each limit, right at it and one above, however the bytes arrive. */
#include "http/error.h"
#include "http/limits.h"
#include "tests/unit/http/drive.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct http_limits limits = {
    .start_line_bytes = 40,
    .field_bytes = 30,
    .fields = 4,
    .head_bytes = 120,
    .chunk_ext_bytes = 8,
    .body_bytes = 16,
};

#define GET     "GET / HTTP/1.1\r\n"
#define TWENTY  "01234567890123456789"
#define CHUNKED "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
#define LENGTH  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: "
#define OK      "HTTP/1.1 200 OK\r\n"

struct row {
    struct slice at_limit, above;
    const char *why;
};

#define ROW(name, at_limit, above) \
    { { at_limit, sizeof(at_limit) - 1 }, { above, sizeof(above) - 1 }, http_err_##name }

static const struct row requests[] = {
    ROW(target_long, "GET /" TWENTY "012345 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /" TWENTY "0123456 HTTP/1.1\r\n"),
    ROW(target_long, "GET /" TWENTY "012345 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /" TWENTY TWENTY),
    ROW(method, TWENTY "012345 / HTTP/1.1\r\nHost: a\r\n\r\n", TWENTY TWENTY "01"),
    ROW(field_long, GET "Host: a\r\nX: " TWENTY "0123456\r\n\r\n",
        GET "Host: a\r\nX: " TWENTY "01234567\r\n"),
    ROW(fields_many, GET "Host: a\r\nA:\r\nB:\r\nC:\r\n\r\n",
        GET "Host: a\r\nA:\r\nB:\r\nC:\r\nD:\r\n\r\n"),
    /* 16 + 9 + 31 + 31 + 31 + 2 */
    ROW(head_large,
        GET "Host: a\r\nA: 45678901234567890123456789\r\nA: 45678901234567890123456789\r\nA: "
            "45678901234567890123456789\r\n\r\n",
        GET "Host: a\r\nA: 45678901234567890123456789\r\nA: 45678901234567890123456789\r\nA: "
            "45678901234567890123456789 \r\n\r\n"),
    ROW(head_large, GET "Host: a\r\n\r\n", GET "Host: a\r\nX: " TWENTY TWENTY TWENTY TWENTY TWENTY),
    ROW(body_large, LENGTH "16\r\n\r\n0123456789abcdef", LENGTH "17\r\n\r\n0123456789abcdefg"),
    ROW(body_large, CHUNKED "10\r\n0123456789abcdef\r\n0\r\n\r\n", CHUNKED "11\r\n"),
    ROW(body_large, CHUNKED "8\r\n01234567\r\n8\r\n01234567\r\n0\r\n\r\n",
        CHUNKED "8\r\n01234567\r\n9\r\n"),
    ROW(chunk_ext_large, CHUNKED "1;abcdefg\r\na\r\n0\r\n\r\n",
        CHUNKED "1;abcdefgh\r\na\r\n0\r\n\r\n"),
    ROW(chunk_ext_large, CHUNKED "1;ab\r\na\r\n1;abcd\r\na\r\n0\r\n\r\n",
        CHUNKED "1;ab\r\na\r\n1;abcd\r\na\r\n0;\r\n\r\n"),
    ROW(chunk_ext_large, CHUNKED "0\r\nabc: def\r\n\r\n", CHUNKED "0\r\nabc: defg\r\n\r\n"),
    ROW(chunk_ext_large, CHUNKED "0\r\na: 1\r\nb: 2\r\n\r\n",
        CHUNKED "0\r\na: 1\r\nb: 2\r\nc:\r\n\r\n"),
    ROW(request_line, "\r\n\r\n\r\n\r\n" GET "Host: a\r\n\r\n",
        "\r\n\r\n\r\n\r\n\r\n" GET "Host: a\r\n\r\n"),
};

static const struct row responses[] = {
    ROW(status_line, "HTTP/1.1 200 " TWENTY "0123456\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 " TWENTY "01234567\r\n"),
    ROW(body_large, OK "\r\n0123456789abcdef", OK "\r\n0123456789abcdefg"),
    ROW(body_large, OK "Content-Length: 16\r\n\r\n0123456789abcdef",
        OK "Content-Length: 17\r\n\r\n"),
};

static void check(struct drive *d, struct slice input, const char *why) {
    const struct slice splits[] = { SLICE(""), SLICE("\0"), SLICE("\1"), SLICE("\12\3") };
    char first[sizeof(d->text)] = "";
    for (size_t s = 0; s < ARRAY_LEN(splits); s++) {
        d->steps = splits[s];
        drive_run(d, input);
        if (d->why != why)
            fail_msg("%s\ngave '%s', expected '%s'", input.ptr, d->why != NULL ? d->why : "none",
                     why != NULL ? why : "none");
        if (s == 0)
            memcpy(first, d->text, sizeof(first));
        assert_string_equal(d->text, first);
    }
}

static void requests_at_a_limit_pass_and_above_fail(void **state) {
    (void)state;
    struct drive d = { .role = HTTP_SERVER, .limits = &limits };
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        check(&d, requests[i].at_limit, NULL);
        check(&d, requests[i].above, requests[i].why);
    }
}

static void responses_at_a_limit_pass_and_above_fail(void **state) {
    (void)state;
    static const char methods[] = { HTTP_METHOD_GET };
    struct drive d = { .role = HTTP_CLIENT, .limits = &limits, .methods = slice_of(methods, 1) };
    for (size_t i = 0; i < ARRAY_LEN(responses); i++) {
        check(&d, responses[i].at_limit, NULL);
        check(&d, responses[i].above, responses[i].why);
    }
}

/* The default takes what RFC 9112 section 3 recommends. */
static void a_target_of_8000_bytes_is_served_by_default(void **state) {
    (void)state;
    static const struct http_limits defaults = HTTP_LIMITS_DEFAULT;
    static char input[9000] = "GET /";
    memset(input + 5, 'x', 8000);
    strcpy(input + 8005, " HTTP/1.1\r\nHost: a\r\n\r\n");
    struct drive d = { .role = HTTP_SERVER, .limits = &defaults };
    check(&d, slice_str(input), NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_at_a_limit_pass_and_above_fail),
        cmocka_unit_test(responses_at_a_limit_pass_and_above_fail),
        cmocka_unit_test(a_target_of_8000_bytes_is_served_by_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
