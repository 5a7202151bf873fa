/* SPDX-License-Identifier: MIT */
/* Samples over time, whose sums stay whole whatever is dropped or has no column. */
#include "base/alloc.h"
#include "waits/history.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void add_wait(struct wait_sample *s, enum wait_kind kind, const char *role,
                     const char *object, uint32_t threads) {
    struct wait w = { .kind = kind };
    snprintf(w.role, sizeof(w.role), "%s", role);
    snprintf(w.object, sizeof(w.object), "%s", object);
    for (uint32_t i = 0; i < threads; i++)
        tally_add(&s->tally, &w);
}

static struct wait_history *new_history(void) {
    return mem_calloc(1, sizeof(struct wait_history));
}

static void free_history(struct wait_history *h) {
    history_free(h);
    mem_free(h);
}

static void means_leave_addresses_out(void **state) {
    (void)state;
    struct wait_history *h = new_history();
    struct wait_sample *s = mem_calloc(1, sizeof(*s));
    char text[200];
    add_wait(s, WAIT_RECV, "upstream", "127.0.0.1:1", 3);
    add_wait(s, WAIT_RECV, "upstream", "127.0.0.1:2", 1);
    add_wait(s, WAIT_SLEEP, "", "", 1);
    assert_int_equal(history_add(h, 0, s), 0);
    assert_int_equal(history_add(h, 1, s), 0);
    add_wait(s, WAIT_READ, "", "pipe", 1);
    assert_int_equal(history_add(h, 2, s), 0);
    assert_string_equal(history_text(h, text, sizeof(text)),
                        "4.0 recv from upstream, 1.0 sleep, 0.3 read pipe");
    assert_string_equal(history_text_now(h, text, sizeof(text)),
                        "4 recv from upstream, 1 sleep, 1 read pipe");
    assert_string_equal(history_text(h, text, 30), "4.0 recv from upstream");
    mem_free(s);
    free_history(h);
}

static uint64_t sum_at(const struct history_point *point) {
    uint64_t sum = 0;
    for (size_t i = 0; i < HISTORY_COLUMNS_MAX; i++)
        sum += point->counts[i];
    return sum;
}

static void sums_stay_whole(void **state) {
    (void)state;
    struct wait_history *h = new_history();
    struct wait_sample *s = mem_calloc(1, sizeof(*s));
    for (unsigned i = 0; i < 3 * HISTORY_POINTS_MAX; i++) {
        char object[20];
        snprintf(object, sizeof(object), "/file%u", i % (3 * HISTORY_COLUMNS_MAX));
        memset(s, 0, sizeof(*s));
        add_wait(s, WAIT_SLEEP, "", "", 1 + i % 5);
        add_wait(s, WAIT_FILE_LOCK, "", object, 2);
        assert_int_equal(history_add(h, i, s), 0);
    }
    assert_int_equal(h->column_count, HISTORY_COLUMNS_MAX);
    assert_true(h->count <= HISTORY_POINTS_MAX && h->count > HISTORY_POINTS_MAX / 4);
    for (size_t i = 0; i < h->count; i++)
        assert_int_equal(sum_at(&h->points[i]), h->points[i].threads);
    uint64_t sum = 0;
    for (size_t i = 0; i < h->column_count; i++)
        sum += h->columns[i].sum;
    assert_int_equal(sum, h->threads);

    json_t *json = history_json(h, "threads");
    json_t *groups = json_object_get(json, "groups");
    assert_int_equal(json_array_size(groups), HISTORY_COLUMNS_MAX);
    assert_int_equal(json_integer_value(json_object_get(json, "samples")), h->samples);
    for (size_t i = 0; i < h->count; i++) {
        json_int_t threads = 0;
        for (size_t g = 0; g < HISTORY_COLUMNS_MAX; g++)
            threads += json_integer_value(
                json_array_get(json_object_get(json_array_get(groups, g), "series"), i));
        assert_int_equal(threads,
                         json_integer_value(json_array_get(json_object_get(json, "threads"), i)));
    }
    json_decref(json);
    mem_free(s);
    free_history(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(means_leave_addresses_out),
        cmocka_unit_test(sums_stay_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
