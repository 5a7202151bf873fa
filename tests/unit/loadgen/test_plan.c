/* SPDX-License-Identifier: MIT */
/* Budgets and schedules: shares add up, planned times keep to the rate. */
#include "loadgen/plan.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct share whole = { .index = 0, .count = 1 };

static void test_plan_gives_out_its_budget_once(void **state) {
    (void)state;
    struct loadgen_config c = { .requests = 2, .concurrency = 1, .time_limit = 5 };
    struct load_plan plan;
    nsec_t planned;
    plan_init(&plan, &c, whole, 100);
    assert_int_equal(plan.stop_at, 105);
    assert_true(plan_take(&plan, 101, &planned));
    assert_int_equal(planned, 101);
    assert_true(plan_take(&plan, 102, &planned));
    assert_false(plan_take(&plan, 103, &planned));

    c = (struct loadgen_config){ .concurrency = 1, .time_limit = 5 };
    plan_init(&plan, &c, whole, 100);
    assert_true(plan_take(&plan, 101, &planned));
    assert_true(plan.left == UINT64_MAX);
    c = (struct loadgen_config){ .concurrency = 1 };
    plan_init(&plan, &c, whole, 100);
    assert_true(plan.stop_at == NSEC_NEVER);
}

static void test_warm_up_is_not_in_the_budget(void **state) {
    (void)state;
    struct loadgen_config c = { .requests = 1, .concurrency = 1, .warmup = 50 };
    struct load_plan plan;
    nsec_t planned;
    plan_init(&plan, &c, whole, 100);
    for (int i = 0; i < 9; i++)
        assert_true(plan_take(&plan, 149, &planned));
    assert_true(plan_take(&plan, 150, &planned));
    assert_false(plan_take(&plan, 151, &planned));
}

static void test_shares_add_up(void **state) {
    (void)state;
    for (uint32_t count = 1; count < 8; count++) {
        uint64_t sum = 0;
        for (uint32_t i = 0; i < count; i++)
            sum += share_of((struct share){ .index = i, .count = count }, 100);
        assert_int_equal(sum, 100);
    }
}

static void test_even_arrivals_of_workers_interleave(void **state) {
    (void)state;
    struct loadgen_config c = { .requests = 8, .concurrency = 2, .rate = 1000 };
    for (uint32_t index = 0; index < 2; index++) {
        struct load_plan plan;
        nsec_t planned;
        plan_init(&plan, &c, (struct share){ .index = index, .count = 2 }, 0);
        for (int i = 0; i < 4; i++) {
            nsec_t at = (2 * i + (int)index) * NSEC_PER_MSEC;
            assert_int_equal(plan_next_at(&plan), at);
            assert_false(plan_take(&plan, at - 1, &planned));
            assert_true(
                plan_take(&plan, at + NSEC_PER_SEC, &planned)); /* a late one keeps its time */
            assert_int_equal(planned, at);
        }
        assert_true(plan_next_at(&plan) == NSEC_NEVER);
    }
}

/* Planned times of all workers of all shards are those of one worker that does it all. */
static void test_shards_plan_one_load(void **state) {
    (void)state;
    enum { SHARDS = 3, WORKERS = 2, REQUESTS = 20 };
    int taken[REQUESTS] = { 0 };
    uint64_t connections = 0;
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        struct loadgen_config c = { .requests = REQUESTS, .concurrency = 8, .rate = 1000 };
        struct error err;
        c.shard.share = (struct share){ .index = shard, .count = SHARDS };
        assert_int_equal(loadgen_config_take_shard(&c, &err), 0);
        connections += (uint64_t)c.concurrency;
        for (uint32_t i = 0; i < WORKERS; i++) {
            struct load_plan plan;
            nsec_t planned;
            plan_init(&plan, &c, (struct share){ .index = i, .count = WORKERS }, 0);
            while (plan_take(&plan, NSEC_PER_SEC, &planned)) {
                nsec_t number = (planned + 1000) / NSEC_PER_MSEC;
                assert_in_range(planned + 1000, number * NSEC_PER_MSEC,
                                number * NSEC_PER_MSEC + 2000);
                taken[number]++;
            }
        }
    }
    for (int i = 0; i < REQUESTS; i++)
        assert_int_equal(taken[i], 1);
    assert_int_equal(connections, 8);
}

