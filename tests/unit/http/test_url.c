/* SPDX-License-Identifier: MIT */
/* URLs, targets, queries and percent escapes. */
#include "http/authority.h"
#include "http/url.h"
#include "tests/unit/http/guarded.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct url_row {
    const char *text, *scheme, *userinfo, *host, *target;
    uint16_t port;
    bool has_port, is_ipv6;
};

static const struct url_row urls[] = {
    { "http://h", "http", "", "h", "/", 80 },
    { "http://h:8080", "http", "", "h", "/", 8080, true },
    { "http://127.0.0.1:3000/?delay=1", "http", "", "127.0.0.1", "/?delay=1", 3000, true },
    { "HTTPS://h/", "HTTPS", "", "h", "/", 443 },
    { "http://[::1]:81/x", "http", "", "::1", "/x", 81, true, true },
    { "http://[::ffff:1.2.3.4]/x", "http", "", "::ffff:1.2.3.4", "/x", 80, false, true },
    { "http://u:p@h/x", "http", "u:p", "h", "/x", 80 },
    { "http://u@v@h/x", "http", "u@v", "h", "/x", 80 },
    { "http://h:/x", "http", "", "h", "/x", 80 },
    { "localhost:4000/a/b?c=d&e=http://x/", "http", "", "localhost", "/a/b?c=d&e=http://x/", 4000,
      true },
    { "h/a", "http", "", "h", "/a", 80 },
    { "h", "http", "", "h", "/", 80 },
    { "unix:/run/s.sock", "unix", "", "/run/s.sock", "/", 0 },
    { "unix:/run/s.sock:/x?y", "unix", "", "/run/s.sock", "/x?y", 0 },
};

static const char *const bad_urls[] = {
    "",
    "http://",
    "http:///x",
    "ftp://h/",
    "http://h:99999/",
    "http://h:-1/",
    "http://h:8a/",
    "http://h/#",
    "http://h/a b",
    "http://h/a\tb",
    "http://h?q",
    "http://[::1",
    "http://[]/",
    "http://[h]/",
    "http://a,b/",
    "http://h%2/",
    "http://h\x7f/",
    "unix:",
    "unix:/s:x",
    ":80",
    "http://h\x01",
};

static void expect_text(struct slice got, const char *want) {
    if (!slice_eq(got, slice_str(want)))
        fail_msg("got '%.*s', expected '%s'", (int)got.len, got.ptr, want);
}

static void good_urls_are_taken_apart(void **state) {
    (void)state;
    struct guarded page = guarded_make(1);
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct http_url url;
        const char *why = NULL;
        assert_int_equal(http_url_parse(guarded_at_end(&page, slice_str(urls[i].text)), &url, &why),
                         0);
        expect_text(url.scheme, urls[i].scheme);
        expect_text(url.userinfo, urls[i].userinfo);
        expect_text(url.host, urls[i].host);
        expect_text(url.target, urls[i].target);
        assert_int_equal(url.port, urls[i].port);
        assert_int_equal(url.has_port, urls[i].has_port);
        assert_int_equal(url.host_is_ipv6, urls[i].is_ipv6);
    }
    guarded_free(&page);
}

static void bad_urls_are_refused_with_a_reason(void **state) {
    (void)state;
    struct guarded page = guarded_make(1);
    for (size_t i = 0; i < ARRAY_LEN(bad_urls); i++) {
        struct http_url url;
        const char *why = NULL;
        if (http_url_parse(guarded_at_end(&page, slice_str(bad_urls[i])), &url, &why) != -EINVAL)
            fail_msg("'%s' was taken", bad_urls[i]);
        assert_non_null(why);
    }
    guarded_free(&page);
}

