/* SPDX-License-Identifier: MIT */
/* Whole connections: what is accepted, in which order, and whether the connection stays. */
#include "http/conn.h"
#include "http/error.h"
#include "tests/unit/http/drive.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct http_limits limits = HTTP_LIMITS_DEFAULT;

struct story {
    struct slice input;
    const char *text;
};

#define STORY(input, text) \
    { { input, sizeof(input) - 1 }, text }
#define OK "HTTP/1.1 200 OK\r\n"

static const struct story server_stories[] = {
    STORY("", " closed"),
    STORY("\r\n", " closed"),
    STORY("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "<GET / host=a> end answer closed"),
    STORY("\r\n\r\nGET / HTTP/1.1\r\nhost:a:80 \t\r\n\r\n\r\n",
          "<GET / host=a:80> end answer closed"),
    STORY("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: "
          "close\r\n\r\nGET /3",
          "<GET /1 host=a> end answer<GET /2 host=a> end answer:close"),
    STORY("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n",
          "<GET / host=a> end answer:close"),
    STORY("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n",
          "<GET / host=a> end answer:close"),
    STORY("GET / HTTP/1.2\r\nHost: a\r\n\r\n", "<GET / host=a> end answer closed"),
    STORY("GET / HTTP/1.0\r\n\r\n", "<GET /> end answer:close"),
    STORY("GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\nGET / HTTP/1.0\r\nExpect: x\r\n\r\n",
          "<GET /> end answer<GET /> end answer:close"),
    STORY("brew /pot HTTP/1.1\r\nHost: a\r\n\r\n", "<brew /pot host=a> end answer closed"),
    STORY("GET http://b:81/c?d HTTP/1.1\r\nHost: a\r\n\r\n",
          "<GET http://b:81/c?d host=b:81> end answer closed"),
    STORY("GET HTTPS://[::1]?d HTTP/1.1\r\nHost: a\r\n\r\n",
          "<GET HTTPS://[::1]?d host=[::1]> end answer closed"),
    STORY("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "<OPTIONS * host=a> end answer closed"),
    STORY("CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\n", "<CONNECT b:443 host=a> end answer closed"),
    STORY("GET /%41[]{|}^\"<> HTTP/1.1\r\nHost: a\r\n\r\n",
          "<GET /%41[]{|}^\"<> host=a> end answer closed"),
    STORY("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.0\r\n\r\n",
          "<POST / host=a length=5>hello end answer<GET /> end answer:close"),
    STORY("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 000\r\n\r\n",
          "<POST / host=a length=0> end answer closed"),
    STORY("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
          "5\r\nhello\r\n006;a;b=c;d=\"e\\\"f\" ; g = h\r\n world\r\n0 ;x\r\nX-Sum: "
          "1\r\nY:\t\xff\r\n\r\nGET / HTTP/1.0\r\n\r\n",
          "<POST / host=a chunked>hello world end answer<GET /> end answer:close"),
    STORY("GET / HTTP/1.1\r\nHost: a\r\nX:\r\nY: \t \r\nZ: \xe2\x82\xac\tb\r\n\r\n",
          "<GET / host=a> end answer closed"),
};

static const struct story client_stories[] = {
    STORY("", " closed"),
    STORY(OK "Content-Length: 2\r\n\r\nhi", "<200 OK length=2>hi end reuse closed"),
    STORY(OK "Content-Length: 2\r\n\r\nhiHTTP/1.1 204\r\n\r\n",
          "<200 OK length=2>hi end reuse<204  close-framed> end reuse closed"),
    STORY("HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n", "<404  length=0> end reuse closed"),
    STORY(OK "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
          "<200 OK chunked>hi end reuse closed"),
    STORY(OK "Connection: close\r\nContent-Length: 2\r\n\r\nhi", "<200 OK length=2>hi end close"),
    STORY(OK "\r\nall the rest", "<200 OK close-framed>all the rest end close"),
    STORY("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", "<200 OK length=2>hi end close"),
    STORY("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi",
          "<200 OK length=2>hi end reuse closed"),
    STORY("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\n" OK
          "Content-Length: 0\r\n\r\n",
          "<interim><interim><200 OK length=0> end reuse closed"),
    STORY("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
          "<304 Not Modified length=5> end reuse closed"),
    STORY("HTTP/1.9 999 Odd \xff\r\nContent-Length: 0\r\n\r\n",
          "<999 Odd \xff length=0> end reuse closed"),
};

static void check_story(const struct story *story, struct drive *d) {
    const struct slice splits[] = { SLICE(""), SLICE("\0"), SLICE("\1"), SLICE("\6\2\14") };
    for (size_t s = 0; s < 2 * ARRAY_LEN(splits); s++) {
        d->steps = splits[s / 2];
        d->eof_at_once = s % 2 == 1;
        drive_run(d, story->input);
        if (strcmp(d->text, story->text) != 0)
            fail_msg("%s\ngave '%s', expected '%s'", story->input.ptr, d->text, story->text);
    }
}

static void a_server_accepts(void **state) {
    (void)state;
    struct drive d = { .role = HTTP_SERVER, .limits = &limits };
    for (size_t i = 0; i < ARRAY_LEN(server_stories); i++)
        check_story(&server_stories[i], &d);
}

static void a_client_accepts(void **state) {
    (void)state;
    static const char methods[] = { HTTP_METHOD_GET, HTTP_METHOD_GET };
    struct drive d = { .role = HTTP_CLIENT, .limits = &limits, .methods = slice_of(methods, 2) };
    for (size_t i = 0; i < ARRAY_LEN(client_stories); i++)
        check_story(&client_stories[i], &d);
}

static void the_answer_to_head_has_no_body(void **state) {
    (void)state;
    static const char methods[] = { HTTP_METHOD_HEAD, HTTP_METHOD_GET };
    struct drive d = { .role = HTTP_CLIENT, .limits = &limits, .methods = slice_of(methods, 2) };
    const struct story story =
        STORY(OK "Content-Length: 9\r\n\r\n" OK "Content-Length: 1\r\n\r\nx",
              "<200 OK length=9> end reuse<200 OK length=1>x end reuse closed");
    check_story(&story, &d);
}

static void after_connect_nothing_is_reused(void **state) {
    (void)state;
    static const char methods[] = { HTTP_METHOD_CONNECT };
    struct drive d = { .role = HTTP_CLIENT, .limits = &limits, .methods = slice_of(methods, 1) };
    const struct story story = STORY(OK "\r\n", "<200 OK close-framed> end close");
    check_story(&story, &d);
}

static void interim_responses_are_bounded(void **state) {
    (void)state;
    static const char methods[] = { HTTP_METHOD_GET };
    struct drive d = { .role = HTTP_CLIENT, .limits = &limits, .methods = slice_of(methods, 1) };
    char input[1024] = "";
    for (int i = 0; i <= HTTP_INTERIMS_MAX; i++)
        strcat(input, "HTTP/1.1 102 x\r\n\r\n");
    drive_run(&d, slice_str(input));
    assert_ptr_equal(d.why, http_err_interim);
}

static void a_client_that_asked_nothing_wants_nothing(void **state) {
    (void)state;
    struct http_conn c;
    struct http_head head;
    struct http_event ev;
    http_conn_init(&c, HTTP_CLIENT, &limits);
    http_conn_feed(&c, SLICE(""), false, &head, &ev);
    assert_int_equal(ev.kind, HTTP_EV_MORE);
    http_conn_feed(&c, SLICE("H"), false, &head, &ev);
    assert_int_equal(ev.kind, HTTP_EV_BAD);
    assert_ptr_equal(ev.why, http_err_unasked);
    assert_false(http_conn_next(&c));
}

static void a_client_that_says_close_gets_no_next(void **state) {
    (void)state;
    struct http_conn c;
    struct http_head head;
    struct http_event ev;
    struct slice input = SLICE(OK "Content-Length: 0\r\n\r\n");
    http_conn_init(&c, HTTP_CLIENT, &limits);
    http_conn_sent(&c, HTTP_METHOD_GET, true);
    input = slice_drop(input, http_conn_feed(&c, input, false, &head, &ev));
    assert_int_equal(ev.kind, HTTP_EV_HEAD);
    http_conn_feed(&c, input, false, &head, &ev);
    assert_int_equal(ev.kind, HTTP_EV_END);
    assert_false(http_conn_next(&c));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_accepts),
        cmocka_unit_test(a_client_accepts),
        cmocka_unit_test(the_answer_to_head_has_no_body),
        cmocka_unit_test(after_connect_nothing_is_reused),
        cmocka_unit_test(interim_responses_are_bounded),
        cmocka_unit_test(a_client_that_asked_nothing_wants_nothing),
        cmocka_unit_test(a_client_that_says_close_gets_no_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
