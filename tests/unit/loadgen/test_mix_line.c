/* SPDX-License-Identifier: MIT */
/* Lines of requests and of logs. */
#include "base/attr.h"
#include "loadgen/mix_line.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct mix_line parsed(const char *text) {
    struct mix_line line;
    const char *why = "nothing";
    if (mix_line_parse(slice_str(text), &line, &why) != 1)
        fail_msg("%s: %s", text, why);
    return line;
}

static void assert_line(const char *text, const char *method, const char *url, enum mix_body kind,
                        const char *body) {
    struct mix_line line = parsed(text);
    assert_true(slice_eq(line.method, slice_str(method)));
    assert_true(slice_eq(line.url.raw, slice_str(url)));
    assert_int_equal(line.body_kind, kind);
    assert_true(slice_eq(line.body.raw, slice_str(body)));
}

static void test_plain_lines(void **state) {
    (void)state;
    assert_line("/a", "", "/a", MIX_BODY_NONE, "");
    assert_line("  http://h:1/a?b=c \t", "", "http://h:1/a?b=c", MIX_BODY_NONE, "");
    assert_line("/a POST", "POST", "/a", MIX_BODY_NONE, "");
    assert_line("/a  POST  x=1&y=a b ", "POST", "/a", MIX_BODY_FORM, "x=1&y=a b");
    assert_line("/a\tPUT\t<f", "PUT", "/a", MIX_BODY_FILE, "f");
    assert_line("POST /a x", "POST", "/a", MIX_BODY_FORM, "x");
    assert_line("DELETE http://h/", "DELETE", "http://h/", MIX_BODY_NONE, "");
    assert_line("GET.html", "", "GET.html", MIX_BODY_NONE, "");
    assert_line("/a POST < f g", "POST", "/a", MIX_BODY_FILE, "f g");
}

static void test_comments_are_no_requests(void **state) {
    (void)state;
    struct mix_line line;
    const char *why;
    assert_int_equal(mix_line_parse(SLICE(""), &line, &why), 0);
    assert_int_equal(mix_line_parse(SLICE(" \t"), &line, &why), 0);
    assert_int_equal(mix_line_parse(SLICE("  # GET /"), &line, &why), 0);
}

static void test_objects(void **state) {
    (void)state;
    struct mix_line line = parsed(
        "{\"name\":\"n\",\"url\":\"/a\\u0042\",\"method\":\"PUT\",\"headers\":{\"A\":\"b\"},"
        "\"body\":{\"x\":[1]},\"weight\":2.5,\"expect\":{\"status\":\"2xx\",\"body\":\"ok\"}}");
    char room[16];
    assert_true(slice_eq(mix_text_of(line.url, room), SLICE("/aB")));
    assert_true(slice_eq(line.headers, SLICE("{\"A\":\"b\"}")));
    assert_int_equal(line.body_kind, MIX_BODY_JSON);
    assert_true(slice_eq(line.body.raw, SLICE("{\"x\":[1]}")));
    assert_true(line.has_weight && line.weight > 2.4 && line.weight < 2.6);
    assert_true(slice_eq(line.expect_status, SLICE("2xx")));
    assert_true(slice_eq(line.expect_body.raw, SLICE("ok")));
    assert_line("{\"path\":\"/\",\"body\":\"@f\"}", "", "/", MIX_BODY_FILE, "f");
    assert_line("{\"path\":\"/\",\"body\":\"@@f\"}", "", "/", MIX_BODY_TEXT, "@f");
    assert_line("{\"path\":\"/\",\"body\":\"\"}", "", "/", MIX_BODY_TEXT, "");
}

static void test_what_is_no_request_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "/a b",
        "POST",
        "/a POST <",
        "{\"url\":1}",
        "{\"url\":\"/\",\"path\":\"/\"}",
        "{\"url\":\"\"}",
        "{\"url\":\"/\",\"weight\":1e9}",
        "{\"url\":\"/\",\"weight\":-1}",
        "{\"url\":\"/\",\"body\":1}",
        "{\"url\":\"/\",\"body\":\"@\"}",
        "{\"url\":\"/\",\"expect\":200}",
        "{\"url\":\"/\",\"expect\":{\"body\":1}}",
        "{\"url\":\"/\",\"method\":\"\"}",
        "{\"url\":\"/\",\"name\":[]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct mix_line line;
        const char *why = NULL;
        if (mix_line_parse(slice_str(bad[i]), &line, &why) != -EINVAL || why == NULL)
            fail_msg("%s is taken", bad[i]);
    }
}