static void targets_split_into_path_and_query(void **state) {
    (void)state;
    static const char *const rows[][3] = {
        { "/", "/", "" },
        { "/a?b=c", "/a", "b=c" },
        { "/a?b?c", "/a", "b?c" },
        { "/a?", "/a", "" },
        { "http://h/a?b", "/a", "b" },
        { "http://h", "/", "" },
        { "http://h?b", "/", "b" },
        { "/x?u=http://y/z", "/x", "u=http://y/z" },
        { "*", "*", "" },
        { "/://a/b", "/://a/b", "" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct slice path, query;
        http_target_split(slice_str(rows[i][0]), &path, &query);
        expect_text(path, rows[i][1]);
        expect_text(query, rows[i][2]);
    }
}

static void queries_are_walked_in_order(void **state) {
    (void)state;
    struct slice rest = SLICE("a=1&&b&=2&c=x=y&"), name, value;
    static const char *const want[][2] = { { "a", "1" }, { "b", "" }, { "", "2" }, { "c", "x=y" } };
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_true(http_query_next(&rest, &name, &value));
        expect_text(name, want[i][0]);
        expect_text(value, want[i][1]);
    }
    assert_false(http_query_next(&rest, &name, &value));
}

static void parameters_are_found_by_decoded_name(void **state) {
    (void)state;
    struct slice value;
    assert_true(http_query_find(SLICE("x=0&del%61y=2&delay=3"), SLICE("delay"), &value));
    expect_text(value, "2");
    assert_true(http_query_find(SLICE("a+b=1"), SLICE("a b"), &value));
    assert_false(
        http_query_find(SLICE("delays=1&dela=2&DELAY=3&del%6y=4"), SLICE("delay"), &value));
    assert_false(http_query_find(SLICE(""), SLICE("delay"), &value));
    assert_true(http_query_has(SLICE("a=1&a+%62=c%20d"), SLICE("a b"), SLICE("c d")));
    assert_true(http_query_has(SLICE("a=1&a=2&b"), SLICE("a"), SLICE("2")));
    assert_true(http_query_has(SLICE("a=1&b"), SLICE("b"), SLICE("")));
    assert_false(http_query_has(SLICE("a=1&b=2"), SLICE("a"), SLICE("2")));
    assert_false(http_query_has(SLICE("a=%zz&a=%3"), SLICE("a"), SLICE("3")));
}

static void escapes_are_decoded_in_place(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        { "", "" },
        { "a+b", "a b" },
        { "%41%7a%2B", "Az+" },
        { "%e2%82%ac", "\xe2\x82\xac" },
    };
    static const char *const bad[] = { "%", "%4", "%4g", "%g4", "a%00", "%%41" };
    char text[32];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct slice raw = slice_str(rows[i][0]);
        memcpy(text, raw.ptr, raw.len + 1);
        long len = http_percent_decode(slice_of(text, raw.len), text);
        assert_true(len >= 0);
        expect_text(slice_of(text, (size_t)len), rows[i][1]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(http_percent_decode(slice_str(bad[i]), text), -EINVAL);
        assert_int_equal(http_path_decode(slice_str(bad[i]), text), -EINVAL);
    }
    assert_int_equal(http_path_decode(SLICE("/a+b%20c%2B%2f"), text), 8);
    expect_text(slice_of(text, 8), "/a+b c+/");
}

static void authorities_are_checked(void **state) {
    (void)state;
    static const char *const good[] = { "a",     "a:80",        "a:",   "a.b-c_d~e",
                                        "[::1]", "[::1]:65535", "%41b", "1.2.3.4:0" };
    static const char *const bad[] = { "",      ":",       ":80",    "a:b",          "a:65536",
                                       "a:1:2", "u@a",     "a/b",    "a,b",          "a b",
                                       "[::1",  "[1]",     "[::1]x", "[::1%25eth0]", "%",
                                       "%4",    "%zz",     "a%",     "a?b",          "a\\b",
                                       "a\"",   "\xc3\xa4" };
    struct http_authority authority;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(http_authority_parse(slice_str(good[i]), &authority));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (http_authority_parse(slice_str(bad[i]), &authority))
            fail_msg("'%s' was taken", bad[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_urls_are_taken_apart),
        cmocka_unit_test(bad_urls_are_refused_with_a_reason),
        cmocka_unit_test(targets_split_into_path_and_query),
        cmocka_unit_test(queries_are_walked_in_order),
        cmocka_unit_test(parameters_are_found_by_decoded_name),
        cmocka_unit_test(escapes_are_decoded_in_place),
        cmocka_unit_test(authorities_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
