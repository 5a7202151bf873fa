/* SPDX-License-Identifier: MIT */
/* What must be refused, and why. Each case all at once, byte by byte, and flush against unreadable
 * pages. */
#include "http/error.h"
#include "tests/unit/http/drive.h"
#include "tests/unit/http/guarded.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const struct http_limits server_limits = HTTP_LIMITS_DEFAULT;
static const struct http_limits client_limits = HTTP_LIMITS_RESPONSE;

struct row {
    struct slice input;
    const char *why;
};

#define ROW(name, text) \
    { { text, sizeof(text) - 1 }, http_err_##name }
#define GET     "GET / HTTP/1.1\r\n"
#define HOST    "Host: a\r\n"
#define END     "\r\n"
#define POST    "POST / HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

static const struct row request_lines[] = {
    ROW(method, " GET / HTTP/1.1\r\n" HOST END),
    ROW(method, "G@T / HTTP/1.1\r\n" HOST END),
    ROW(method, "G\x80T / HTTP/1.1\r\n" HOST END),
    ROW(method, "(GET) / HTTP/1.1\r\n" HOST END),
    ROW(method, "\x16\x03\x01"),
    ROW(method, "GET\t/ HTTP/1.1\r\n" HOST END),
    ROW(method, "GET\0/ HTTP/1.1\r\n" HOST END),
    ROW(request_line, "GET\r\n" HOST END),
    ROW(request_line, "GET /\r\n" HOST END),
    ROW(request_line, "GET / \r\n" HOST END),
    ROW(request_line, "GET  / HTTP/1.1\r\n" HOST END),
    ROW(request_line, "GET /  HTTP/1.1\r\n" HOST END),
    ROW(request_line, "GET / HTTP/1.1 \r\n" HOST END),
    ROW(request_line, "GET /a b HTTP/1.1\r\n" HOST END),
    ROW(request_line, "GET  HTTP/1.1\r\n" HOST END),
    ROW(target, "GET /a\tb HTTP/1.1\r\n" HOST END),
    ROW(target, "GET /a\0b HTTP/1.1\r\n" HOST END),
    ROW(target, "GET /\xc3\xa9 HTTP/1.1\r\n" HOST END),
    ROW(target, "GET /\x7f HTTP/1.1\r\n" HOST END),
    ROW(target, "GET /#top HTTP/1.1\r\n" HOST END),
    ROW(target, "GET a HTTP/1.1\r\n" HOST END),
    ROW(target, "GET a:80 HTTP/1.1\r\n" HOST END),
    ROW(target, "GET ?a HTTP/1.1\r\n" HOST END),
    ROW(target, "GET * HTTP/1.1\r\n" HOST END),
    ROW(target, "OPTIONS ** HTTP/1.1\r\n" HOST END),
    ROW(target, "GET http:///a HTTP/1.1\r\n" HOST END),
    ROW(target, "GET http://u@h/a HTTP/1.1\r\n" HOST END),
    ROW(target, "GET http://h:x/a HTTP/1.1\r\n" HOST END),
    ROW(target, "GET ftp://h/a HTTP/1.1\r\n" HOST END),
    ROW(target, "CONNECT / HTTP/1.1\r\n" HOST END),
    ROW(target, "CONNECT a HTTP/1.1\r\n" HOST END),
    ROW(target, "CONNECT http://a:80/ HTTP/1.1\r\n" HOST END),
    ROW(version, "GET / http/1.1\r\n" HOST END),
    ROW(version, "GET / HTTP/1.1x\r\n" HOST END),
    ROW(version, "GET / HTTP/1\r\n" HOST END),
    ROW(version, "GET / HTTP/11\r\n" HOST END),
    ROW(version, "GET / HTTP/1,1\r\n" HOST END),
    ROW(version, "GET / HTTP/a.1\r\n" HOST END),
    ROW(version, "GET / HTTP/1.a\r\n" HOST END),
    ROW(version, "GET / IHTTP/1.1\r\n" HOST END),
    ROW(version, "GET / HTTP/0.9\r\n" HOST END),
    ROW(version, "GET / HTTP/0.99\r\n" HOST END),
    ROW(version_unsupported, "GET / HTTP/2.0\r\n" HOST END),
    ROW(version_unsupported, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ROW(request_line, "\r\n\r\n\r\n\r\n\r\n" GET HOST END),
};

static const struct row lines[] = {
    ROW(line_end, "GET / HTTP/1.1\nHost: a\n\n"),
    ROW(line_end, "\n" GET HOST END),
    ROW(line_end, "\r" GET HOST END),
    ROW(line_end, "GET / HTTP/1.1\r" HOST END),
    ROW(line_end, "GET /\r HTTP/1.1\r\n" HOST END),
    ROW(line_end, GET "Host: a\n\r\n"),
    ROW(line_end, GET "Host: a\rX: b\r\n\r\n"),
    ROW(line_end, GET "Host: a\r\r\n\r\n"),
    ROW(line_end, GET HOST "Ho\rst: b\r\n\r\n"),
    ROW(line_end, GET HOST "\n"),
    ROW(line_end, GET HOST "\rX\r\n"),
    ROW(line_end, GET HOST "X\n"),
    ROW(field_space, GET "Host : a\r\n\r\n"),
    ROW(field_space, GET "Host\t: a\r\n\r\n"),
    ROW(field_space, GET HOST "X y: b\r\n\r\n"),
    ROW(field_space, GET " Host: a\r\n\r\n"),
    ROW(field_space, GET "\tHost: a\r\n\r\n"),
    ROW(field_space, GET " \r\n" HOST END),
    ROW(field_fold, GET HOST " b\r\n\r\n"),
    ROW(field_fold, GET HOST "\tb\r\n\r\n"),
    ROW(field_fold, GET HOST "X: a\r\n \r\n\r\n"),
    ROW(field_name, GET HOST ": b\r\n\r\n"),
    ROW(field_name, GET HOST "novalue\r\n\r\n"),
    ROW(field_name, GET HOST "X@: b\r\n\r\n"),
    ROW(field_name, GET HOST "X\x0b: b\r\n\r\n"),
    ROW(field_name, GET HOST "X\xa0: b\r\n\r\n"),
    ROW(field_name, GET HOST "X\0: b\r\n\r\n"),
    ROW(field_name, GET HOST "\xc3\xa9: b\r\n\r\n"),
    ROW(field_name, GET HOST "X\"y\": b\r\n\r\n"),
    ROW(field_value, GET HOST "X: a\0b\r\n\r\n"),
    ROW(field_value, GET HOST "X: a\x01"
                              "b\r\n\r\n"),
    ROW(field_value, GET HOST "X: a\x08\r\n\r\n"),
    ROW(field_value, GET HOST "X: \x0b\r\n\r\n"),
    ROW(field_value, GET HOST "X: 0123456789abcdef0123456789abcdef\x7f\r\n\r\n"),
};

static const struct row fields[] = {
    ROW(host_missing, GET END),
    ROW(host_missing, GET "Hos: a\r\n\r\n"),
    ROW(host_missing, "GET http://a/ HTTP/1.1\r\n\r\n"),
    ROW(host_many, GET HOST HOST END),
    ROW(host_many, GET HOST "hOST: b\r\n\r\n"),
    ROW(host_many, "GET / HTTP/1.0\r\n" HOST HOST END),
    ROW(field_twice, GET HOST "Content-Type: a/b\r\nContent-Type: a/b\r\n\r\n"),
    ROW(field_twice, GET HOST "User-Agent: a\r\nX: y\r\nuser-agent:\r\n\r\n"),
    ROW(field_twice, "GET / HTTP/1.0\r\nRange: a\r\nrANGE: a\r\n\r\n"),
    ROW(host, GET "Host:\r\n\r\n"),
    ROW(host, GET "Host: a,b\r\n\r\n"),
    ROW(host, GET "Host: a b\r\n\r\n"),
    ROW(host, GET "Host: u@a\r\n\r\n"),
    ROW(host, GET "Host: a/b\r\n\r\n"),
    ROW(host, GET "Host: http://a\r\n\r\n"),
    ROW(host, GET "Host: a:b\r\n\r\n"),
    ROW(host, GET "Host: a:65536\r\n\r\n"),
    ROW(host, GET "Host: [::1\r\n\r\n"),
    ROW(host, "GET / HTTP/1.0\r\nHost: a?\r\n\r\n"),
    ROW(length, POST "Content-Length: -1\r\n\r\n"),
    ROW(length, POST "Content-Length: +1\r\n\r\n"),
    ROW(length, POST "Content-Length: 0x1\r\n\r\n"),
    ROW(length, POST "Content-Length: 1_0\r\n\r\n"),
    ROW(length, POST "Content-Length: 1 0\r\n\r\n"),
    ROW(length, POST "Content-Length: 1,1\r\n\r\n"),
    ROW(length, POST "Content-Length: 1.0\r\n\r\n"),
    ROW(length, POST "Content-Length:\r\n\r\n"),
    ROW(length, POST "Content-Length: \xb2\r\n\r\n"),
    ROW(length, POST "Content-Length: 18446744073709551616\r\n\r\n"),
    ROW(length, POST "Content-Length: 99999999999999999999999999\r\n\r\n"),
    ROW(length_many, POST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n"),
    ROW(length_many, POST "Content-Length: 1\r\nContent-length: 2\r\n\r\n"),
    ROW(body_large, POST "Content-Length: 1048577\r\n\r\n"),
    ROW(body_large, POST "Content-Length: 18446744073709551615\r\n\r\n"),
    ROW(length_and_coding, POST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ROW(length_and_coding, POST "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"),
    ROW(coding_http10, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ROW(coding, POST "Transfer-Encoding:\r\n\r\n"),
    ROW(coding, POST "Transfer-Encoding: identity\r\n\r\n"),
    ROW(coding, POST "Transfer-Encoding: gzip\r\n\r\n"),
    ROW(coding, POST "Transfer-Encoding: chunked, gzip\r\n\r\n"),
    ROW(coding, POST "Transfer-Encoding: chunked, chunked\r\n\r\n"),
    ROW(coding, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ROW(coding, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n"),
    ROW(coding, POST "Transfer-Encoding: chunked,\r\n\r\n"),
    ROW(coding, POST "Transfer-Encoding: ,chunked\r\n\r\n"),
    ROW(coding, POST "Transfer-Encoding: chunked;a=b\r\n\r\n"),
    ROW(coding, POST "Transfer-Encoding: \"chunked\"\r\n\r\n"),
    ROW(coding, POST "Transfer-Encoding: xchunked\r\n\r\n"),
    ROW(coding, POST "Transfer-Encoding: chunkedchunked\r\n\r\n"),
    ROW(coding, POST "Transfer-Encoding: chunked gzip\r\n\r\n"),
    ROW(coding, POST "Transfer-Encoding: chunked\xa0\r\n\r\n"),
    ROW(coding, POST "Transfer-Encoding: g zip, chunked\r\n\r\n"),
    ROW(field_value, POST "Transfer-Encoding: \x0b"
                          "chunked\r\n\r\n"),
    ROW(coding_unknown, POST "Transfer-Encoding: gzip, chunked\r\n\r\n"),
    ROW(coding_unknown, POST "Transfer-Encoding: x;q=\"1\"\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ROW(expect, POST "Expect: 200-ok\r\n\r\n"),
    ROW(expect, POST "Expect: 100-continue, x\r\n\r\n"),
};

static const struct row chunks[] = {
    ROW(chunk_size, CHUNKED "\r\n"),
    ROW(chunk_size, CHUNKED "-1\r\n"),
    ROW(chunk_size, CHUNKED "+1\r\na\r\n"),
    ROW(chunk_size, CHUNKED "0x1\r\na\r\n"),
    ROW(chunk_size, CHUNKED "1_0\r\n"),
    ROW(chunk_size, CHUNKED " 1\r\na\r\n"),
    ROW(chunk_size, CHUNKED "g\r\n"),
    ROW(chunk_size, CHUNKED "1\na\r\n"),
    ROW(chunk_size, CHUNKED ";a\r\n"),
    ROW(chunk_size, CHUNKED "00000000000000001\r\n"),
    ROW(chunk_size, CHUNKED "10000000000000000\r\n"),
    ROW(body_large, CHUNKED "ffffffffffffffff\r\n"),
    ROW(body_large, CHUNKED "100001\r\n"),
    ROW(body_large, CHUNKED "1\r\na\r\n100000\r\n"),
    ROW(line_end, CHUNKED "1\ra\r\n"),
    ROW(line_end, CHUNKED "1;a\rb\r\n"),
    ROW(chunk_ext, CHUNKED "1 \r\na\r\n"),
    ROW(chunk_ext, CHUNKED "1 1\r\na\r\n"),
    ROW(chunk_ext, CHUNKED "1;\r\na\r\n"),
    ROW(chunk_ext, CHUNKED "1;;\r\na\r\n"),
    ROW(chunk_ext, CHUNKED "1;=b\r\na\r\n"),
    ROW(chunk_ext, CHUNKED "1;a=\r\na\r\n"),
    ROW(chunk_ext, CHUNKED "1;a b\r\na\r\n"),
    ROW(chunk_ext, CHUNKED "1;a=b c\r\na\r\n"),
    ROW(chunk_ext, CHUNKED "1;a=\"b\r\na\r\n"),
    ROW(chunk_ext, CHUNKED "1;a=\"b\\\r\na\r\n"),
    ROW(chunk_ext, CHUNKED "1;a=\"b\"c\r\na\r\n"),
    ROW(chunk_ext, CHUNKED "1;a=b\"\r\na\r\n"),
    ROW(chunk_ext, CHUNKED "1;a\n"),
    ROW(chunk_ext, CHUNKED "1;a\0\r\n"),
    ROW(chunk_end, CHUNKED "1\r\nab"),
    ROW(chunk_end, CHUNKED "1\r\na\n"),
    ROW(chunk_end, CHUNKED "1\r\na\r\r"),
    ROW(trailer, CHUNKED "0\r\n : a\r\n\r\n"),
    ROW(trailer, CHUNKED "0\r\n: a\r\n\r\n"),
    ROW(trailer, CHUNKED "0\r\na\r\n\r\n"),
    ROW(trailer, CHUNKED "0\r\na : b\r\n\r\n"),
    ROW(trailer, CHUNKED "0\r\na: b\r\n c\r\n\r\n"),
    ROW(trailer, CHUNKED "0\r\na: b\0\r\n\r\n"),
    ROW(trailer, CHUNKED "0\r\na: b\n\r\n"),
    ROW(line_end, CHUNKED "0\r\na: b\rc\r\n\r\n"),
    ROW(line_end, CHUNKED "0\r\n\rX"),
    ROW(trailer, CHUNKED "0\r\nContent-Length: 1\r\n\r\n"),
    ROW(trailer, CHUNKED "0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ROW(trailer, CHUNKED "0\r\nX: y\r\nHOST: b\r\n\r\n"),
    ROW(trailer, CHUNKED "0\r\nauthorization: b\r\n\r\n"),
    ROW(trailer, CHUNKED "0\r\ntrailer: b\r\n\r\n"),
    ROW(trailer, CHUNKED "0\r\nTE: b\r\n\r\n"),
    ROW(truncated, CHUNKED "0\r\n\r"),
    ROW(truncated, CHUNKED "0\r\n"),
    ROW(truncated, CHUNKED "5\r\nabc"),
    ROW(truncated, POST "Content-Length: 3\r\n\r\nab"),
    ROW(truncated, POST "Content-Le"),
    ROW(truncated, "G"),
};

static const struct row responses[] = {
    ROW(status_line, "\r\nHTTP/1.1 200 OK\r\n\r\n"),
    ROW(status_line, "ICY 200 OK\r\n\r\n"),
    ROW(status_line, "HTTP/1.1\r\n\r\n"),
    ROW(status_line, "HTTP/1.1 \r\n\r\n"),
    ROW(status_line, "HTTP/1.1 20\r\n\r\n"),
    ROW(status_line, "HTTP/1.1 2000 OK\r\n\r\n"),
    ROW(status_line, "HTTP/1.1 20a OK\r\n\r\n"),
    ROW(status_line, "HTTP/1.1 099 OK\r\n\r\n"),
    ROW(status_line, "HTTP/1.1  200 OK\r\n\r\n"),
    ROW(status_line, "HTTP/1.1 200\tOK\r\n\r\n"),
    ROW(status_line, "HTTP/1.1 200 O\0K\r\n\r\n"),
    ROW(version, "HTTP/0.9 200 OK\r\n\r\n"),
    ROW(version, "HTTP/1.x 200 OK\r\n\r\n"),
    ROW(version_unsupported, "HTTP/2.0 200 OK\r\n\r\n"),
    ROW(line_end, "HTTP/1.1 200 OK\n\n"),
    ROW(line_end, "HTTP/1.1 200 O\rK\r\n\r\n"),
    ROW(field_fold, "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"),
    ROW(field_name, "HTTP/1.1 200 OK\r\nA\r\n\r\n"),
    ROW(length_and_coding,
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ROW(length_many, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"),
    ROW(length, "HTTP/1.1 200 OK\r\nContent-Length: 1,1\r\n\r\n"),
    ROW(length, "HTTP/1.1 200 OK\r\nContent-Length: a\r\n\r\n"),
    ROW(coding_http10, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ROW(coding, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
    ROW(coding_unknown, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
    ROW(interim, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
    ROW(unasked, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc"),
    ROW(truncated, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na"),
    ROW(truncated, "HTTP/1.1 200 OK\r\nContent-Le"),
    ROW(truncated, "HTTP/1.1 100 Continue\r\n\r\n"),
    ROW(chunk_end, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc"),
};

static struct guarded page;

static struct slice at_end(void *arg, struct slice s) {
    (void)arg;
    return guarded_at_end(&page, s);
}

static struct slice at_start(void *arg, struct slice s) {
    (void)arg;
    return guarded_at_start(&page, s);
}

static void check(struct drive *d, const struct row *row, const char *expected) {
    drive_run(d, row->input);
    if (d->why != row->why)
        fail_msg("%s\ngave '%s', expected '%s'", row->input.ptr, d->why != NULL ? d->why : "none",
                 row->why);
    if (expected != NULL)
        assert_string_equal(d->text, expected);
}

static void check_all(const struct row *rows, size_t count, enum http_role role) {
    static const char gets[] = { HTTP_METHOD_GET };
    const struct slice splits[] = { SLICE(""), SLICE("\0"), SLICE("\1"), SLICE("\6\2\14") };
    page = guarded_make(1);
    for (size_t i = 0; i < count; i++) {
        struct drive whole = { .role = role, .methods = slice_of(gets, 1), .place = at_end };
        whole.limits = role == HTTP_SERVER ? &server_limits : &client_limits;
        check(&whole, &rows[i], NULL);
        for (size_t s = 0; s < ARRAY_LEN(splits); s++) {
            struct drive part = whole;
            part.steps = splits[s];
            part.place = s % 2 == 0 ? at_start : at_end;
            part.eof_at_once = s % 2 == 0;
            check(&part, &rows[i], whole.text);
        }
    }
    guarded_free(&page);
}

static void bad_request_lines(void **state) {
    (void)state;
    check_all(request_lines, ARRAY_LEN(request_lines), HTTP_SERVER);
}

static void bad_field_lines(void **state) {
    (void)state;
    check_all(lines, ARRAY_LEN(lines), HTTP_SERVER);
}

static void bad_framing_host_and_expect(void **state) {
    (void)state;
    check_all(fields, ARRAY_LEN(fields), HTTP_SERVER);
}

static const char *refusal_of(const char *first, const char *second) {
    struct http_head head;
    char text[256];
    int len = snprintf(text, sizeof(text), GET HOST "%s: a\r\n%s: a\r\n" END, first, second);
    return http_parse_request(slice_of(text, (size_t)len), 0, &server_limits, &head).why;
}

/* The name is told from those that differ in one byte, whichever it is. */
static void fields_that_may_come_once(void **state) {
    (void)state;
    static const char *const names[] = {
        "From",
        "Date",
        "Range",
        "Origin",
        "Referer",
        "If-Range",
        "User-Agent",
        "Content-Type",
        "Max-Forwards",
        "Authorization",
        "Content-Range",
        "Content-Location",
        "If-Modified-Since",
        "If-Unmodified-Since",
        "Proxy-Authorization",
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char other[32];
        size_t len = strlen(names[i]);
        for (size_t at = 0; at < len; at++) {
            memcpy(other, names[i], len + 1);
            if (other[at] != '-')
                other[at] ^= 0x20;
            assert_ptr_equal(refusal_of(names[i], other), http_err_field_twice);
            other[at] = '!';
            assert_null(refusal_of(other, other));
        }
        snprintf(other, sizeof(other), "%sx", names[i]);
        assert_null(refusal_of(other, other));
    }
}

static void bad_chunks_and_truncated_bodies(void **state) {
    (void)state;
    check_all(chunks, ARRAY_LEN(chunks), HTTP_SERVER);
}

static void bad_responses(void **state) {
    (void)state;
    check_all(responses, ARRAY_LEN(responses), HTTP_CLIENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_request_lines),
        cmocka_unit_test(bad_field_lines),
        cmocka_unit_test(bad_framing_host_and_expect),
        cmocka_unit_test(fields_that_may_come_once),
        cmocka_unit_test(bad_chunks_and_truncated_bodies),
        cmocka_unit_test(bad_responses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
