/* SPDX-License-Identifier: MIT */
/* What workers share: the queue in virtual time, sequences, rules, counters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/dist.h"
#include "slowapi/rule.h"
#include "slowapi/rule_list.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS        NSEC_PER_MSEC
#define SEQUENCES 4096
#define QUEUES    64

static int set_up(void **state) {
    *state = shared_new(SEQUENCES, QUEUES, NULL);
    return *state != NULL ? 0 : -1;
}

static int tear_down(void **state) {
    shared_free(*state);
    return 0;
}

/* --- queues ----------------------------------------------------------------------------------- */

static struct queue_turn enter(struct shared *shared, uint64_t key, int64_t workers, int64_t limit,
                               nsec_t service, nsec_t now) {
    const struct queue_ask ask = {
        .workers = workers, .limit = limit, .service = service, .name = SLICE("/q")
    };

    return queue_enter(shared, key, &ask, now);
}

static void the_queue_is_first_come_first_served(void **state) {
    struct shared *shared = *state;
    static const struct {
        nsec_t at, wait;
        bool is_full;
    } turns[] = {
        { 0, 0, false },
        { 0, 0, false }, /* both workers */
        { 10 * MS, 90 * MS, false },
        { 20 * MS, 80 * MS, false },   /* two wait */
        { 30 * MS, 0, true },          /* the third does not */
        { 100 * MS, 100 * MS, false }, /* those two are served */
        { 1000 * MS, 0, false },       /* all idle again */
    };

    for (size_t i = 0; i < ARRAY_LEN(turns); i++) {
        struct queue_turn turn = enter(shared, 7, 2, 2, 100 * MS, 1 + turns[i].at);
        assert_int_equal(turn.is_full, turns[i].is_full);
        assert_int_equal(turn.wait, turns[i].wait);
        if (turn.is_full)
            assert_int_equal(turn.retry_after, 70 * MS);
    }
    assert_int_equal(enter(shared, 9, 2, 2, 100 * MS, 1).wait, 0); /* another queue */
}

static void a_queue_of_none_turns_away_at_once(void **state) {
    assert_false(enter(*state, 7, 1, 0, 100 * MS, 1).is_full);
    assert_true(enter(*state, 7, 1, 0, 100 * MS, 2).is_full);
    assert_false(enter(*state, 7, 1, 0, 100 * MS, 1 + 100 * MS).is_full);
}

/* M/D/1 at 80 percent: the mean wait is rho / (2 (1 - rho)) service times, here 2 (Pollaczek and
 * Khinchine). */
static void waits_are_those_of_the_theory(void **state) {
    struct dist arrivals = { .kind = DIST_EXP, .a = 1.25e6 };
    struct rng rng = { .state = 42 };
    double sum = 0;
    nsec_t now = 1;

    for (int i = 0; i < 200000; i++) {
        now += dist_draw(&arrivals, &rng);
        sum += (double)enter(*state, 7, 1, SLOWAPI_QUEUE_WAITING, MS, now).wait;
    }
    assert_true(sum / 200000 > 1.9e6 && sum / 200000 < 2.1e6);
}

static void as_many_queues_as_there_are_places_remember(void **state) {
    struct shared *shared = *state;

    for (uint64_t key = 0; key < QUEUES; key++)
        assert_false(enter(shared, key, 1, 0, 100 * MS, 1).evicts);
    for (uint64_t key = 0; key < QUEUES; key++)
        assert_true(enter(shared, key, 1, 0, 100 * MS, 2).is_full);
    assert_true(enter(shared, QUEUES, 1, 0, 100 * MS, 3).evicts);
    assert_false(enter(shared, 0, 1, 0, 100 * MS, 3).is_full);
    shared_forget(shared, &shared->queues);
    assert_false(enter(shared, QUEUES, 1, 0, 100 * MS, 4).is_full);
}

/* --- sequences -------------------------------------------------------------------------------- */

static uint64_t next(struct shared *shared, uint64_t key) {
    bool evicts;

    return sequence_next(shared, key, &evicts);
}

static void sequences_count_each_key_across_processes(void **state) {
    struct shared *shared = *state;

    assert_int_equal(next(shared, 5), 0);
    assert_int_equal(next(shared, 5), 1);
    assert_int_equal(next(shared, 6), 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit((int)next(shared, 5));
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 2);
    assert_int_equal(next(shared, 5), 3);
    shared_forget(shared, &shared->sequences);
    assert_int_equal(next(shared, 5), 0);
}

/* The table is full only when every place is taken, whatever the keys hash to. */
static void every_key_has_a_place_until_the_table_is_full(void **state) {
    struct shared *shared = *state;
    bool evicts;

    for (uint64_t round = 0; round < 3; round++)
        for (uint64_t i = 0; i < SEQUENCES; i++) {
            uint64_t key = hash_bytes(HASH_SEED, &i, sizeof(i));
            assert_int_equal(sequence_next(shared, key, &evicts), round);
            assert_false(evicts);
        }
}