static void assert_log(const char *text, const char *method, const char *target, nsec_t when) {
    struct mix_line line;
    enum mix_unplayable why;
    if (mix_line_parse_log(slice_str(text), &line, &why) != 1)
        fail_msg("%s is refused", text);
    assert_true(slice_eq(line.method, slice_str(method)));
    assert_true(slice_eq(line.url.raw, slice_str(target)));
    assert_int_equal(line.when, when);
}

static void test_lines_of_logs(void **state) {
    (void)state;
    assert_log(
        "1.2.3.4 - frank [10/Oct/2000:13:55:36 -0700] \"GET /a?b HTTP/1.0\" 200 2326 \"-\" \"x\"",
        "GET", "/a?b", 971211336 * NSEC_PER_SEC);
    assert_log("h - - [01/Jan/1970:01:00:00.25 +0100] \"HEAD / HTTP/1.1\" 200 -", "HEAD", "/",
               NSEC_PER_SEC / 4);
    assert_log("h - - [29/Feb/2024:00:00:00 +0000] \"GET /simple\" 200 -", "GET", "/simple",
               1709164800 * NSEC_PER_SEC);
    assert_log(
        "{\"time\":\"2026-11-23T01:02:03.456Z\",\"method\":\"GET\",\"target\":\"/x\",\"ms\":6.0}",
        "GET", "/x", 1795395723450 * NSEC_PER_MSEC);
    assert_log("{\"time\":\"1970-01-01T02:00:01+02:00\",\"method\":\"GET\",\"url\":\"/"
               "x\",\"total_ms\":1000}",
               "GET", "/x", 0);
}

static void assert_unplayable(const char *text, enum mix_unplayable expected) {
    struct mix_line line;
    enum mix_unplayable why = MIX_UNPLAYABLES_COUNT;
    assert_int_equal(mix_line_parse_log(slice_str(text), &line, &why), -EINVAL);
    if (why != expected)
        fail_msg("%s: %d", text, (int)why);
}

static void test_lines_that_cannot_be_replayed(void **state) {
    (void)state;
#define AT "h - - [10/Oct/2000:13:55:36 -0700] "
    assert_unplayable("nonsense", MIX_UNPLAYABLE_MALFORMED);
    assert_unplayable("h - - [10/Oct/2000:25:55:36 -0700] \"GET / HTTP/1.0\"",
                      MIX_UNPLAYABLE_MALFORMED);
    assert_unplayable("h - - [10/Okt/2000:13:55:36 -0700] \"GET / HTTP/1.0\"",
                      MIX_UNPLAYABLE_MALFORMED);
    assert_unplayable("h - - [30/Feb/2000:13:55:36 -0700] \"GET / HTTP/1.0\"",
                      MIX_UNPLAYABLE_MALFORMED);
    assert_unplayable("h - - [10/Oct/2000:13:55:36.00000000000000000000000000000000000000 -0700] "
                      "\"GET / HTTP/1.0\"",
                      MIX_UNPLAYABLE_MALFORMED);
    assert_unplayable(AT "\"GET / HTTP/1.0", MIX_UNPLAYABLE_MALFORMED);
    assert_unplayable(AT "\"GET /a b HTTP/1.0\"", MIX_UNPLAYABLE_MALFORMED);
    assert_unplayable(AT "\"GET /a\\x0a HTTP/1.0\"", MIX_UNPLAYABLE_MALFORMED);
    assert_unplayable(AT "\"\\x16\\x03\\x01\" 400 0", MIX_UNPLAYABLE_MALFORMED);
    assert_unplayable(AT "\"-\" 408 -", MIX_UNPLAYABLE_NO_REQUEST);
    assert_unplayable(AT "\"\" 400 -", MIX_UNPLAYABLE_NO_REQUEST);
    assert_unplayable(AT "\"CONNECT h:443 HTTP/1.1\"", MIX_UNPLAYABLE_CONNECT);
    assert_unplayable(AT "\"OPTIONS * HTTP/1.1\"", MIX_UNPLAYABLE_CONNECT);
    assert_unplayable("{\"method\":\"GET\",\"target\":\"/\"}", MIX_UNPLAYABLE_MALFORMED);
    assert_unplayable("{\"time\":\"2026-11-23T01:02:03Z\"}", MIX_UNPLAYABLE_NO_REQUEST);
    assert_unplayable("{\"time\":\"2026-11-23T01:02:03Z\"", MIX_UNPLAYABLE_MALFORMED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_lines),   cmocka_unit_test(test_comments_are_no_requests),
        cmocka_unit_test(test_objects),       cmocka_unit_test(test_what_is_no_request_is_refused),
        cmocka_unit_test(test_lines_of_logs), cmocka_unit_test(test_lines_that_cannot_be_replayed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
