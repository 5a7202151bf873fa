/* SPDX-License-Identifier: MIT */
/* The bytes on the wire for a set of options. */
#include "base/alloc.h"
#include "loadgen/request.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct target target;
static struct loadgen_config config; /* large: not for the stack */

static int parse_target(void **state) {
    (void)state;
    return target_parse(&target, "http://h:81/t", NULL);
}

static void expect(const struct loadgen_config *c, const char *bytes) {
    struct request r;
    struct error err = { .text = "" };
    if (request_build(&r, c, &target, &err) != 0)
        fail_msg("%s", err.text);
    struct slice built = buf_unread(&r.bytes);
    char *text = slice_dup(built);
    assert_non_null(text);
    assert_string_equal(text, bytes);
    free(text);
    request_free(&r);
}

static void refuse(const struct loadgen_config *c, const char *complaint) {
    struct request r;
    struct error err = { .text = "" };
    assert_int_not_equal(request_build(&r, c, &target, &err), 0);
    assert_non_null(strstr(err.text, complaint));
}

#define AGENT "User-Agent: srv-bench/" SRV_VERSION "\r\n"

static void test_connection_follows_version_and_keep_alive(void **state) {
    (void)state;
    config = (struct loadgen_config){ .keep_alive = true };
    expect(&config, "GET /t HTTP/1.1\r\nHost: h:81\r\n" AGENT "Accept: */*\r\n\r\n");
    config = (struct loadgen_config){ .keep_alive = false };
    expect(&config,
           "GET /t HTTP/1.1\r\nHost: h:81\r\n" AGENT "Accept: */*\r\nConnection: close\r\n\r\n");
    config = (struct loadgen_config){ .keep_alive = true, .http10 = true };
    expect(&config, "GET /t HTTP/1.0\r\nHost: h:81\r\n" AGENT
                    "Accept: */*\r\nConnection: keep-alive\r\n\r\n");
    config = (struct loadgen_config){ .http10 = true };
    expect(&config, "GET /t HTTP/1.0\r\nHost: h:81\r\n" AGENT "Accept: */*\r\n\r\n");
}

static void test_headers_replace_defaults(void **state) {
    (void)state;
    config = (struct loadgen_config){
        .keep_alive = true,
        .headers = { .items = { "Host: other", "X-A:1", "user-agent:  me ", "Accept: a/b" },
                     .count = 4 },
    };
    expect(&config,
           "GET /t HTTP/1.1\r\nHost: other\r\nX-A: 1\r\nuser-agent: me\r\nAccept: a/b\r\n\r\n");
}

static void test_connection_header_decides_about_reuse(void **state) {
    (void)state;
    config = (struct loadgen_config){
        .keep_alive = true,
        .headers = { .items = { "Connection: x, Close" }, .count = 1 },
    };
    struct request r;
    assert_int_equal(request_build(&r, &config, &target, NULL), 0);
    assert_true(r.close);
    request_free(&r);

    config.keep_alive = false;
    config.headers.items[0] = "connection: keep-alive";
    assert_int_equal(request_build(&r, &config, &target, NULL), 0);
    assert_false(r.close);
    request_free(&r);
}

static void test_cookies_are_joined(void **state) {
    (void)state;
    config = (struct loadgen_config){
        .keep_alive = true,
        .cookies = { .items = { "a=1", "b=2", "c=3" }, .count = 3 },
    };
    expect(&config, "GET /t HTTP/1.1\r\nHost: h:81\r\nCookie: a=1; b=2; c=3\r\n" AGENT
                    "Accept: */*\r\n\r\n");
}

/* RFC 7617 section 2, and each length of padding. */
static void test_credentials_are_base64(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        { "Aladdin:open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ==" },
        { "a:b", "YTpi" },
        { "a:bc", "YTpiYw==" },
        { "a:bcd", "YTpiY2Q=" },
        { "", "" },
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        char bytes[300];
        snprintf(bytes, sizeof(bytes),
                 "GET /t HTTP/1.1\r\nHost: h:81\r\nAuthorization: Basic %s\r\n" AGENT
                 "Accept: */*\r\n\r\n",
                 pairs[i][1]);
        config = (struct loadgen_config){ .keep_alive = true, .credentials = pairs[i][0] };
        expect(&config, bytes);
    }
}