static void the_key_that_was_not_used_for_longest_goes(void **state) {
    struct shared *shared = *state;
    bool evicts;

    for (uint64_t key = 0; key < SEQUENCES; key++)
        assert_int_equal(next(shared, key), 0);
    assert_int_equal(next(shared, 0), 1);
    assert_int_equal(sequence_next(shared, SEQUENCES, &evicts), 0); /* takes the place of 1 */
    assert_true(evicts);
    assert_int_equal(next(shared, 0), 2);
    for (uint64_t key = 2; key <= SEQUENCES; key++)
        assert_int_equal(next(shared, key), 1);
    assert_int_equal(next(shared, 1), 0);
    assert_int_equal(next(shared, 0), 0); /* 0 was the oldest when 1 came back */
}

static void tables_of_any_size_work(void **state UNUSED) {
    for (uint32_t size = 1; size < 20; size++) {
        struct shared *shared = shared_new(size, size, NULL);
        bool evicts;
        for (uint64_t i = 0; i < 100; i++) {
            assert_int_equal(sequence_next(shared, i, &evicts), 0);
            assert_int_equal(evicts, i >= size);
            assert_int_equal(enter(shared, i, 1, 0, MS, 1).evicts, i >= size);
        }
        assert_int_equal(next(shared, 99), 1);
        shared_free(shared);
    }
}

