/* SPDX-License-Identifier: MIT */
/* Plans: which requests are answered, when, and what the others are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "slowapi/limits.h"
#include "slowapi/plan.h"
#include <stdio.h>
#include <stdlib.h>

static const struct slowapi_config config = { .delay = "7" };

struct seen {
    nsec_t delay;
    uint16_t status;
    char text[512]; /* of a refusal */
};

static int set_up(void **state) {
    struct planner *p = calloc(1, sizeof(*p));
    struct shared *shared = shared_new(64, 64, NULL);

    *state = p;
    return p == NULL || shared == NULL ? -1 : planner_init(p, &config, shared, 0, NULL);
}

static int tear_down(void **state) {
    struct planner *p = *state;

    shared_free(p->shared);
    planner_free(p);
    free(p);
    return 0;
}

static struct seen plan_of(void **state, enum http_method method, const char *target) {
    const struct http_head head = { .method = method, .target = slice_str(target) };
    const struct plan_origin origin = { .client = 1 };
    struct seen seen = { .status = 200 };
    struct slow_plan plan;

    assert_int_equal(plan_make(*state, &head, &origin, &plan), 0);
    seen.delay = plan.delay;
    if (plan.reply != NULL) {
        seen.status = plan.reply->status;
        snprintf(seen.text, sizeof(seen.text), "%.*s", (int)plan.reply->body.text.len,
                 plan.reply->body.text.ptr);
    }
    plan_free(*state, plan.reply);
    return seen;
}

static void the_delay_is_what_the_query_says(void **state) {
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

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct seen seen = plan_of(state, HTTP_METHOD_GET, cases[i].target);
        assert_int_equal(seen.status, 200);
        assert_int_equal(seen.delay, cases[i].delay);
    }
}

static void a_bad_delay_is_named_with_what_is_allowed(void **state) {
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
        { "/?status=99", "status=99 has an impossible value; allowed: a status" },
        { "/?fault=rst@moon", "fault=rst@moon has a place that is not" },
        { "/?fault=boom", "fault=boom names a fault that is not known" },
        { "/?fault=stale@body", "fault=stale@body has a place where this fault cannot strike" },
        { "/?fault=fin:101", "fault=fin:101 has a probability" },
        { "/?workers=0", "workers=0 is out of range" },
        { "/?queue=10001", "queue=10001 is out of range" },
        { "/?header=x", "header=x is not NAME:VALUE" },
        { "/?header=a%20b:x", "header=a%20b:x is not NAME:VALUE" },
        { "/?header=a:x%0d%0ab:y", "header=a:x%0d%0ab:y is not NAME:VALUE" },
        { "/?pause=every=1s", "pause=every=1s needs every=D and for=D" },
        { "/?profile=x", "profile=x is not known; allowed: db" },
        { "/status/200:0", "weights=200:0 has no share above 0" },
        { "/status/", "weights= is empty" },
        { "/delay/x", "delay=x is not" },
        { "/bytes/2g", "numbytes=2g is not a number of bytes" },
        { "/?jitter=2", "jitter=2 is out of range" },
        { "/?seq=200,99", "seq=200,99 has a step" },
        { "/?delay=1%20", "delay=1%20 is not" },
        { "/?delay=%zz", "delay=%zz has a bad percent-escape; allowed: " },
        { "/?delay=%00", "delay=%00 has a bad percent-escape; allowed: " },
        { "/?delay=99999999999999999999", "delay=99999999999999999999 is more than ten years" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct seen seen = plan_of(state, HTTP_METHOD_GET, cases[i].target);
        if (seen.status != 400)
            fail_msg("%s: %u", cases[i].target, seen.status);
        assert_int_equal(seen.delay, 0);
        assert_true(slice_starts_with(slice_str(seen.text), slice_str(cases[i].start)));
    }
}

static void a_long_value_is_refused_and_cut_in_the_message(void **state) {
    char target[SLOWAPI_VALUE_BYTES + 64] = "/?linear=";

    memset(target + strlen(target), '1', SLOWAPI_VALUE_BYTES + 1);
    struct seen seen = plan_of(state, HTTP_METHOD_GET, target);
    assert_int_equal(seen.status, 400);
    assert_non_null(strstr(seen.text, "... is too long; allowed: "));
    assert_true(strlen(seen.text) < 400);
}

static void paths_and_methods_have_their_status(void **state) {
    static const struct {
        enum http_method method;
        const char *target;
        uint16_t status;
    } cases[] = {
        { HTTP_METHOD_HEAD, "/", 200 },      { HTTP_METHOD_POST, "/?delay=0", 200 },
        { HTTP_METHOD_PUT, "/", 200 },       { HTTP_METHOD_DELETE, "/", 405 },
        { HTTP_METHOD_OPTIONS, "/", 405 },   { HTTP_METHOD_OPTIONS, "*", 200 },
        { HTTP_METHOD_GET, "/x", 404 },      { HTTP_METHOD_GET, "//", 404 },
        { HTTP_METHOD_GET, "/%2f", 404 },    { HTTP_METHOD_DELETE, "/x?delay=abc", 404 },
        { HTTP_METHOD_OTHER, "/nope", 501 },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(plan_of(state, cases[i].method, cases[i].target).status, cases[i].status);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_delay_is_what_the_query_says, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_bad_delay_is_named_with_what_is_allowed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_long_value_is_refused_and_cut_in_the_message, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(paths_and_methods_have_their_status, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
