/* SPDX-License-Identifier: MIT */
/* The rows are sane, and what is computed from them is right. */
#include "playground/argv.h"
#include "playground/catalogue.h"
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct playground *row_named(const char *name) {
    for (size_t i = 0; i < catalogue_count; i++)
        if (strcmp(catalogue[i].name, name) == 0)
            return &catalogue[i];
    fail_msg("no playground '%s'", name);
    return NULL;
}

static void every_row_is_complete(void **state) {
    (void)state;
    for (size_t i = 0; i < catalogue_count; i++) {
        const struct playground *row = &catalogue[i];
        assert_non_null(row->title);
        assert_non_null(row->shows);
        assert_non_null(row->notice);
        assert_true(row->load.requests >= 1 && row->load.concurrency >= 1 && row->load.delay >= 0);
        assert_true(row->slots >= 1);
        assert_true(row->tutorial_seconds == 0 || row->alias != NULL);
        assert_true(strspn(row->name, "abcdefghijklmnopqrstuvwxyz0123456789-") ==
                    strlen(row->name));
    }
}

static void names_are_unique_and_no_alias_is_a_name(void **state) {
    (void)state;
    for (size_t i = 0; i < catalogue_count; i++) {
        assert_string_not_equal(catalogue[i].name, PLAY_ALL);
        for (size_t j = 0; j < catalogue_count; j++) {
            assert_true(i == j || strcmp(catalogue[i].name, catalogue[j].name) != 0);
            assert_true(catalogue[j].alias == NULL ||
                        strcmp(catalogue[i].name, catalogue[j].alias) != 0);
        }
    }
}

static void every_row_measures_something_and_its_words_expand(void **state) {
    (void)state;
    for (size_t i = 0; i < catalogue_count; i++) {
        const struct playground *row = &catalogue[i];
        struct argv_value values[PLAY_PROCESSES_MAX + 4] = { { "bind", "127.0.0.1:0" } };
        size_t count = row_process_count(row), measured = 0;
        assert_true(count > 0);
        for (size_t p = 0; p < count; p++) {
            struct argv argv;
            struct error err;
            values[p + 1] = (struct argv_value){ "control", "127.0.0.1:0" };
            values[p + 2] = (struct argv_value){ "certificate", "/c" };
            values[p + 3] = (struct argv_value){ "key", "/k" };
            size_t known = p + (row->processes[p].speaks_tls ? 4 : 2);
            argv_init(&argv);
            assert_int_equal(argv_of_process(&argv, &row->processes[p], values, known, &err), 0);
            assert_true(row->processes[p].port_by_hand > 0);
            values[p + 1] = (struct argv_value){ row->processes[p].name, "http://127.0.0.1:1/" };
            measured += row->processes[p].measured;
        }
        assert_true(measured > 0);
    }
}

static void every_peer_does_the_job_of_its_row(void **state) {
    (void)state;
    for (size_t i = 0; i < peer_count; i++) {
        const struct playground *peer = &peers[i], *row = row_named(peer->peer_of);
        assert_int_equal(peer->load.requests, row->load.requests);
        assert_int_equal(peer->load.concurrency, row->load.concurrency);
        assert_int_equal(peer->load.delay, row->load.delay);
        assert_int_equal(peer->load.varied, row->load.varied);
        if (row->ideal != PLAY_IDEAL_DB_POOL) /* psycogreen's app opens a connection per request */
            assert_int_equal(peer->ideal, row->ideal);
        assert_int_equal(peer->slots, row->slots);
        assert_true(peer->tutorial_seconds == row->tutorial_seconds);
        assert_null(row->peer_of);
    }
}

/* Whether `word` means the row. */
static bool means(const char *word, const struct playground *row) {
    const struct playground *found[CATALOGUE_FOUND_MAX];
    const char *closest;
    size_t count = catalogue_find(word, found, &closest), times = 0;
    for (size_t i = 0; i < count; i++)
        times += found[i] == row;
    assert_in_range(times, 0, 1);
    return times == 1;
}

