/* SPDX-License-Identifier: MIT */
/* Plans: which requests are answered, when, and what the others are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "slowapi/limits.h"
#include "slowapi/plan.h"

static const struct slowapi_config config = { .delay = 7 * NSEC_PER_SEC };

static struct plan plan_of(enum http_method method, const char *target, struct error *why) {
    const struct http_head head = { .method = method, .target = slice_str(target) };

    why->text[0] = '\0';
    return plan_make(&head, &config, why);
}

static void the_delay_is_what_the_query_says(void **state UNUSED) {
    static const struct {
        const char *target;
        nsec_t delay;
    } cases[] = {
        { "/", 7 * NSEC_PER_SEC },
        { "/?", 7 * NSEC_PER_SEC },
        { "/?delay", 7 * NSEC_PER_SEC },
        { "/?delay=", 7 * NSEC_PER_SEC },
        { "/?other=1", 7 * NSEC_PER_SEC },
        { "/?delay=0", 0 },
        { "/?delay=0.0", 0 },
        { "/?delay=0.25", 250 * NSEC_PER_MSEC },
        { "/?delay=.5", 500 * NSEC_PER_MSEC },
        { "/?delay=3600", 3600 * NSEC_PER_SEC },
        { "/?x=y&delay=2&z", 2 * NSEC_PER_SEC },
        { "/?delay=2&delay=3", 2 * NSEC_PER_SEC },
        { "/?delay=%32", 2 * NSEC_PER_SEC },
        { "/?%64elay=2", 2 * NSEC_PER_SEC },
        { "http://host/?delay=2", 2 * NSEC_PER_SEC },
    };
    struct error why;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct plan plan = plan_of(HTTP_METHOD_GET, cases[i].target, &why);
        assert_int_equal(plan.status, 200);
        assert_int_equal(plan.delay, cases[i].delay);
    }
}

static void a_bad_delay_is_named_with_what_is_allowed(void **state UNUSED) {
    static const struct {
        const char *target, *start;
    } cases[] = {
        { "/?delay=abc", "delay=abc is not a decimal number of seconds; allowed: " },
        { "/?delay=-1", "delay=-1 is negative; allowed: " },
        { "/?delay=nan", "delay=nan is not a number; allowed: " },
        { "/?delay=inf", "delay=inf is not finite; allowed: " },
        { "/?delay=1e999", "delay=1e999 is not a decimal number of seconds; allowed: " },
        { "/?delay=1,5", "delay=1,5 is not" },
        { "/?delay=+1", "delay=+1 is not" },
        { "/?delay=1%20", "delay=1%20 is not" },
        { "/?delay=%zz", "delay=%zz has a bad percent-escape; allowed: " },
        { "/?delay=%00", "delay=%00 has a bad percent-escape; allowed: " },
        { "/?delay=99999999999999999999", "delay=99999999999999999999 is more than ten years" },
    };
    struct error why;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct plan plan = plan_of(HTTP_METHOD_GET, cases[i].target, &why);
        assert_int_equal(plan.status, 400);
        assert_int_equal(plan.delay, 0);
        assert_true(slice_starts_with(slice_str(why.text), slice_str(cases[i].start)));
    }
}

static void a_long_value_is_refused_and_cut_in_the_message(void **state UNUSED) {
    char target[1024] = "/?delay=";
    struct error why;

    memset(target + strlen(target), '1', SLOWAPI_VALUE_BYTES + 1);
    assert_int_equal(plan_of(HTTP_METHOD_GET, target, &why).status, 400);
    assert_non_null(strstr(why.text, "... is too long; allowed: "));
    assert_true(strlen(why.text) < 200);
}

static void paths_and_methods_have_their_status(void **state UNUSED) {
    static const struct {
        enum http_method method;
        const char *target;
        uint16_t status;
    } cases[] = {
        { HTTP_METHOD_HEAD, "/", 200 },      { HTTP_METHOD_POST, "/?delay=0", 200 },
        { HTTP_METHOD_PUT, "/", 200 },       { HTTP_METHOD_DELETE, "/", 405 },
        { HTTP_METHOD_OPTIONS, "/", 405 },   { HTTP_METHOD_OPTIONS, "*", 404 },
        { HTTP_METHOD_GET, "/x", 404 },      { HTTP_METHOD_GET, "//", 404 },
        { HTTP_METHOD_GET, "/%2f", 404 },    { HTTP_METHOD_DELETE, "/x?delay=abc", 404 },
        { HTTP_METHOD_OTHER, "/nope", 501 },
    };
    struct error why;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct plan plan = plan_of(cases[i].method, cases[i].target, &why);
        assert_int_equal(plan.status, cases[i].status);
        assert_int_equal(why.text[0] == '\0', plan.status == 200);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_delay_is_what_the_query_says),
        cmocka_unit_test(a_bad_delay_is_named_with_what_is_allowed),
        cmocka_unit_test(a_long_value_is_refused_and_cut_in_the_message),
        cmocka_unit_test(paths_and_methods_have_their_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