static void test_random_arrivals_keep_the_rate_and_the_seed(void **state) {
    (void)state;
    struct loadgen_config c = { .concurrency = 1,
                                .rate = 1000,
                                .arrivals = LOADGEN_ARRIVALS_POISSON,
                                .seed = 1,
                                .time_limit = 20 * NSEC_PER_SEC };
    nsec_t first[2];
    for (int round = 0; round < 2; round++) {
        struct load_plan plan;
        nsec_t planned;
        int count = 0;
        plan_init(&plan, &c, whole, 0);
        first[round] = plan_next_at(&plan);
        while (plan_take(&plan, NSEC_NEVER - 1, &planned))
            count++;
        assert_in_range(count, 19400, 20600); /* 20,000 +- 4 standard deviations */
    }
    assert_true(first[0] == first[1]);
}

static struct load_shape stages(const char *text) {
    struct load_shape s;
    struct error err;
    assert_int_equal(loadgen_parse_stages(text, &s, &err), 0);
    return s;
}

/* Counts a worker's planned times by second. */
static void count_seconds(const struct loadgen_config *c, struct share share, int counts[8]) {
    struct load_plan plan;
    nsec_t planned, before = 0;
    plan_init(&plan, c, share, 5 * NSEC_PER_SEC);
    while (plan_take(&plan, NSEC_NEVER - 1, &planned)) {
        nsec_t second = (planned - 5 * NSEC_PER_SEC) / NSEC_PER_SEC;
        assert_in_range(second, 0, 7);
        assert_true(planned >= before);
        before = planned;
        counts[second]++;
    }
}

static void test_stages_plan_what_their_line_says(void **state) {
    (void)state;
    static const int expected[8] = { 250, 750, 1000, 1000, 100, 100, 75, 25 };
    struct loadgen_config c = { .concurrency = 9,
                                .stages = stages("1000/s:2s, =1000/s:2s, =100/s:2s, 0:2s"),
                                .time_limit = 8 * NSEC_PER_SEC };
    for (uint32_t workers = 1; workers <= 3; workers++) {
        int counts[8] = { 0 };
        for (uint32_t i = 0; i < workers; i++)
            count_seconds(&c, (struct share){ .index = i, .count = workers }, counts);
        for (int i = 0; i < 8; i++)
            assert_int_equal(counts[i], expected[i]);
    }
}

static void test_random_stages_keep_their_line(void **state) {
    (void)state;
    struct loadgen_config c = { .concurrency = 9,
                                .stages = stages("20k/s:2s, =20k/s:2s, =2k/s:2s, 0:2s"),
                                .arrivals = LOADGEN_ARRIVALS_POISSON,
                                .time_limit = 8 * NSEC_PER_SEC };
    static const int expected[8] = { 5000, 15000, 20000, 20000, 2000, 2000, 1500, 500 };
    for (c.seed = 1; c.seed <= 50; c.seed++) {
        int counts[8] = { 0 };
        for (uint32_t i = 0; i < 2; i++)
            count_seconds(&c, (struct share){ .index = i, .count = 2 }, counts);
        for (int i = 0; i < 8; i++) /* five standard deviations: one failure in 2 million */
            assert_true(abs(counts[i] - expected[i]) < 5 * sqrt(expected[i]));
    }
}

/* Bursts stand beside the rate: 7 at once each half second, and 10 in a second. */
static void test_bursts_are_a_sequence_of_their_own(void **state) {
    (void)state;
    struct loadgen_config c = { .concurrency = 9,
                                .rate = 10,
                                .burst = { .count = 7, .every = NSEC_PER_SEC / 2 },
                                .time_limit = 4 * NSEC_PER_SEC };
    for (uint32_t workers = 1; workers <= 9; workers += 2) {
        int counts[8] = { 0 };
        for (uint32_t i = 0; i < workers; i++)
            count_seconds(&c, (struct share){ .index = i, .count = workers }, counts);
        for (int i = 0; i < 4; i++)
            assert_int_equal(counts[i], 24);
    }
    c.rate = 0;
    struct load_plan plan;
    nsec_t planned;
    plan_init(&plan, &c, whole, 0);
    for (int i = 0; i < 7 * 8; i++) {
        assert_true(plan_take(&plan, NSEC_NEVER - 1, &planned));
        assert_int_equal(planned, i / 7 * (NSEC_PER_SEC / 2));
    }
    assert_true(plan_next_at(&plan) == NSEC_NEVER);
}