static void write_file(char *path, const char *text) {
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void test_body_comes_from_a_file(void **state) {
    (void)state;
    char path[] = "/tmp/srv-test-body-XXXXXX";
    write_file(path, "hello");
    config = (struct loadgen_config){ .keep_alive = true, .post_file = path };
    expect(&config, "POST /t HTTP/1.1\r\nHost: h:81\r\nContent-Type: text/plain\r\n" AGENT
                    "Accept: */*\r\nContent-Length: 5\r\n\r\nhello");
    config = (struct loadgen_config){ .keep_alive = true, .put_file = path, .content_type = "a/b" };
    expect(&config, "PUT /t HTTP/1.1\r\nHost: h:81\r\nContent-Type: a/b\r\n" AGENT
                    "Accept: */*\r\nContent-Length: 5\r\n\r\nhello");
    config = (struct loadgen_config){ .keep_alive = true, .post_file = path, .method = "PATCH" };
    expect(&config, "PATCH /t HTTP/1.1\r\nHost: h:81\r\nContent-Type: text/plain\r\n" AGENT
                    "Accept: */*\r\nContent-Length: 5\r\n\r\nhello");
    unlink(path);
    config = (struct loadgen_config){ .post_file = path };
    refuse(&config, path);
}

static void test_method_decides_about_response_bodies(void **state) {
    (void)state;
    struct request r;
    config = (struct loadgen_config){ .head = true };
    assert_int_equal(request_build(&r, &config, &target, NULL), 0);
    assert_int_equal(r.method, HTTP_METHOD_HEAD);
    request_free(&r);
    config = (struct loadgen_config){ .method = "PURGE" };
    assert_int_equal(request_build(&r, &config, &target, NULL), 0);
    assert_int_equal(r.method, HTTP_METHOD_OTHER);
    request_free(&r);
}

static void test_what_would_break_the_message_is_refused(void **state) {
    (void)state;
    static const char *const headers[] = {
        "nocolon", "Content-Length: 3", "transfer-encoding: chunked", "A: b\r\nC: d", "a b: c",
        ": x"
    };
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        config = (struct loadgen_config){ .headers = { .items = { headers[i] }, .count = 1 } };
        refuse(&config, "--header");
    }
    config = (struct loadgen_config){ .method = "GE T" };
    refuse(&config, "--method");
    config = (struct loadgen_config){ .cookies = { .items = { "a=\n" }, .count = 1 } };
    refuse(&config, "--cookie");
}

static void test_out_of_memory_at_every_allocation(void **state) {
    (void)state;
    char path[] = "/tmp/srv-test-body-XXXXXX";
    write_file(path, "hello");
    config = (struct loadgen_config){
        .credentials = "a:b",
        .post_file = path,
        .cookies = { .items = { "a=1", "b=2" }, .count = 2 },
    };
    for (long n = 0;; n++) {
        struct request r;
        mem_fail_after(n);
        int rc = request_build(&r, &config, &target, NULL);
        bool failed = mem_failed();
        mem_fail_after(-1);
        assert_int_equal(rc, failed ? -ENOMEM : 0);
        if (failed)
            continue;
        request_free(&r);
        break;
    }
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connection_follows_version_and_keep_alive),
        cmocka_unit_test(test_headers_replace_defaults),
        cmocka_unit_test(test_connection_header_decides_about_reuse),
        cmocka_unit_test(test_cookies_are_joined),
        cmocka_unit_test(test_credentials_are_base64),
        cmocka_unit_test(test_body_comes_from_a_file),
        cmocka_unit_test(test_method_decides_about_response_bodies),
        cmocka_unit_test(test_what_would_break_the_message_is_refused),
        cmocka_unit_test(test_out_of_memory_at_every_allocation),
    };
    return cmocka_run_group_tests(tests, parse_target, NULL);
}
