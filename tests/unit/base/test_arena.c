/* SPDX-License-Identifier: MIT */
/* Arena: alignment, limits, reset, and that unused bytes are poisoned. */
#include "base/alloc.h"
#include "base/arena.h"
#include "base/poison.h"
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void allocations_are_aligned_and_apart(void **state) {
    (void)state;
    struct arena a;
    char *ptrs[200];
    arena_init(&a, 1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(ptrs); i++) {
        ptrs[i] = arena_alloc(&a, i);
        assert_non_null(ptrs[i]);
        assert_int_equal((uintptr_t)ptrs[i] % alignof(max_align_t), 0);
        memset(ptrs[i], (int)i, i);
    }
    for (size_t i = 0; i < ARRAY_LEN(ptrs); i++)
        for (size_t j = 0; j < i; j++)
            assert_int_equal((unsigned char)ptrs[i][j], i);
    arena_free(&a);
}

static void the_maximum_bounds_the_sum(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, 100);
    assert_non_null(arena_alloc(&a, 60));
    assert_null(arena_alloc(&a, 41));
    assert_non_null(arena_alloc(&a, 40));
    assert_null(arena_alloc(&a, 1));
    assert_int_equal(a.used_bytes, 100);
    arena_reset(&a);
    assert_non_null(arena_alloc(&a, 100));
    arena_free(&a);
}

static void a_huge_size_is_refused(void **state) {
    (void)state;
    struct arena a;
    volatile size_t huge = SIZE_MAX; /* not a constant: the compiler would refuse it first */
    arena_init(&a, SIZE_MAX);
    assert_null(arena_alloc(&a, huge));
    assert_null(arena_alloc(&a, huge - 64));
    arena_free(&a);
}

static void large_and_small_mix(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, 1 << 20);
    for (int round = 0; round < 3; round++) {
        for (size_t size = 1; size < 200000; size *= 3) {
            char *ptr = arena_alloc(&a, size);
            assert_non_null(ptr);
            memset(ptr, 1, size);
        }
        arena_reset(&a);
    }
    arena_free(&a);
}

static void reset_keeps_one_small_chunk(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, 1 << 20);
    void *first = arena_alloc(&a, 10);
    assert_non_null(arena_alloc(&a, 100000));
    arena_reset(&a);
    assert_int_equal(a.used_bytes, 0);

    mem_fail_after(0); /* the next request needs no malloc */
    assert_ptr_equal(arena_alloc(&a, 10), first);
    assert_null(arena_alloc(&a, 100000));
    mem_fail_after(-1);
    assert_non_null(arena_alloc(&a, 100000));
    arena_free(&a);
    assert_null(a.chunks);
}

static void copies_are_terminated(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, 4096);
    assert_string_equal(arena_dup(&a, slice_of("hello world", 5)), "hello");
    assert_string_equal(arena_dup(&a, slice_of(NULL, 0)), "");
    assert_string_equal(arena_printf(&a, "%s=%d", "n", 42), "n=42");
    assert_null(arena_printf(&a, "%5000d", 1));
    arena_free(&a);
}

static void survives_any_failing_allocation(void **state) {
    (void)state;
    for (long n = 0;; n++) {
        struct arena a;
        int got = 0;
        arena_init(&a, 1 << 20);
        mem_fail_after(n);
        for (int i = 0; i < 20; i++)
            got += arena_alloc(&a, 1000) != NULL;
        got += arena_printf(&a, "%d", 1) != NULL;
        bool failed = mem_failed();
        mem_fail_after(-1);
        arena_free(&a);
        assert_true(failed ? got < 21 : got == 21);
        if (!failed)
            break;
    }
}

static void unused_bytes_are_poisoned(void **state) {
    (void)state;
#ifdef POISON_ASAN
    struct arena a;
    arena_init(&a, 4096);
    char *ptr = arena_alloc(&a, 20);
    char *next = arena_alloc(&a, 32);
    assert_int_equal(__asan_region_is_poisoned(ptr, 20), 0);
    assert_true(__asan_address_is_poisoned(ptr + 20));
    assert_int_equal(__asan_region_is_poisoned(next, 32), 0);
    assert_true(__asan_address_is_poisoned(next + 32));
    arena_reset(&a);
    assert_true(__asan_address_is_poisoned(ptr));
    arena_free(&a);
#else
    skip();
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_aligned_and_apart),
        cmocka_unit_test(the_maximum_bounds_the_sum),
        cmocka_unit_test(a_huge_size_is_refused),
        cmocka_unit_test(large_and_small_mix),
        cmocka_unit_test(reset_keeps_one_small_chunk),
        cmocka_unit_test(copies_are_terminated),
        cmocka_unit_test(survives_any_failing_allocation),
        cmocka_unit_test(unused_bytes_are_poisoned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