/* A worker that was killed between two links of the lists. */
static void a_worker_that_dies_with_the_lock_stops_nobody(void **state) {
    struct shared *shared = *state;

    for (uint64_t key = 0; key < 10; key++)
        assert_int_equal(next(shared, key), 0);
    pid_t pid = fork();
    if (pid == 0) {
        pthread_mutex_lock(&shared->mutex);
        memset(shared->sequences.buckets, 0x5a, sizeof(uint32_t) * SEQUENCES);
        shared->sequences.newest = shared->sequences.oldest = 77;
        shared->sequences.places[5].newer = shared->sequences.places[5].older = 99;
        _exit(0);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    for (uint64_t key = 0; key < 10; key++)
        assert_int_equal(next(shared, key), 1);
    assert_int_equal(next(shared, 10), 0);
}

/* --- rules ------------------------------------------------------------------------------------ */

static bool finds(struct rules *rules, struct shared *shared, const struct http_head *head,
                  struct slice path, struct rule_match *ret) {
    struct rule_request request = { .view = { .head = head, .path = path }, .shared = shared };

    return rules_find(rules, &request, ret) == RULE_FOUND;
}

static void rules_match_by_path_method_and_header(void **state) {
    static const char text[] =
        "[{\"name\":\"a\",\"path\":\"/a*\",\"method\":\"PUT\",\"params\":\"delay=1\"},"
        "{\"path\":\"/b\",\"header\":{\"x-t\":\"1\"},\"params\":\"delay=2\"}]";
    const struct http_head put = { .method = HTTP_METHOD_PUT, .fields = SLICE("X-T: 1\r\n") };
    const struct http_head get = { .method = HTTP_METHOD_GET, .fields = SLICE("X-T: 2\r\n") };
    struct rules *rules = NULL;
    struct rule_match match;
    uint32_t generation = 0;
    struct error err;

    assert_int_equal(rules_publish(*state, slice_str(text), NULL, &err), 0);
    rules_refresh(*state, &rules, &generation);
    assert_int_equal(rules_count(rules), 2);
    assert_true(finds(rules, *state, &put, SLICE("/abc"), &match));
    assert_string_equal(match.name, "a");
    assert_int_equal(match.index, 0);
    assert_false(finds(rules, *state, &get, SLICE("/abc"), &match));
    assert_true(finds(rules, *state, &put, SLICE("/b"), &match));
    assert_string_equal(match.name, "-");
    assert_int_equal(match.index, 1);
    assert_false(finds(rules, *state, &get, SLICE("/b"), &match));
    assert_false(finds(rules, *state, &put, SLICE("/bb"), &match));

    assert_int_equal(rules_publish(*state, SLICE("[{\"params\":\"boo=1\"}]"), NULL, &err), -EINVAL);
    assert_non_null(strstr(err.text, "rule 1: boo is not a parameter"));
    char *now = shared_rules(*state, NULL);
    assert_string_equal(now, text);
    mem_free(now);
    rules_free(rules);
}

/* --- stats ------------------------------------------------------------------------------------ */

static void times_are_kept_within_six_percent(void **state) {
    struct shared *shared = *state;
    struct slow_stats stats = { .slot = &shared->slots[3], .total = &shared->total };
    struct slow_stats_sum *sum = malloc(sizeof(*sum));

    assert_non_null(sum);
    slow_stats_adopt(&stats, 3);
    for (int i = 1; i <= 10000; i++)
        slow_stats_time(&stats, SLOW_ACTUAL, i * 100 * NSEC_PER_USEC);
    slow_stats_begin(&stats);
    slow_stats_begin(&stats);
    slow_stats_end(&stats, 7, 503);
    slow_stats_sum(sum, shared->slots, &shared->total);
    uint64_t p50 = hist_shared_quantile(&sum->times[SLOW_ACTUAL], .5);
    uint64_t p99 = hist_shared_quantile(&sum->times[SLOW_ACTUAL], .99);
    assert_in_range(p50, 500000, 532000);
    assert_in_range(p99, 990000, 1000000);
    assert_int_equal(hist_shared_quantile(&sum->times[SLOW_ACTUAL], 1), 1000000);
    assert_int_equal(hist_shared_count(&sum->times[SLOW_ACTUAL]), 10000);
    assert_int_equal(hist_shared_below(&sum->times[SLOW_ACTUAL], 100000), 1000);
    assert_int_equal(sum->in_flight, 1);
    assert_int_equal(sum->in_flight_max, 2);
    assert_int_equal(sum->classes[5], 1);
    slow_stats_adopt(&stats, 3); /* the worker died, its successor begins */
    assert_int_equal(atomic_load(&shared->total.in_flight), 0);
    slow_stats_time(&stats, SLOW_LATE, INT64_MAX);
    free(sum);
}

static void sums_leave_slots_alone_that_nobody_took(void **state) {
    struct shared *shared = *state;
    struct slow_stats stats = { .slot = &shared->slots[0], .total = &shared->total };
    struct slow_stats_sum *sum = malloc(sizeof(*sum));
    char *last = (char *)&shared->slots[PREFORK_WORKERS_MAX - 1];
    char *page = last - (uintptr_t)last % (size_t)sysconf(_SC_PAGESIZE);
    unsigned char resident = 1;

    assert_non_null(sum);
    slow_stats_adopt(&stats, 0);
    slow_stats_sum(sum, shared->slots, &shared->total);
    assert_int_equal(mincore(page, 1, &resident), 0);
    assert_int_equal(resident & 1, 0);
    free(sum);
}

/* --- budgets ---------------------------------------------------------------------------------- */

/* 600 a minute are ten a second. */
static void a_budget_fills_up_evenly(void **state) {
    struct shared *shared = *state;
    nsec_t now = 1000 * NSEC_PER_SEC;

    struct budget_turn turn = budget_take(shared, 5, 600, 590, now);
    assert_true(turn.fits);
    assert_int_equal(turn.left, 10);
    assert_int_equal(turn.full_after, 59 * NSEC_PER_SEC);

    turn = budget_take(shared, 5, 600, 30, now); /* nothing of it is taken */
    assert_false(turn.fits);
    assert_int_equal(turn.left, 10);
    assert_int_equal(turn.retry_after, 2 * NSEC_PER_SEC);

    assert_false(budget_take(shared, 5, 600, 30, now + 2 * NSEC_PER_SEC - MS).fits);
    turn = budget_take(shared, 5, 600, 30, now + 2 * NSEC_PER_SEC);
    assert_true(turn.fits);
    assert_int_equal(turn.left, 0);
    turn = budget_take(shared, 5, 600, 600, now + 3600 * NSEC_PER_SEC); /* and no more than full */
    assert_true(turn.fits);
    assert_int_equal(turn.left, 0);
}

static void keys_have_a_budget_each(void **state) {
    struct shared *shared = *state;

    assert_true(budget_take(shared, 5, 100, 100, NSEC_PER_SEC).fits);
    assert_false(budget_take(shared, 5, 100, 1, NSEC_PER_SEC).fits);
    assert_true(budget_take(shared, 6, 100, 100, NSEC_PER_SEC).fits);
}

static void what_is_above_a_budget_never_fits(void **state) {
    struct budget_turn turn = budget_take(*state, 5, 100, 101, NSEC_PER_SEC);

    assert_false(turn.fits);
    assert_int_equal(turn.left, 100);
    turn = budget_take(*state, 5, 1, UINT64_MAX, NSEC_PER_SEC);
    assert_false(turn.fits);
    assert_true(turn.retry_after > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_budget_fills_up_evenly),
        TEST(keys_have_a_budget_each),
        TEST(what_is_above_a_budget_never_fits),
        TEST(the_queue_is_first_come_first_served),
        TEST(a_queue_of_none_turns_away_at_once),
        TEST(waits_are_those_of_the_theory),
        TEST(as_many_queues_as_there_are_places_remember),
        TEST(sequences_count_each_key_across_processes),
        TEST(every_key_has_a_place_until_the_table_is_full),
        TEST(the_key_that_was_not_used_for_longest_goes),
        TEST(tables_of_any_size_work),
        TEST(a_worker_that_dies_with_the_lock_stops_nobody),
        TEST(rules_match_by_path_method_and_header),
        TEST(times_are_kept_within_six_percent),
        TEST(sums_leave_slots_alone_that_nobody_took),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
