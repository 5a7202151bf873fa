/* SPDX-License-Identifier: MIT */
/* The allocation seam: exactly the chosen allocation fails, once. */
#include "base/alloc.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void fails_the_chosen_allocation_once(void **state) {
    (void)state;
    for (long n = 0; n < 3; n++) {
        mem_fail_after(n);
        for (long i = 0; i < 5; i++) {
            void *ptr = mem_alloc(8);
            assert_int_equal(ptr == NULL, i == n);
            assert_int_equal(mem_failed(), i >= n);
            mem_free(ptr);
        }
    }
    mem_fail_after(-1);
}

static void counts_all_three_ways_to_allocate(void **state) {
    (void)state;
    mem_fail_after(0);
    assert_null(mem_calloc(1, 8));
    void *ptr = mem_calloc(2, 8);
    assert_non_null(ptr);

    mem_fail_after(0);
    assert_null(mem_realloc(ptr, 64)); /* and ptr is still ours */
    ptr = mem_realloc(ptr, 64);
    assert_non_null(ptr);
    mem_free(ptr);
    mem_fail_after(-1);
}

static void does_not_fail_when_off(void **state) {
    (void)state;
    mem_fail_after(-1);
    void *ptr = mem_alloc(0);
    assert_non_null(ptr);
    assert_false(mem_failed());
    mem_free(ptr);
    mem_free(NULL);
}

static void shared_memory_is_zeroed_and_seen_by_children(void **state) {
    (void)state;
    enum { BYTES = 1 << 16 };
    char *shared;
    pid_t pid;

    mem_fail_after(0);
    assert_null(mem_share(BYTES));
    mem_fail_after(-1);
    shared = mem_share(BYTES);
    assert_non_null(shared);
    assert_int_equal(shared[BYTES - 1], 0);
    pid = fork();
    if (pid == 0) {
        shared[BYTES - 1] = 7;
        _exit(0);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(shared[BYTES - 1], 7);
    mem_unshare(shared, BYTES);
    mem_unshare(NULL, BYTES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fails_the_chosen_allocation_once),
        cmocka_unit_test(counts_all_three_ways_to_allocate),
        cmocka_unit_test(does_not_fail_when_off),
        cmocka_unit_test(shared_memory_is_zeroed_and_seen_by_children),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
