/* SPDX-License-Identifier: MIT */
/* The parse functions themselves: prefixes, resumption, field walking, linear work. */
#include "http/error.h"
#include "http/head.h"
#include "tests/unit/http/guarded.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const struct http_limits limits = HTTP_LIMITS_DEFAULT;

#define REQUEST                                                                          \
    "\r\nPOST /a/b?c=d HTTP/1.1\r\nHost: example.org:8080\r\nX-Empty:\r\nx-twice: 1\r\n" \
    "X-Twice: \t two words \t\r\nConnection: keep-alive\r\nExpect: "                     \
    "100-continue\r\nContent-Length: 12\r\n\r\n"

static void a_request_is_cut_into_its_parts(void **state) {
    (void)state;
    struct http_head head;
    struct slice value;
    struct http_parse parse = http_parse_request(SLICE(REQUEST "body"), 0, &limits, &head);
    assert_int_equal(parse.kind, HTTP_PARSE_DONE);
    assert_int_equal(parse.used, strlen(REQUEST));
    assert_int_equal(head.method, HTTP_METHOD_POST);
    assert_true(slice_eq(head.target, SLICE("/a/b?c=d")));
    assert_true(slice_eq(head.host, SLICE("example.org:8080")));
    assert_int_equal(head.version_minor, 1);
    assert_int_equal(head.framing, HTTP_FRAMING_LENGTH);
    assert_int_equal(head.content_length, 12);
    assert_true(head.has_content_length && !head.chunked && head.says_keep_alive &&
                !head.says_close);
    assert_true(head.expects_continue);
    assert_true(http_field_find(&head, SLICE("X-TWICE"), &value) && slice_eq(value, SLICE("1")));
    assert_true(http_field_find(&head, SLICE("x-empty"), &value) && value.len == 0);
    assert_false(http_field_find(&head, SLICE("x-twic"), &value));
}

/* RFC 9112 section 3.2.2 */
static void the_authority_of_absolute_form_is_the_host(void **state) {
    (void)state;
    static const struct {
        const char *text, *walked;
    } rows[] = {
        { "GET http://b:81/x HTTP/1.1\r\nX: 1\r\nhOST: a\r\nY: 2\r\n\r\n", "X=1 hOST=b:81 Y=2 " },
        { "GET http://b?x HTTP/1.0\r\nX: 1\r\n\r\n", "Host=b X=1 " },
        { "GET http://b HTTP/1.0\r\n\r\n", "Host=b " },
        { "GET / HTTP/1.1\r\nX: 1\r\nHost: a\r\n\r\n", "X=1 Host=a " },
        { "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "Host=a " },
        { "GET / HTTP/1.0\r\nX: 1\r\n\r\n", "X=1 " },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char walked[128] = "";
        struct http_head head;
        struct http_cursor at = { .started = false };
        struct slice name, value;
        struct http_parse parse = http_parse_request(slice_str(rows[i].text), 0, &limits, &head);
        assert_int_equal(parse.kind, HTTP_PARSE_DONE);
        for (size_t len = 0; http_field_walk(&head, &at, &name, &value); len = strlen(walked))
            snprintf(walked + len, sizeof(walked) - len, "%.*s=%.*s ", (int)name.len, name.ptr,
                     (int)value.len, value.ptr);
        assert_string_equal(walked, rows[i].walked);
        assert_int_equal(http_field_find(&head, SLICE("HoSt"), &value), head.host.len > 0);
        assert_true(head.host.len == 0 || slice_eq(value, head.host));
    }
}

static void fields_are_walked_in_order(void **state) {
    (void)state;
    static const char *const want[][2] = {
        { "Host", "example.org:8080" },
        { "X-Empty", "" },
        { "x-twice", "1" },
        { "X-Twice", "two words" },
        { "Connection", "keep-alive" },
        { "Expect", "100-continue" },
        { "Content-Length", "12" },
    };
    struct http_head head;
    struct slice name, value;
    assert_int_equal(http_parse_request(SLICE(REQUEST), 0, &limits, &head).kind, HTTP_PARSE_DONE);
    struct slice rest = head.fields;
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_true(http_field_next(&rest, &name, &value));
        assert_true(slice_eq(name, slice_str(want[i][0])) &&
                    slice_eq(value, slice_str(want[i][1])));
    }
    assert_false(http_field_next(&rest, &name, &value));
}

/* Wherever the input was cut before, the result is the one of a fresh look. */
static void every_prefix_wants_more_from_wherever_it_resumes(void **state) {
    (void)state;
    struct guarded page = guarded_make(1);
    for (size_t len = 0; len <= strlen(REQUEST); len++) {
        struct slice input = guarded_at_end(&page, slice_of(REQUEST, len));
        enum http_parse_kind want = len == strlen(REQUEST) ? HTTP_PARSE_DONE : HTTP_PARSE_MORE;
        for (size_t scanned = 0; scanned < len || scanned == 0; scanned++) {
            struct http_head head;
            struct http_parse parse = http_parse_request(input, scanned, &limits, &head);
            assert_int_equal(parse.kind, want);
            if (want == HTTP_PARSE_DONE)
                assert_int_equal(parse.used, len);
        }
    }
    guarded_free(&page);
}

