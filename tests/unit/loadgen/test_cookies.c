/* SPDX-License-Identifier: MIT */
/* Cookies: whose they are, for how long, and in what order they are sent. */
#include "base/attr.h"
#include "loadgen/cookies.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOW 1000000

static const struct cookie_place shop = { SLICE_INIT("www.example.com"), SLICE_INIT("/shop/cart"),
                                          false };

static void assert_sent(struct cookies *k, struct cookie_place place, int64_t now,
                        const char *expected) {
    struct buf out;
    size_t count;
    buf_init(&out, 1 << 20);
    assert_int_equal(cookies_append(k, place, now, &out, &count), 0);
    if (!slice_eq(buf_unread(&out), slice_str(expected)))
        fail_msg("'%.*s' instead of '%s'", (int)buf_unread(&out).len, buf_unread(&out).ptr,
                 expected);
    buf_free(&out);
}

/* Takes one cookie alone, and looks at what is sent to the same place. */
static void test_one_cookie(void **state) {
    (void)state;
    static const struct {
        const char *value, *sent;
    } cases[] = {
        { "a=1", "a=1" },
        { " a = 1 ; Path=/", "a = 1" },
        { "a=", "a=" },
        { "a=b=c; HttpOnly; SameSite=Lax", "a=b=c" },
        { "noname", "" },
        { "=x", "" },
        { "a=1; Path=/shop", "a=1" },
        { "a=1; Path=/shop/", "a=1" },
        { "a=1; Path=/sho", "" },
        { "a=1; Path=/shop/cart/x", "" },
        { "a=1; Path=relative", "a=1" },
        { "a=1; Domain=example.com", "a=1" },
        { "a=1; Domain=.EXAMPLE.com", "a=1" },
        { "a=1; Domain=com", "" },
        { "a=1; Domain=ample.com", "" },
        { "a=1; Domain=other.com", "" },
        { "a=1; Domain=deeper.www.example.com", "" },
        { "a=1; Secure", "" },
        { "a=1; Max-Age=10", "a=1" },
        { "a=1; Max-Age=0", "" },
        { "a=1; Max-Age=-5", "" },
        { "a=1; Max-Age=x", "a=1" },
        { "a=1; Max-Age=99999999999999999999", "a=1" },
        { "a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "" },
        { "a=1; Expires=Wed, 09-Jun-2100 10:18:14 GMT", "a=1" },
        { "a=1; Expires=Wed, 09 Jun 2100 10:18:14 GMT; Max-Age=0", "" },
        { "a=1; Max-Age=10; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "a=1" },
        { "a=1; Expires=never", "a=1" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct cookies k = { .count = 0 };
        assert_true(cookies_take(&k, slice_str(cases[i].value), shop, NOW) >= 0);
        assert_sent(&k, shop, NOW, cases[i].sent);
        cookies_free(&k);
    }
}

static void take(struct cookies *k, const char *value, struct cookie_place place) {
    assert_int_equal(cookies_take(k, slice_str(value), place, NOW), 1);
}

static void test_many_cookies(void **state) {
    (void)state;
    struct cookies k = { .count = 0 };
    struct cookie_place top = shop, secure = shop;
    top.path = SLICE("/");
    secure.is_tls = true;
    take(&k, "a=1; Path=/", shop);
    take(&k, "b=2", shop); /* /shop */
    take(&k, "c=3; Path=/", shop);
    take(&k, "s=4; Path=/; Secure", secure);
    assert_sent(&k, shop, NOW, "b=2; a=1; c=3");
    assert_sent(&k, top, NOW, "a=1; c=3");
    assert_sent(&k, secure, NOW, "b=2; a=1; c=3; s=4");
    take(&k, "a=5; Path=/; Max-Age=10", shop); /* in the place of the first one */
    assert_sent(&k, top, NOW + 9, "c=3; a=5");
    assert_sent(&k, top, NOW + 10, "c=3");
    take(&k, "c=gone; Path=/; Max-Age=0", shop);
    assert_sent(&k, top, NOW, "");
    cookies_free(&k);
}

static void test_addresses_have_no_names_above(void **state) {
    (void)state;
    struct cookies k = { .count = 0 };
    struct cookie_place place = { SLICE_INIT("127.0.0.1"), SLICE_INIT("/"), false };
    assert_int_equal(cookies_take(&k, SLICE("a=1; Domain=0.0.1"), place, NOW), 0);
    assert_int_equal(cookies_take(&k, SLICE("a=1; Domain=127.0.0.1"), place, NOW), 1);
    assert_sent(&k, place, NOW, "a=1");
    cookies_free(&k);
}

static void test_a_jar_has_its_bounds(void **state) {
    (void)state;
    struct cookies k = { .count = 0 };
    static char large[COOKIE_BYTES_MAX + 3];
    char text[32];
    for (int i = 0; i <= COOKIES_MAX; i++) {
        snprintf(text, sizeof(text), "n%d=v; Path=/", i);
        take(&k, text, shop);
    }
    assert_int_equal(k.count, COOKIES_MAX);
    assert_true(slice_starts_with(slice_str(k.items[0].text), SLICE("n1=")));
    memset(large, 'x', sizeof(large) - 1);
    large[1] = '=';
    assert_int_equal(cookies_take(&k, slice_str(large), shop, NOW), 0);
    large[COOKIE_BYTES_MAX] = '\0';
    assert_int_equal(cookies_take(&k, slice_str(large), shop, NOW), 1);
    cookies_free(&k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_cookie),
        cmocka_unit_test(test_many_cookies),
        cmocka_unit_test(test_addresses_have_no_names_above),
        cmocka_unit_test(test_a_jar_has_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
