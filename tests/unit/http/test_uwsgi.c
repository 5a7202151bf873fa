/* SPDX-License-Identifier: MIT */
/* uwsgi packets: what they become, and which are refused, at every split and right before an
 * unreadable page. */
#include "http/error.h"
#include "http/uwsgi.h"
#include "tests/unit/http/guarded.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define VARS_MAX 70000

static const struct http_limits limits = HTTP_LIMITS_DEFAULT;

struct vars {
    char bytes[VARS_MAX];
    size_t len;
};

static void put(struct vars *v, struct slice text) {
    v->bytes[v->len++] = (char)(text.len & 0xff);
    v->bytes[v->len++] = (char)(text.len >> 8);
    if (text.len > 0)
        memcpy(v->bytes + v->len, text.ptr, text.len);
    v->len += text.len;
}

static void add(struct vars *v, const char *key, const char *value) {
    put(v, slice_str(key));
    put(v, slice_str(value));
}

static struct vars *get_request(void) {
    struct vars *v = calloc(1, sizeof(*v));
    assert_non_null(v);
    add(v, "REQUEST_METHOD", "GET");
    add(v, "REQUEST_URI", "/a%2Fb?q=1");
    return v;
}

struct result {
    const char *why;
    struct http_head head;
    struct uwsgi_origin origin;
    struct guarded vars, text;
};

/* Both the variables and the results stand right before an unreadable page. */
static struct result parse_limited(const struct vars *v, const struct http_limits *with) {
    struct result r = { .vars = guarded_make(v->len + 1), .text = guarded_make(v->len + 1) };
    struct slice vars = guarded_at_end(&r.vars, slice_of(v->bytes, v->len));
    char *text = r.text.begin + r.text.bytes - v->len;
    r.why = uwsgi_request(vars, with, text, &r.head, &r.origin);
    return r;
}

static struct result parse(const struct vars *v) {
    return parse_limited(v, &limits);
}

static void done(struct result *r, struct vars *v) {
    guarded_free(&r->vars);
    guarded_free(&r->text);
    free(v);
}

static void assert_slice(struct slice got, const char *want) {
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.ptr, want, got.len);
}

static void assert_refused(struct vars *v, const char *why) {
    struct result r = parse(v);
    assert_ptr_equal(r.why, why);
    done(&r, v);
}

static void variables_become_fields(void **state) {
    (void)state;
    struct vars *v = get_request();
    add(v, "HTTP_X_FOO", "1");
    add(v, "HTTP_X_FOO", "2");
    add(v, "CONTENT_TYPE", "text/plain");
    add(v, "CONTENT_LENGTH", "5");
    add(v, "HTTP_HOST", "example:80");
    add(v, "HTTP_ACCEPT", "");
    add(v, "REMOTE_ADDR", "192.0.2.1");
    add(v, "REMOTE_PORT", "77");
    add(v, "REQUEST_SCHEME", "https");
    add(v, "SERVER_PROTOCOL", "HTTP/2.0");
    struct result r = parse(v);
    assert_null(r.why);
    assert_slice(r.head.method_text, "GET");
    assert_slice(r.head.target, "/a%2Fb?q=1");
    assert_slice(r.head.host, "example:80");
    assert_slice(r.head.fields,
                 "X-Foo: 1\r\nX-Foo: 2\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n"
                 "Host: example:80\r\nAccept: \r\n");
    assert_int_equal(r.head.framing, HTTP_FRAMING_LENGTH);
    assert_int_equal(r.head.content_length, 5);
    assert_slice(r.origin.address, "192.0.2.1");
    assert_slice(r.origin.port, "77");
    assert_slice(r.origin.scheme, "https");
    assert_slice(r.head.protocol, "HTTP/2.0");
    assert_int_equal(r.head.version_minor, 0);
    done(&r, v);
}

static void a_protocol_that_is_none_is_not_told(void **state) {
    static const char *const texts[] = { "", "HTTP/", "HTTP/2 \"", "INCLUDED", "HTTP/1.1000" };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct vars *v = get_request();
        add(v, "SERVER_PROTOCOL", texts[i]);
        struct result r = parse(v);
        assert_null(r.why);
        assert_int_equal(r.head.protocol.len, 0);
        done(&r, v);
    }
}