static void words_match_name_alias_and_all(void **state) {
    (void)state;
    const struct playground *single = row_named("single"), *flask = &peers[0];
    assert_true(means("single", single));
    assert_true(means("sync-devserver", single));
    assert_true(means("all", single));
    assert_false(means("green", single));
    assert_false(means("", single));
    assert_true(means(flask->name, flask)); /* an original, by its own name alone */
    assert_false(means(flask->alias, flask));
    assert_false(means("all", flask));
}

static const char *closest_to(const char *word) {
    const struct playground *found[CATALOGUE_FOUND_MAX];
    const char *closest = "";
    assert_int_equal(catalogue_find(word, found, &closest), 0);
    return closest;
}

static void ideal_is_the_number_of_waves_times_the_delay(void **state) {
    (void)state;
    struct playground row = { .name = "x", .slots = 4 };
    static const struct {
        uint32_t slots, requests, concurrency;
        nsec_t delay, ideal;
    } cases[] = {
        { 1, 10, 5, NSEC_PER_SEC, 10 * NSEC_PER_SEC },
        { PLAY_SLOTS_UNLIMITED, 2000, 200, NSEC_PER_SEC, 10 * NSEC_PER_SEC },
        { PLAY_SLOTS_UNLIMITED, 10, 3, NSEC_PER_SEC,
          4 * NSEC_PER_SEC }, /* the last wave is not full */
        { 4, 10, 100, NSEC_PER_SEC, 3 * NSEC_PER_SEC },
        { 4, 1, 1, 5, 5 },
        { 1, 10, 5, 0, 0 },
        { 1, UINT32_MAX, 1, NSEC_NEVER / 2, NSEC_NEVER }, /* saturates */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct play_load load = { cases[i].requests, cases[i].concurrency, cases[i].delay };
        row.slots = cases[i].slots;
        assert_int_equal(row_ideal(&row, &load), cases[i].ideal);
    }
}

static void ideal_by_turns_adds_up_the_second_halves(void **state) {
    (void)state;
    char text[64];
    struct playground row = { .name = "x", .slots = 5, .ideal = PLAY_IDEAL_TURNS };
    struct play_load load = { .requests = 10, .concurrency = 5, .delay = NSEC_PER_SEC };
    assert_int_equal(row_ideal(&row, &load), 6 * NSEC_PER_SEC);
    assert_string_equal(row_ideal_formula(&row, &load, text, sizeof(text)),
                        "ceil(10 / 5) x 500ms + 10 x 500ms");
    load.concurrency = 1;
    assert_int_equal(row_ideal(&row, &load), 10 * NSEC_PER_SEC);
}

static void ideal_knows_that_connections_may_be_short(void **state) {
    (void)state;
    char text[64];
    struct playground row = { .name = "x",
                              .slots = PLAY_SLOTS_UNLIMITED,
                              .ideal = PLAY_IDEAL_DB_POOL };
    struct play_load load = { .requests = 10, .concurrency = 5, .delay = NSEC_PER_SEC };
    assert_int_equal(row_ideal(&row, &load), 2 * NSEC_PER_SEC);
    assert_string_equal(row_ideal_formula(&row, &load, text, sizeof(text)), "ceil(10 / 5) x 1s");
    load = (struct play_load){ .requests = 301, .concurrency = 150, .delay = NSEC_PER_SEC };
    assert_int_equal(row_ideal(&row, &load), 16 * NSEC_PER_SEC);
    assert_string_equal(row_ideal_formula(&row, &load, text, sizeof(text)),
                        "500ms + ceil(301 / 10) x 500ms");
}

