/* SPDX-License-Identifier: MIT */
/* URLs: whom they name, and which are refused with which words. */
#include "loadgen/target.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *url, *host, *authority, *target;
    uint16_t port;
} good[] = {
    { "http://127.0.0.1:3000/a?b=c", "127.0.0.1", "127.0.0.1:3000", "/a?b=c", 3000 },
    { "http://127.0.0.1/", "127.0.0.1", "127.0.0.1", "/", 80 },
    { "http://127.0.0.1:80", "127.0.0.1", "127.0.0.1", "/", 80 },
    { "127.0.0.1:81/x", "127.0.0.1", "127.0.0.1:81", "/x", 81 },
    { "http://[::1]:3000/", "::1", "[::1]:3000", "/", 3000 },
    { "http://[::1]/", "::1", "[::1]", "/", 80 },
    { "https://127.0.0.1/", "127.0.0.1", "127.0.0.1", "/", 443 },
    { "https://[::1]:80/", "::1", "[::1]:80", "/", 80 },
    { "HTTP://localhost:1/?q", "localhost", "localhost:1", "/?q", 1 },
};

static void test_urls_are_taken_apart(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct target t;
        struct error err = { .text = "" };
        assert_int_equal(target_parse(&t, good[i].url, &err), 0);
        assert_string_equal(t.host, good[i].host);
        assert_string_equal(t.authority, good[i].authority);
        assert_true(slice_eq(t.url.target, slice_str(good[i].target)));
        assert_int_equal(t.url.port, good[i].port);
    }
}

static void test_what_cannot_be_loaded_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *url, *complaint;
    } bad[] = {
        { "", "URL ''" },
        { "http://", "URL 'http://'" },
        { "ftp://127.0.0.1/", "URL 'ftp://127.0.0.1/'" },
        { "http://user:pw@127.0.0.1/", "-A" },
        { "http://127.0.0.1:99999/", "URL 'http://127.0.0.1:99999/'" },
        { "http://127.0.0.1/a b", "URL 'http://127.0.0.1/a b'" },
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct target t;
        struct error err = { .text = "" };
        assert_int_equal(target_parse(&t, bad[i].url, &err), -EINVAL);
        assert_non_null(strstr(err.text, bad[i].complaint));
    }
}

static void test_numbers_need_no_look_up(void **state) {
    (void)state;
    const struct loadgen_config config = { .timeout = NSEC_PER_SEC };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct target t;
        struct error err = { .text = "" };
        assert_int_equal(target_parse(&t, good[i].url, &err), 0);
        assert_int_equal(target_resolve(&t, &config, &err), 0);
        assert_true(t.addresses.count >= 1);
        assert_int_equal(address_port(&t.addresses.addresses[0]), good[i].port);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls_are_taken_apart),
        cmocka_unit_test(test_what_cannot_be_loaded_is_refused),
        cmocka_unit_test(test_numbers_need_no_look_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
