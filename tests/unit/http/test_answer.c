/* SPDX-License-Identifier: MIT */
/* What a server says in its answer, by what it was asked: framing, Connection, and whether there is
 * a next request. */
#include "http/conn.h"
#include "http/error.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct http_limits limits = HTTP_LIMITS_DEFAULT;

#define V11  " / HTTP/1.1\r\nHost: a\r\n"
#define V10  " / HTTP/1.0\r\n"
#define KEEP "Connection: keep-alive\r\n"

struct row {
    const char *request;
    struct http_response_head head;
    const char *answer;
    bool sends_body, has_next;
};

#define LENGTH(n) \
    { .status = 200, .has_content_length = true, .content_length = (n) }
#define STREAM \
    { .status = 200 }

static const struct row rows[] = {
    { "GET" V11 "\r\n", LENGTH(2), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", true, true },
    { "GET" V11 KEEP "\r\n", LENGTH(2), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", true,
      true },
    { "GET" V11 "\r\n", STREAM, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true,
      true },
    { "GET" V11 "Connection: close\r\n\r\n", LENGTH(2),
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n", true, false },
    { "GET" V11 "\r\n",
      { .status = 200, .has_content_length = true, .close = true },
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
      true,
      false },
    { "HEAD" V11 "\r\n", LENGTH(2), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", false, true },
    { "HEAD" V10 KEEP "\r\n", LENGTH(2),
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n", false, true },
    { "GET" V11 "\r\n",
      { .status = 204, .has_content_length = true },
      "HTTP/1.1 204 No Content\r\n\r\n",
      false,
      true },
    { "GET" V11 "\r\n",
      { .status = 304, .chunked = true },
      "HTTP/1.1 304 Not Modified\r\n\r\n",
      false,
      true },
    { "GET" V10 KEEP "\r\n",
      { .status = 204 },
      "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n",
      false,
      true },
    { "GET" V10 "\r\n", LENGTH(2),
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n", true, false },
    { "GET" V10 KEEP "\r\n", LENGTH(2),
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n", true, true },
    { "GET" V10 KEEP "\r\n", STREAM, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", true, false },
    { "GET" V10 KEEP "\r\n",
      { .status = 200, .chunked = true },
      "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
      true,
      false },
    /* Answered before the body was read. */
    { "POST" V11 "Content-Length: 2\r\n\r\n", LENGTH(0),
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", true, false },
    { "POST" V11 "Content-Length: 0\r\n\r\n", LENGTH(0),
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true, true },
};

static struct http_conn after_head(const char *request) {
    struct http_conn c;
    struct http_head head;
    struct http_event ev;
    http_conn_init(&c, HTTP_SERVER, &limits);
    assert_int_equal(http_conn_feed(&c, slice_str(request), false, &head, &ev), strlen(request));
    assert_int_equal(ev.kind, HTTP_EV_HEAD);
    return c;
}

static void the_answer_follows_the_request(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_conn c = after_head(rows[i].request);
        struct http_response_head head = rows[i].head;
        bool sends_body;
        struct buf out;
        buf_init(&out, 4096);
        assert_int_equal(http_conn_answer(&c, &out, &head, &sends_body), 0);
        struct slice got = buf_unread(&out);
        if (!slice_eq(got, slice_str(rows[i].answer)))
            fail_msg("row %zu: %s\ngave %.*s", i, rows[i].request, (int)got.len, got.ptr);
        assert_int_equal(sends_body, rows[i].sends_body);
        assert_int_equal(http_conn_next(&c), rows[i].has_next);
        buf_free(&out);
    }
}

static void a_request_that_was_not_answered_has_no_next(void **state) {
    (void)state;
    struct http_conn c = after_head("GET" V11 "\r\n");
    assert_false(http_conn_next(&c));
}

static void an_error_is_answered_with_close(void **state) {
    (void)state;
    struct http_conn c;
    struct http_head head;
    struct http_event ev;
    struct buf out;
    bool sends_body;
    buf_init(&out, 4096);
    http_conn_init(&c, HTTP_SERVER, &limits);
    http_conn_feed(&c, SLICE("GET / HTTP/3.0\r\n"), false, &head, &ev);
    assert_int_equal(ev.kind, HTTP_EV_BAD);
    struct http_response_head answer = { .status = http_err_status(ev.why),
                                         .has_content_length = true };
    assert_int_equal(http_conn_answer(&c, &out, &answer, &sends_body), 0);
    assert_true(slice_eq(buf_unread(&out),
                         SLICE("HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Length: "
                               "0\r\nConnection: close\r\n\r\n")));
    assert_true(sends_body);
    assert_false(http_conn_next(&c));
    buf_free(&out);
}

#define EXPECT "Expect: 100-Continue\r\n"

static void continue_is_taken_once_and_only_when_a_body_is_to_come(void **state) {
    (void)state;
    struct http_conn c = after_head("POST" V11 EXPECT "Content-Length: 2\r\n\r\n");
    assert_true(http_conn_takes_continue(&c));
    assert_false(http_conn_takes_continue(&c));
    c = after_head("POST" V11 EXPECT "Transfer-Encoding: chunked\r\n\r\n");
    assert_true(http_conn_takes_continue(&c));
    c = after_head("POST" V11 EXPECT "Content-Length: 0\r\n\r\n");
    assert_false(http_conn_takes_continue(&c));
    c = after_head("GET" V11 EXPECT "\r\n");
    assert_false(http_conn_takes_continue(&c));
    c = after_head("POST" V10 EXPECT "Content-Length: 2\r\n\r\n");
    assert_false(http_conn_takes_continue(&c));
}

static void answering_instead_of_continue_ends_the_connection(void **state) {
    (void)state;
    struct http_conn c = after_head("POST" V11 EXPECT "Content-Length: 2\r\n\r\n");
    struct http_response_head head = LENGTH(0);
    struct buf out;
    bool sends_body;
    buf_init(&out, 4096);
    assert_int_equal(http_conn_answer(&c, &out, &head, &sends_body), 0);
    assert_true(head.close);
    assert_false(http_conn_takes_continue(&c));
    assert_false(http_conn_next(&c));
    buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_answer_follows_the_request),
        cmocka_unit_test(a_request_that_was_not_answered_has_no_next),
        cmocka_unit_test(an_error_is_answered_with_close),
        cmocka_unit_test(continue_is_taken_once_and_only_when_a_body_is_to_come),
        cmocka_unit_test(answering_instead_of_continue_ends_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