static void ideal_of_what_computes_is_divided_by_the_cpus(void **state) {
    (void)state;
    char text[64];
    struct playground row = { .name = "x",
                              .slots = PLAY_SLOTS_UNLIMITED,
                              .ideal = PLAY_IDEAL_CPUS };
    struct play_load load = { .requests = 10, .concurrency = 10, .delay = NSEC_PER_SEC };
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    CPU_ZERO(&one);
    for (int cpu = 0; CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &before))
            CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    assert_int_equal(row_ideal(&row, &load), 11 * NSEC_PER_SEC / 2);
    assert_string_equal(row_ideal_formula(&row, &load, text, sizeof(text)),
                        "500ms + ceil(10 / 1) x 500ms");
    assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
    if (CPU_COUNT(&before) > 1)
        assert_true(row_ideal(&row, &load) <= 3 * NSEC_PER_SEC);
}

/* The status that the process which takes the load answers with. */
static uint16_t status_of(const char *name) {
    const struct playground *row = row_named(name);
    return row_process_status(&row->processes[row_process_count(row) - 1]);
}

static void a_row_that_shows_a_failure_says_its_status(void **state) {
    (void)state;
    assert_int_equal(status_of("green"), 200);
    assert_int_equal(status_of("nginx-http"), 200);
    assert_int_equal(status_of("deadlock"), 504);
    assert_true(row_has_slow_api(row_named("cpu-green")));
    assert_false(row_has_slow_api(row_named("deadlock")));
}

static void ideal_of_the_tutorials_rows(void **state) {
    (void)state;
    char text[64];
    const struct playground *single = row_named("single"), *green = row_named("green");
    assert_int_equal(row_ideal(single, &single->load), 10 * NSEC_PER_SEC);
    assert_int_equal(row_ideal(green, &green->load), 10 * NSEC_PER_SEC);
    static const char *const others[] = { "threaded",    "pool-lazy",     "pool-eager",
                                          "green-cores", "green-workers", "event" };
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_int_equal(row_ideal(row_named(others[i]), &row_named(others[i])->load),
                         10 * NSEC_PER_SEC);
    assert_string_equal(row_ideal_formula(single, &single->load, text, sizeof(text)),
                        "ceil(10 / 1) x 1s");
    assert_string_equal(row_ideal_formula(green, &green->load, text, sizeof(text)),
                        "ceil(2000 / 200) x 1s");
}

static void overrides_replace_the_load(void **state) {
    (void)state;
    const struct playground *green = row_named("green");
    struct play_load load = row_load(green, &(struct play_overrides){ 0 });
    assert_int_equal(load.requests, 2000);
    assert_int_equal(load.concurrency, 200);
    assert_int_equal(load.delay, NSEC_PER_SEC);

    load = row_load(green, &(struct play_overrides){ .requests = 50, .has_delay = true });
    assert_int_equal(load.requests, 50);
    assert_int_equal(load.concurrency, 50); /* never more clients than requests */
    assert_int_equal(load.delay, 0);
}

static void near_names_are_suggested(void **state) {
    (void)state;
    assert_string_equal(closest_to("gren"), "green");
    assert_string_equal(closest_to("singel"), "single");
    assert_string_equal(closest_to("sync-dev"), "sync-devserver");
    assert_string_equal(closest_to("async-gevent"), "async-gevent-pywsgi");
    assert_null(closest_to("quicksort"));
    assert_null(closest_to(""));
    assert_null(closest_to("a-very-long-word-that-is-longer-than-any-name-could-be"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_complete),
        cmocka_unit_test(names_are_unique_and_no_alias_is_a_name),
        cmocka_unit_test(every_row_measures_something_and_its_words_expand),
        cmocka_unit_test(every_peer_does_the_job_of_its_row),
        cmocka_unit_test(words_match_name_alias_and_all),
        cmocka_unit_test(ideal_is_the_number_of_waves_times_the_delay),
        cmocka_unit_test(ideal_by_turns_adds_up_the_second_halves),
        cmocka_unit_test(ideal_knows_that_connections_may_be_short),
        cmocka_unit_test(ideal_of_what_computes_is_divided_by_the_cpus),
        cmocka_unit_test(a_row_that_shows_a_failure_says_its_status),
        cmocka_unit_test(ideal_of_the_tutorials_rows),
        cmocka_unit_test(overrides_replace_the_load),
        cmocka_unit_test(near_names_are_suggested),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
