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
    { { .concurrency = 1, .json_path = "-", .look = { .hlog_path = "-" } }, "--hlog" },
    { { .concurrency = 1, .look = { .page_path = "f", .series_path = "f" } }, "written to 'f'" },
    { { .concurrency = 1, .csv_path = "/dev/null", .json_path = "/dev/null" }, NULL },
    { { .concurrency = 1, .csv_path = "f", .json_path = "g" }, NULL },
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

static void test_shards_are_read(void **state) {
    (void)state;
    static const struct {
        const char *text, *index;
        uint32_t at, count; /* 0: refused */
    } rows[] = {
        { "1/1", NULL, 0, 1 },
        { "0/1", NULL, 0, 1 },
        { "2/4", NULL, 2, 4 },
        { "0/4", NULL, 0, 4 },
        { "4/4", "1", 0, 4 },
        { "4", "0", 0, 4 },
        { "4", "3", 3, 4 },
        { "4", "4", 0, 4 },
        { "4", "5", 0, 0 },
        { "4", "", 0, 0 },
        { "4", "-1", 0, 0 },
        { "4", "x", 0, 0 },
        { "4", NULL, 0, 0 },
        { "5/4", NULL, 0, 0 },
        { "1/0", NULL, 0, 0 },
        { "0/0", NULL, 0, 0 },
        { "0", "0", 0, 0 },
        { "/4", NULL, 0, 0 },
        { "4/", NULL, 0, 0 },
        { "1/4/4", NULL, 0, 0 },
        { "", NULL, 0, 0 },
        { "", "0", 0, 0 },
        { "1 /4", NULL, 0, 0 },
        { "-1/4", NULL, 0, 0 },
        { "1/99999999999999999999", NULL, 0, 0 },
        { "99999999999999999999/4", NULL, 0, 0 },
        { "9999/10000", NULL, 9999, 10000 },
        { "1/10001", NULL, 0, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct share share = { 0, 0 };
        struct error err = { .text = "" };
        int rc = load_shard_parse(rows[i].text, rows[i].index, &share, &err);
        assert_int_equal(rc, rows[i].count > 0 ? 0 : -EINVAL);
        assert_int_equal(share.index, rows[i].at);
        assert_int_equal(share.count, rows[i].count);
        assert_true((rc == 0) == (err.text[0] == '\0'));
    }
}

static void test_parts_of_shards_add_up(void **state) {
    (void)state;
    for (uint32_t count = 1; count <= 7; count++) {
        int64_t requests = 0, connections = 0;
        double rate = 0;
        for (uint32_t i = 0; i < count; i++) {
            struct loadgen_config c = { .requests = 23, .concurrency = 11, .rate = 100 };
            struct error err;
            c.shard.share = (struct share){ i, count };
            assert_int_equal(loadgen_config_take_shard(&c, &err), 0);
            requests += c.requests;
            connections += c.concurrency;
            rate += c.rate;
        }
        assert_int_equal(requests, 23);
        assert_int_equal(connections, 11);
        assert_float_equal(rate, 100, 1e-9);
    }
    struct loadgen_config c = { .requests = 2, .concurrency = 1 };
    struct error err = { .text = "" };
    c.shard.share = (struct share){ 2, 3 };
    assert_int_equal(loadgen_config_take_shard(&c, &err), -EINVAL);
    assert_non_null(strstr(err.text, "--shard 2/3"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_budget_is_the_count_or_endless),
        cmocka_unit_test(test_contradictions_are_refused_by_name),
        cmocka_unit_test(test_shards_are_read),
        cmocka_unit_test(test_parts_of_shards_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