static void test_a_rate_of_ages_plans_nothing(void **state) {
    (void)state;
    for (double rate = 1e-9; rate >= 1e-300; rate /= 1e9) {
        struct loadgen_config c = { .concurrency = 1, .rate = rate, .time_limit = NSEC_PER_SEC };
        struct load_plan plan;
        nsec_t planned;
        int count = 0;
        plan_init(&plan, &c, whole, 100);
        while (count < 5 && plan_take(&plan, 100 + NSEC_PER_SEC, &planned))
            count++;
        assert_true(count <= 1);
        c.arrivals = LOADGEN_ARRIVALS_POISSON;
        plan_init(&plan, &c, whole, 100);
        assert_false(plan_take(&plan, 100 + NSEC_PER_SEC, &planned));
    }
}

static void test_the_backlog_has_bursts(void **state) {
    (void)state;
    struct loadgen_config c = { .concurrency = 9,
                                .rate = 10,
                                .burst = { .count = 7, .every = NSEC_PER_SEC / 2 },
                                .time_limit = 4 * NSEC_PER_SEC };
    struct hist *ages = hist_new();
    assert_non_null(ages);
    for (uint32_t i = 0; i < 3; i++) {
        struct load_plan plan;
        nsec_t planned;
        plan_init(&plan, &c, (struct share){ .index = i, .count = 3 }, 0);
        for (int k = 0; k < 5; k++)
            assert_true(plan_take(&plan, 3 * NSEC_PER_SEC, &planned));
        uint64_t backlog = plan_look(&plan, 3 * NSEC_PER_SEC, NSEC_PER_SEC, ages).count, left = 0;
        while (plan_take(&plan, 3 * NSEC_PER_SEC, &planned))
            left++;
        assert_int_equal(backlog, left);
    }
    hist_free(ages);
}

static void test_the_backlog_is_what_would_be_taken(void **state) {
    (void)state;
    struct loadgen_config c = { .concurrency = 9,
                                .stages = stages("1000/s:2s, 0:2s"),
                                .time_limit = 4 * NSEC_PER_SEC };
    struct hist *ages = hist_new();
    struct load_plan plan;
    nsec_t planned;
    assert_non_null(ages);
    plan_init(&plan, &c, whole, 0);
    assert_int_equal(plan_look(&plan, 0, NSEC_PER_MSEC, ages).count, 0);
    for (int i = 0; i < 100; i++)
        assert_true(plan_take(&plan, 3 * NSEC_PER_SEC, &planned));
    struct plan_backlog backlog = plan_look(&plan, 3 * NSEC_PER_SEC, NSEC_PER_SEC, ages);
    uint64_t left = 0, late = 0;
    for (; plan_take(&plan, 3 * NSEC_PER_SEC, &planned); left++)
        late += planned < 2 * NSEC_PER_SEC;
    assert_int_equal(backlog.count, left);
    assert_in_range(backlog.late, late - 2, late + 2);
    assert_int_equal(hist_count(ages), left);
    hist_free(ages);
}

/* Neither workers of a run nor runs with neighbouring seeds may have the same gaps at any shift. */
static void test_seeds_and_workers_have_schedules_of_their_own(void **state) {
    (void)state;
    enum { STREAMS = 4, DRAWS = 64 };
    static uint64_t drawn[STREAMS * DRAWS];
    size_t count = 0;
    for (uint64_t seed = 1; seed <= 2; seed++)
        for (uint64_t index = 0; index < 2; index++) {
            struct rng rng = rng_stream(seed, index);
            for (int i = 0; i < DRAWS; i++)
                drawn[count++] = rng_next(&rng);
        }
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            assert_true(drawn[i] != drawn[j]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan_gives_out_its_budget_once),
        cmocka_unit_test(test_warm_up_is_not_in_the_budget),
        cmocka_unit_test(test_shares_add_up),
        cmocka_unit_test(test_even_arrivals_of_workers_interleave),
        cmocka_unit_test(test_shards_plan_one_load),
        cmocka_unit_test(test_random_arrivals_keep_the_rate_and_the_seed),
        cmocka_unit_test(test_stages_plan_what_their_line_says),
        cmocka_unit_test(test_random_stages_keep_their_line),
        cmocka_unit_test(test_bursts_are_a_sequence_of_their_own),
        cmocka_unit_test(test_a_rate_of_ages_plans_nothing),
        cmocka_unit_test(test_the_backlog_has_bursts),
        cmocka_unit_test(test_the_backlog_is_what_would_be_taken),
        cmocka_unit_test(test_seeds_and_workers_have_schedules_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