static void what_nginx_sends_for_a_bare_get_has_no_body(void **state) {
    (void)state;
    struct vars *v = get_request();
    add(v, "CONTENT_TYPE", "");
    add(v, "CONTENT_LENGTH", "");
    struct result r = parse(v);
    assert_null(r.why);
    assert_int_equal(r.head.framing, HTTP_FRAMING_NONE);
    assert_int_equal(r.head.fields.len, 0);
    done(&r, v);
}

static void the_hop_of_the_client_and_uwsgi_variables_are_ignored(void **state) {
    (void)state;
    static const char *const names[] = {
        "HTTP_TRANSFER_ENCODING", "HTTP_CONNECTION", "HTTP_CONTENT_LENGTH",
        "HTTP_CONTENT_TYPE",      "HTTP_KEEP_ALIVE", "HTTP_EXPECT",
        "HTTP_UPGRADE",           "HTTP_TE",         "UWSGI_FILE",
        "UWSGI_SETENV",           "DOCUMENT_ROOT",
    };
    struct vars *v = get_request();
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        add(v, names[i], "chunked");
    struct result r = parse(v);
    assert_null(r.why);
    assert_int_equal(r.head.fields.len, 0);
    assert_int_equal(r.head.framing, HTTP_FRAMING_NONE);
    assert_false(r.head.expects_continue);
    done(&r, v);
}

static void without_request_uri_the_path_will_do(void **state) {
    (void)state;
    static const struct {
        const char *path, *query, *target;
    } rows[] = {
        { "/a/b", "", "/a/b" }, { "/a", "x=1", "/a?x=1" }, { "/a%b", "", NULL },
        { "/a?b", "", NULL },   { "", "x=1", NULL },       { "/a b", "", NULL },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct vars *v = calloc(1, sizeof(*v));
        assert_non_null(v);
        add(v, "REQUEST_METHOD", "GET");
        add(v, "PATH_INFO", rows[i].path);
        add(v, "QUERY_STRING", rows[i].query);
        add(v, "SERVER_NAME", "leaves room");
        struct result r = parse(v);
        assert_int_equal(r.why == NULL, rows[i].target != NULL);
        if (rows[i].target != NULL)
            assert_slice(r.head.target, rows[i].target);
        done(&r, v);
    }
}

static void malformed_variables_are_refused(void **state) {
    (void)state;
    struct vars *v = get_request();
    put(v, SLICE("HTTP_X"));
    assert_refused(v, http_err_uwsgi_vars); /* no value */
    v = get_request();
    v->bytes[v->len++] = 1;
    assert_refused(v, http_err_uwsgi_vars); /* half a size */
    v = get_request();
    memcpy(v->bytes + v->len, "\377\377abc", 5);
    v->len += 5;
    assert_refused(v, http_err_uwsgi_vars); /* past the end */
    v = get_request();
    add(v, "", "value");
    assert_refused(v, http_err_uwsgi_vars);
    assert_refused(calloc(1, sizeof(*v)), http_err_uwsgi_request);
}

/* Debian's uwsgi_params pass HTTP_HOST also of a client of HTTP/1.0, who sent none. */
static void empty_variables_of_singletons_are_absent(void **state) {
    (void)state;
    struct vars *v = get_request();
    add(v, "HTTP_HOST", "");
    add(v, "HTTP_USER_AGENT", "");
    add(v, "HTTP_USER_AGENT", "me");
    add(v, "HTTP_X", "");
    struct result r = parse(v);
    assert_null(r.why);
    assert_int_equal(r.head.host.len, 0);
    assert_slice(r.head.fields, "User-Agent: me\r\nX: \r\n");
    done(&r, v);
    v = get_request();
    add(v, "HTTP_USER_AGENT", "me");
    add(v, "HTTP_USER_AGENT", "me");
    assert_refused(v, http_err_field_twice);
    v = get_request();
    add(v, "HTTP_HOST", "a");
    add(v, "HTTP_HOST", "b");
    assert_refused(v, http_err_host_many);
}

