/* SPDX-License-Identifier: MIT */
/* Whole connections: what is accepted, in which order, and whether the connection stays. */
#include "http/conn.h"
#include "http/error.h"
#include "tests/unit/http/drive.h"
#include "tests/unit/http/guarded.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

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

/* --- a lenient client ---------------------------------------------------------------------- */

static const struct http_limits usual = HTTP_LIMITS_RESPONSE;
static const struct http_limits lenient = HTTP_LIMITS_LENIENT(&usual);

#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"
#define FOUND   "<200 OK chunked>hello"

/* What is accepted, and refused as `why` by the strict one. */
static const struct {
    struct slice input;
    const char *text, *why;
} lenient_stories[] = {
#define LENIENT(why, input, text) \
    { { input, sizeof(input) - 1 }, text, http_err_##why }
    LENIENT(field_fold, OK "X: a\r\n b\r\n\t\tc\r\nContent-Length: 2\r\n\r\nhi",
            "<200 OK length=2>hi end +fold reuse closed"),
    LENIENT(field_fold, OK "Content-Length:\r\n 2\r\n \r\n\r\nhi",
            "<200 OK length=2>hi end +fold reuse closed"),
    LENIENT(field_fold, OK "Connection:\r\n x,\r\n close\r\nContent-Length: 0\r\n\r\n",
            "<200 OK length=0> end +fold close"),
    LENIENT(field_fold, OK "Transfer-Encoding:\r\n\tchunked\r\n\r\n0\r\n\r\n",
            "<200 OK chunked> end +fold reuse closed"),
    LENIENT(line_end, "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi",
            "<200 OK length=2>hi end +lf reuse closed"),
    LENIENT(line_end, OK "A: b\n c\r\nContent-Length: 2\r\n\nhi",
            "<200 OK length=2>hi end +fold +lf reuse closed"),
    LENIENT(line_end, "HTTP/1.1 103 Hi\n\n" OK "Content-Length: 0\r\n\r\n",
            "<interim><200 OK length=0> end +lf reuse closed"),
    LENIENT(chunk_ext, CHUNKED "5 \r\nhello\r\n0\r\n\r\n", FOUND " end +blanks reuse closed"),
    LENIENT(chunk_ext, CHUNKED "5\t \r\nhello\r\n0 \r\n\r\n", FOUND " end +blanks reuse closed"),
    LENIENT(chunk_ext, CHUNKED "5;a=\"b\" \r\nhello\r\n0\r\n\r\n",
            FOUND " end +blanks reuse closed"),
    LENIENT(chunk_size, CHUNKED "5\nhello\n0\n\n", FOUND " end +lf reuse closed"),
    LENIENT(chunk_size, CHUNKED "5\nhell\r\r\n0\n\n",
            "<200 OK chunked>hell\r end +lf reuse closed"),
    LENIENT(chunk_ext, CHUNKED "5 \nhello\r\n0\r\nA: b\n\n", FOUND " end +lf +blanks reuse closed"),
    LENIENT(trailer, CHUNKED "5\r\nhello\r\n0\r\nDate: x\r\nExpires: y\r\n\r\n",
            FOUND " end +trailer reuse closed"),
    LENIENT(trailer, CHUNKED "5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n",
            FOUND " end +fold reuse closed"),
    LENIENT(length_many, OK "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
            "<200 OK length=2>hi end +lengths reuse closed"),
    LENIENT(length, OK "Content-Length: 2, 2\r\n\r\nhi",
            "<200 OK length=2>hi end +lengths reuse closed"),
    LENIENT(length_many, OK "Content-Length: 2,02\r\nContent-Length: 2\r\n\r\nhi",
            "<200 OK length=2>hi end +lengths reuse closed"),
};

/* What has two readings, or none: refused by both. */
static const struct {
    struct slice input;
    const char *why;
} refused_by_both[] = {
#define REFUSED(why, input) \
    { { input, sizeof(input) - 1 }, http_err_##why }
    REFUSED(length_and_coding, OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    REFUSED(length_many, OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
    REFUSED(length_many, OK "Content-Length: 5\r\nContent-Length: x\r\n\r\n"),
    REFUSED(length_many, OK "Content-Length: 6\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"),
    REFUSED(length, OK "Content-Length: 5, 6\r\n\r\n"),
    REFUSED(length, OK "Content-Length: 5,\r\n\r\n"),
    REFUSED(length, OK "Content-Length: +5\r\n\r\n"),
    REFUSED(coding, OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    REFUSED(coding_http10, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    REFUSED(field_space, OK " A: b\r\n\r\n"),
    REFUSED(field_space, OK "A : b\r\n\r\n"),
    REFUSED(field_value, OK "A: b\x01\r\n\r\n"),
    REFUSED(line_end, OK "A: b\rc\r\n\r\n"),
    REFUSED(truncated, CHUNKED "5\r\nhell"),
    REFUSED(truncated, CHUNKED "5\r\nhello\r\n"),
    REFUSED(truncated, CHUNKED "5\r\nhello\r\n0\r\n"),
    REFUSED(truncated, OK "Content-Length: 5\r\n\r\nhell"),
    REFUSED(truncated, OK "A: b\r\n"),
    REFUSED(chunk_size, CHUNKED " 5\r\nhello\r\n0\r\n\r\n"),
    REFUSED(chunk_end, CHUNKED "5\r\nhello!\r\n0\r\n\r\n"),
    REFUSED(chunk_end, CHUNKED "6\r\nhello\r\n0\r\n\r\n"),
    REFUSED(chunk_ext, CHUNKED "5 5\r\nhello\r\n0\r\n\r\n"),
    REFUSED(trailer, CHUNKED "0\r\nContent-Length: 1\r\n\r\n"),
    REFUSED(trailer, CHUNKED "0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    REFUSED(trailer, CHUNKED "0\r\n A: b\r\n\r\n"),
};

/* Copied between unreadable pages, afresh for each feed: folds are written over. */
static struct slice place(void *arg, struct slice unread) {
    return guarded_at_end(arg, unread);
}

/* All splits in two, and byte by byte. */
static void check_splits(struct drive *d, struct slice input, const char *text, const char *why) {
    char steps[2] = { 0, (char)UINT8_MAX };
    d->place = d->limits->usual != NULL ? place : NULL;
    for (size_t first = 0; first <= input.len; first++) {
        steps[0] = (char)(first == 0 ? 0 : first - 1);
        d->steps = slice_of(steps, first == 0 ? 1 : 2);
        drive_run(d, input);
        if (text != NULL && strcmp(d->text, text) != 0)
            fail_msg("%s\ngave '%s', expected '%s'", input.ptr, d->text, text);
        if (d->why != why)
            fail_msg("%s\nwas refused as '%s', expected '%s'", input.ptr,
                     d->why != NULL ? d->why : "none", why != NULL ? why : "none");
    }
}

static void a_lenient_client_forgives_what_has_one_meaning(void **state) {
    (void)state;
    static const char methods[] = { HTTP_METHOD_GET };
    struct guarded page = guarded_make(4096);
    struct drive d = { .role = HTTP_CLIENT, .methods = slice_of(methods, 1), .place_arg = &page };
    for (size_t i = 0; i < ARRAY_LEN(lenient_stories); i++) {
        d.limits = &lenient;
        check_splits(&d, lenient_stories[i].input, lenient_stories[i].text, NULL);
        d.limits = &usual;
        check_splits(&d, lenient_stories[i].input, NULL, lenient_stories[i].why);
    }
    guarded_free(&page);
}

static void a_lenient_client_refuses_what_is_ambiguous(void **state) {
    (void)state;
    static const char methods[] = { HTTP_METHOD_GET };
    struct guarded page = guarded_make(4096);
    struct drive d = { .role = HTTP_CLIENT, .methods = slice_of(methods, 1), .place_arg = &page };
    for (size_t i = 0; i < ARRAY_LEN(refused_by_both); i++) {
        d.limits = &lenient;
        check_splits(&d, refused_by_both[i].input, NULL, refused_by_both[i].why);
        d.limits = &usual;
        check_splits(&d, refused_by_both[i].input, NULL, refused_by_both[i].why);
    }
    guarded_free(&page);
}

static void a_lenient_client_reads_what_a_strict_one_does(void **state) {
    (void)state;
    static const char methods[] = { HTTP_METHOD_GET, HTTP_METHOD_GET };
    struct guarded page = guarded_make(4096);
    struct drive d = { .role = HTTP_CLIENT, .limits = &lenient, .methods = slice_of(methods, 2) };
    d.place = place;
    d.place_arg = &page;
    for (size_t i = 0; i < ARRAY_LEN(client_stories); i++)
        check_story(&client_stories[i], &d);
    guarded_free(&page);
}

static void a_fold_is_read_as_blanks(void **state) {
    (void)state;
    char input[] = OK "Server:\r\n a\r\n\tb\nContent-Length: 0\r\n\r\n";
    struct http_head head;
    struct slice value;
    struct http_parse parse =
        http_parse_response(slice_of(input, sizeof(input) - 1), 0, &lenient, &head);
    assert_int_equal(parse.kind, HTTP_PARSE_DONE);
    assert_true(http_field_find(&head, SLICE("server"), &value));
    assert_int_equal(value.len, 5);
    assert_memory_equal(value.ptr, "a  \tb", 5);
    assert_true(http_field_find(&head, SLICE("content-length"), &value));
}

/* `bytes` of one field; what a strict client says, and a lenient one. */
static void check_large(size_t bytes, const char *strictly, const char *leniently) {
    size_t len = sizeof(OK "Content-Length: 0\r\nX: \r\n\r\n") - 1 + bytes;
    char *text = malloc(len + 1);
    struct http_head head;
    assert_non_null(text);
    memset(text, 'x', len);
    memcpy(text, OK "X: ", sizeof(OK "X: ") - 1);
    memcpy(text + len - 23, "\r\nContent-Length: 0\r\n\r\n", 23 + 1);
    struct slice input = slice_of(text, len);
    assert_ptr_equal(http_parse_response(input, 0, &usual, &head).why, strictly);
    assert_ptr_equal(http_parse_response(input, 0, &lenient, &head).why, leniently);
    if (leniently == NULL)
        assert_int_equal(head.noted, strictly != NULL ? 1 << HTTP_LENIENCE_LARGE : 0);
    free(text);
}

static void a_large_head_is_noted_up_to_its_limit(void **state) {
    (void)state;
    check_large(65000, NULL, NULL);
    check_large(65536, http_err_field_long, NULL);
    check_large(1000000, http_err_head_large, NULL);
    check_large(1048576, http_err_head_large, http_err_head_large);
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
        cmocka_unit_test(a_lenient_client_forgives_what_has_one_meaning),
        cmocka_unit_test(a_lenient_client_refuses_what_is_ambiguous),
        cmocka_unit_test(a_lenient_client_reads_what_a_strict_one_does),
        cmocka_unit_test(a_fold_is_read_as_blanks),
        cmocka_unit_test(a_large_head_is_noted_up_to_its_limit),
        cmocka_unit_test(the_answer_to_head_has_no_body),
        cmocka_unit_test(after_connect_nothing_is_reused),
        cmocka_unit_test(interim_responses_are_bounded),
        cmocka_unit_test(a_client_that_asked_nothing_wants_nothing),
        cmocka_unit_test(a_client_that_says_close_gets_no_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
