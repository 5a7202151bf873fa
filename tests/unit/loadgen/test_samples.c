/* SPDX-License-Identifier: MIT */
/* Records: growing, order, merging, and what happens when memory runs out. */
#include "base/alloc.h"
#include "loadgen/samples.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_records_of_workers_merge_in_start_order(void **state) {
    (void)state;
    struct samples a = { .items = NULL }, b = { .items = NULL };
    for (int i = 0; i < 10000; i++) {
        struct timing timing = { .queue = 1, .total = 10000 - i };
        struct samples *s = i % 2 == 0 ? &a : &b;
        samples_end(s, samples_begin(s, i), SAMPLE_OK, 200, UINT64_MAX, &timing);
    }
    samples_merge(&a, &b);
    samples_sort(&a, false);
    assert_int_equal(a.count, 10000);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(a.items[i].start, i);
    assert_int_equal(a.items[0].total_us, 10001);
    assert_true(a.items[0].body_bytes == UINT64_MAX);
    samples_sort(&a, true);
    assert_int_equal(a.items[0].start, 9999);
    samples_free(&a);
}

static void test_out_of_memory_is_told(void **state) {
    (void)state;
    struct samples s = { .items = NULL };
    struct timing timing = { .total = 1 };
    mem_fail_after(0);
    size_t number = samples_begin(&s, 1);
    mem_fail_after(-1);
    assert_true(s.incomplete);
    samples_end(&s, number, SAMPLE_OK, 200, 0, &timing);
    assert_int_equal(s.count, 0);
    samples_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_of_workers_merge_in_start_order),
        cmocka_unit_test(test_out_of_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