/* Of a long incomplete head only the start line's page and the last line are looked at again: the
 * pages between are unreadable. */
static void what_was_scanned_is_not_read_again(void **state) {
    (void)state;
    const struct http_limits wide = HTTP_LIMITS_RESPONSE;
    size_t size = guarded_page();
    struct guarded pages = guarded_make(8 * size - 1);
    char *at = pages.begin + sprintf(pages.begin, "GET / HTTP/1.1\r\nHost: a\r\n");
    while (at < pages.begin + 7 * size)
        at += sprintf(at, "X-Filler: 0123456789012345678901234567890123456789\r\n");
    size_t scanned = (size_t)(at - pages.begin);
    at += sprintf(at, "X-Last: 1\r\n\r");

    struct http_head head;
    assert_int_equal(mprotect(pages.begin + size, 5 * size, PROT_NONE), 0);
    for (size_t len = scanned + 1; len <= (size_t)(at - pages.begin); len++) {
        struct http_parse parse =
            http_parse_request(slice_of(pages.begin, len), len - 1, &wide, &head);
        assert_int_equal(parse.kind, HTTP_PARSE_MORE);
    }
    assert_int_equal(mprotect(pages.begin + size, 5 * size, PROT_READ | PROT_WRITE), 0);
    *at++ = '\n';
    size_t len = (size_t)(at - pages.begin);
    assert_int_equal(http_parse_request(slice_of(pages.begin, len), len - 1, &wide, &head).kind,
                     HTTP_PARSE_DONE);
    guarded_free(&pages);
}

static void faults_are_seen_before_the_head_is_complete(void **state) {
    (void)state;
    struct http_head head;
    static const struct {
        struct slice input;
        const char *why;
    } rows[] = {
        { { "\x16", 1 }, http_err_method },
        { { "GET / HTTP/1.1\n", 15 }, http_err_line_end },
        { { "GET / HTTP/1.1\r\nX : y\r\n", 23 }, http_err_field_space },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_parse parse = http_parse_request(rows[i].input, 0, &limits, &head);
        assert_int_equal(parse.kind, HTTP_PARSE_BAD);
        assert_ptr_equal(parse.why, rows[i].why);
    }
    assert_int_equal(http_parse_response(SLICE("S"), 0, &limits, &head).kind, HTTP_PARSE_BAD);
}

static void the_framing_of_a_response_depends_on_the_request(void **state) {
    (void)state;
    static const struct {
        const char *head;
        enum http_framing get, head_method, connect;
    } rows[] = {
        { "200 OK\r\nContent-Length: 1", HTTP_FRAMING_LENGTH, HTTP_FRAMING_NONE,
          HTTP_FRAMING_NONE },
        { "200 OK\r\nTransfer-Encoding: chunked", HTTP_FRAMING_CHUNKED, HTTP_FRAMING_NONE,
          HTTP_FRAMING_NONE },
        { "200 OK\r\nX: y", HTTP_FRAMING_CLOSE, HTTP_FRAMING_NONE, HTTP_FRAMING_NONE },
        { "404 No\r\nContent-Length: 1", HTTP_FRAMING_LENGTH, HTTP_FRAMING_NONE,
          HTTP_FRAMING_LENGTH },
        { "204 No\r\nContent-Length: 1", HTTP_FRAMING_NONE, HTTP_FRAMING_NONE, HTTP_FRAMING_NONE },
        { "304 No\r\nTransfer-Encoding: chunked", HTTP_FRAMING_NONE, HTTP_FRAMING_NONE,
          HTTP_FRAMING_NONE },
        { "103 No\r\nContent-Length: 1", HTTP_FRAMING_NONE, HTTP_FRAMING_NONE, HTTP_FRAMING_NONE },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[128];
        struct http_head head;
        snprintf(text, sizeof(text), "HTTP/1.1 %s\r\n\r\n", rows[i].head);
        assert_int_equal(http_parse_response(slice_str(text), 0, &limits, &head).kind,
                         HTTP_PARSE_DONE);
        assert_int_equal(http_response_framing(&head, HTTP_METHOD_GET), rows[i].get);
        assert_int_equal(http_response_framing(&head, HTTP_METHOD_HEAD), rows[i].head_method);
        assert_int_equal(http_response_framing(&head, HTTP_METHOD_CONNECT), rows[i].connect);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_cut_into_its_parts),
        cmocka_unit_test(the_authority_of_absolute_form_is_the_host),
        cmocka_unit_test(fields_are_walked_in_order),
        cmocka_unit_test(every_prefix_wants_more_from_wherever_it_resumes),
        cmocka_unit_test(what_was_scanned_is_not_read_again),
        cmocka_unit_test(faults_are_seen_before_the_head_is_complete),
        cmocka_unit_test(the_framing_of_a_response_depends_on_the_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