static void bad_values_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *key, *value;
        const char *why;
    } rows[] = {
        { "CONTENT_LENGTH", "-5", http_err_length },
        { "CONTENT_LENGTH", "abc", http_err_length },
        { "CONTENT_LENGTH", "99999999999999999999", http_err_length },
        { "REQUEST_METHOD", "G T", http_err_method },
        { "REQUEST_METHOD", "", http_err_uwsgi_request },
        { "REQUEST_URI", "/a b", http_err_target },
        { "REQUEST_URI", "a", http_err_target },
        { "HTTP_", "x", http_err_field_name },
        { "HTTP_A B", "x", http_err_field_name },
        { "HTTP_A\r\nB", "x", http_err_field_name },
        { "HTTP_X", "a\r\nInjected: 1", http_err_field_value },
        { "HTTP_HOST", "a b", http_err_host },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct vars *v = get_request();
        add(v, rows[i].key, rows[i].value);
        assert_refused(v, rows[i].why);
    }
    struct vars *v = get_request();
    add(v, "CONTENT_LENGTH", "1");
    add(v, "CONTENT_LENGTH", "2");
    assert_refused(v, http_err_length_many);
}

static void limits_hold(void **state) {
    (void)state;
    struct http_limits narrow = { .start_line_bytes = 40, .field_bytes = 12, .fields = 2 };
    struct vars *v = get_request();
    add(v, "HTTP_X", "123456789");
    struct result r = parse_limited(v, &narrow);
    assert_null(r.why);
    done(&r, v);
    v = get_request();
    add(v, "HTTP_X", "1234567890");
    r = parse_limited(v, &narrow);
    assert_ptr_equal(r.why, http_err_field_long);
    done(&r, v);
    v = get_request();
    for (int i = 0; i < 3; i++)
        add(v, "HTTP_X", "1");
    r = parse_limited(v, &narrow);
    assert_ptr_equal(r.why, http_err_fields_many);
    done(&r, v);
    v = get_request();
    add(v, "REQUEST_URI", "/0123456789012345678901234567890");
    r = parse_limited(v, &narrow);
    assert_ptr_equal(r.why, http_err_target_long);
    done(&r, v);
}

static void packets_are_complete_at_their_last_byte(void **state) {
    (void)state;
    const char packet[] = "\0\3\0\7abcBODY";
    for (size_t len = 0; len < sizeof(packet) - 1; len++) {
        struct http_parse p = uwsgi_packet(slice_of(packet, len), &limits);
        assert_int_equal(p.kind, len < 7 ? HTTP_PARSE_MORE : HTTP_PARSE_DONE);
        assert_int_equal(p.used, len < 7 ? 0 : 7);
    }
}

static void other_modifiers_and_large_packets_are_refused_early(void **state) {
    (void)state;
    struct http_limits narrow = { .head_bytes = 1000 };
    assert_ptr_equal(uwsgi_packet(SLICE("\5"), &limits).why, http_err_uwsgi_modifier);
    assert_ptr_equal(uwsgi_packet(SLICE("GET / HTTP/1.1\r\n"), &limits).why,
                     http_err_uwsgi_modifier);
    assert_ptr_equal(uwsgi_packet(SLICE("\0\345\3\0"), &narrow).why, http_err_head_large);
    assert_int_equal(uwsgi_packet(SLICE("\0\344\3\0"), &narrow).kind, HTTP_PARSE_MORE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variables_become_fields),
        cmocka_unit_test(a_protocol_that_is_none_is_not_told),
        cmocka_unit_test(what_nginx_sends_for_a_bare_get_has_no_body),
        cmocka_unit_test(the_hop_of_the_client_and_uwsgi_variables_are_ignored),
        cmocka_unit_test(without_request_uri_the_path_will_do),
        cmocka_unit_test(malformed_variables_are_refused),
        cmocka_unit_test(empty_variables_of_singletons_are_absent),
        cmocka_unit_test(bad_values_are_refused),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(packets_are_complete_at_their_last_byte),
        cmocka_unit_test(other_modifiers_and_large_packets_are_refused_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
