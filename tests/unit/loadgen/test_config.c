/* SPDX-License-Identifier: MIT */
/* Options that depend on each other. */
#include "loadgen/config.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_budget_is_the_count_or_endless(void **state) {
    (void)state;
    struct loadgen_config c = { .concurrency = 1 };
    assert_int_equal(loadgen_config_budget(&c), 1);
    c.concurrency = 7; /* each has one */
    assert_int_equal(loadgen_config_budget(&c), 7);
    c.requests = 70000;
    assert_int_equal(loadgen_config_budget(&c), 70000);
    c.time_limit = NSEC_PER_SEC;
    assert_int_equal(loadgen_config_budget(&c), 70000);
    c.requests = 0;
    assert_true(loadgen_config_budget(&c) == UINT64_MAX);
}

static const struct {
    struct loadgen_config config;
    const char *complaint; /* NULL: fine */
} combinations[] = {
    { { .requests = 5, .concurrency = 5 }, NULL },
    { { .requests = 5, .concurrency = 6 }, "--concurrency 6" },
    { { .concurrency = 2 }, NULL },
    { { .concurrency = 2, .ipv4 = true, .ipv6 = true }, "-4 and -6" },
    { { .concurrency = 2, .time_limit = 1 }, NULL },
    { { .concurrency = 1, .post_file = "f", .put_file = "f" }, "--post, --put and --body" },
    { { .concurrency = 1, .head = true, .put_file = "f" }, "--head" },
    { { .concurrency = 1, .head = true, .method = "GET" }, "--head" },
    { { .concurrency = 1, .post_file = "f", .method = "PATCH" }, NULL },
};

static void test_contradictions_are_refused_by_name(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(combinations); i++) {
        struct error err = { .text = "" };
        const char *complaint = combinations[i].complaint;
        int rc = loadgen_config_check(&combinations[i].config, &err);
        assert_int_equal(rc, complaint == NULL ? 0 : -EINVAL);
        if (complaint != NULL)
            assert_non_null(strstr(err.text, complaint));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_budget_is_the_count_or_endless),
        cmocka_unit_test(test_contradictions_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
