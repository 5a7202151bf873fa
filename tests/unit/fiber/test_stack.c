/* SPDX-License-Identifier: MIT */
/* Stacks of fibers: used again, trimmed, measured, exhausted, overflowed, jumped about on. */
#include "base/poison.h"
#include "fiber/stack.h"
#include "tests/unit/fiber/fiber_rig.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#if defined(POISON_TSAN) || defined(POISON_ASAN)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

static void note_stack(void *arg) {
    struct rig *r = arg;
    r->stack = (uintptr_t)fiber_self(r->fibers);
}

static void test_a_stack_is_used_again(void **state) {
    struct rig r;
    (void)state;
    rig_open(&r, (struct fiber_config){ 0 });
    assert_int_equal(fiber_spawn(r.fibers, "f", note_stack, &r), 0);
    uintptr_t first = r.stack;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(fiber_spawn(r.fibers, "f", note_stack, &r), 0);
        assert_int_equal(r.stack, first);
    }
    assert_int_equal(fiber_stats(r.fibers).cached_stacks, 1);
    assert_int_equal(fiber_stats(r.fibers).spawned, 1001);
    rig_close(&r);
}

static long resident_pages(void) {
    long size = 0;
    long resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &size, &resident), 2);
    fclose(f);
    return resident;
}

static void __attribute__((noinline)) touch_stack(unsigned pages) {
    volatile char page[3000];
    page[pages % sizeof(page)] = (char)pages; /* at a place the compiler cannot foresee */
    if (pages > 1)
        touch_stack(pages - 1);
    page[0] = 1; /* no tail call */
}

static void go_deep_then_park(void *arg) {
    touch_stack(16);
    park_one_of_many(arg);
}

static void test_idle_stacks_give_their_memory_back(void **state) {
    enum { FIBERS = 500, KEPT = 100 };
    struct rig r;
    static struct one_of_many many[FIBERS];
    (void)state;
    if (SANITIZED || RUNNING_ON_VALGRIND)
        skip(); /* shadow memory blurs the count */
    rig_open(&r, (struct fiber_config){ .cache = KEPT });
    long before = resident_pages();
    for (int i = 0; i < FIBERS; i++) {
        many[i].rig = &r;
        assert_int_equal(fiber_spawn(r.fibers, "deep", go_deep_then_park, &many[i]), 0);
    }
    assert_true(resident_pages() - before >= FIBERS * 10);
    for (int i = 0; i < FIBERS; i++)
        fiber_cancel(many[i].fiber);
    assert_int_equal(fiber_stats(r.fibers).cached_stacks, FIBERS);

    run_for(&r, 2100 * NSEC_PER_MSEC); /* unused for one whole interval */
    assert_int_equal(fiber_stats(r.fibers).cached_stacks, KEPT);
    assert_true(resident_pages() - before <= KEPT + 50);
    rig_close(&r);
}

static void test_a_census_knows_the_deepest_stack(void **state) {
    struct rig r;
    static struct one_of_many one;
    (void)state;
    setenv("SRV_FIBER_CENSUS", "1", 1);
    rig_open(&r, (struct fiber_config){ 0 });
    unsetenv("SRV_FIBER_CENSUS");
    one.rig = &r;
    assert_int_equal(fiber_spawn(r.fibers, "deep", go_deep_then_park, &one), 0);
    fiber_cancel(one.fiber);
    assert_in_range(fiber_stats(r.fibers).stack_peak_bytes, 16 * 3000, 16 * 3000 * 3);
    rig_close(&r);
}

static void test_without_memory_a_spawn_fails_and_others_live(void **state) {
    struct rig r;
    struct rlimit old;
    (void)state;
    if (SANITIZED || RUNNING_ON_VALGRIND)
        skip(); /* they need the address space themselves */
    rig_open(&r, (struct fiber_config){ .stack_bytes = 512 << 20 });
    assert_int_equal(fiber_spawn(r.fibers, "first", park_once, &r), 0);

    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    struct rlimit small = { .rlim_cur = 600 << 20, .rlim_max = old.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_AS, &small), 0);
    int rc = fiber_spawn(r.fibers, "second", park_once, &r);
    assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
    assert_int_equal(rc, -ENOMEM);

    fiber_wake(r.fiber);
    assert_int_equal(r.steps, 1);
    rig_close(&r);
}

static void test_a_tiny_stack_is_refused(void **state) {
    struct error err;
    (void)state;
    struct loop *loop = loop_new(&err);
    assert_null(fibers_new(loop, &(struct fiber_config){ .stack_bytes = 4096 }, &err));
    assert_string_equal(err.text, "a fiber's stack needs 16384 bytes at least");
    loop_free(loop);
}

static void overflow(void *arg) {
    touch_stack(100000);
    park_once(arg);
}

static void overflow_in_child(int out) {
    struct rig r;
    struct rlimit no_core = { 0 };

    dup2(out, STDERR_FILENO);
    setrlimit(RLIMIT_CORE, &no_core);
    signal(SIGSEGV, SIG_DFL); /* the test runner has a handler of its own */
    rig_open(&r, (struct fiber_config){ 0 });
    int rc = fiber_spawn(r.fibers, "greedy", overflow, &r);
    _exit(rc == 0 ? 0 : 1);
}

static void test_an_overflow_names_the_fiber(void **state) {
    char text[256] = "";
    int fds[2];
    int status;
    (void)state;
    if (SANITIZED)
        skip(); /* they have a report of their own */
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        overflow_in_child(fds[1]);
    close(fds[1]);
    ssize_t n = read(fds[0], text, sizeof(text) - 1);
    close(fds[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(n > 0);
    assert_non_null(strstr(text, "fiber greedy overflowed its stack\n"));
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static bool dies_of(char *address) {
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit no_core = { 0 };
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGSEGV, SIG_DFL);
        *(volatile char *)address = 1;
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static void test_both_kinds_of_guard_stop_a_write(void **state) {
    struct fiber_stacks stacks = { 0 };
    char *low;
    (void)state;
    fiber_stacks_init(&stacks, 20001);
    assert_int_equal(stacks.usable_bytes % stacks.page_bytes, 0);
    bool light = stacks.light_guards;
    for (int kind = 0; kind < (light ? 2 : 1); kind++) {
        stacks.light_guards = kind == 1;
        assert_int_equal(fiber_stack_map(&stacks, &low), 0);
        assert_false(dies_of(low));
        assert_false(dies_of(low + stacks.usable_bytes - 1));
        if (!SANITIZED)
            assert_true(dies_of(low - 1));
        fiber_stack_unmap(&stacks, low);
    }
}

static void test_the_limit_of_mappings_is_named(void **state) {
    struct fiber_stacks stacks = { .usable_bytes = 65536, .page_bytes = 4096 };
    struct error err;
    (void)state;
    fiber_stack_explain(&stacks, -ENOMEM, UINT32_MAX - 1, &err);
    assert_non_null(strstr(err.text, "vm.max_map_count"));
    fiber_stack_explain(&stacks, -ENOMEM, 7, &err);
    assert_string_equal(err.text, "no stack of 65536 bytes for fiber 8: Cannot allocate memory");
}

static jmp_buf landing;

static void __attribute__((noinline)) jump(void) {
    volatile char frame[2048];
    frame[0] = 1;
    longjmp(landing, frame[0]);
}

static void __attribute__((noinline)) jump_from_deep_down(void) {
    volatile char frame[2048];
    frame[0] = 1;
    if (frame[0] == 1)
        jump();
}

/* ASan takes a longjmp on a stack that it has wrong ideas of for an underflow. */
static void test_a_longjmp_on_the_main_stack_stays_clean_between_switches(void **state) {
    struct rig r;
    (void)state;
    rig_open(&r, (struct fiber_config){ 0 });
    assert_int_equal(fiber_spawn(r.fibers, "f", park_once, &r), 0);
    if (setjmp(landing) == 0)
        jump_from_deep_down();
    fiber_wake(r.fiber);
    if (setjmp(landing) == 0)
        jump_from_deep_down();
    assert_int_equal(fiber_spawn(r.fibers, "f", park_once, &r), 0);
    fiber_wake(r.fiber);
    assert_int_equal(r.steps, 2);
    rig_close(&r);
}

static void jump_inside_a_fiber(void *arg) {
    if (setjmp(landing) == 0)
        jump_from_deep_down();
    park_once(arg);
    if (setjmp(landing) == 0)
        jump_from_deep_down();
}

static void test_a_longjmp_inside_a_fiber_stays_clean(void **state) {
    struct rig r;
    (void)state;
    rig_open(&r, (struct fiber_config){ 0 });
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fiber_spawn(r.fibers, "f", jump_inside_a_fiber, &r), 0);
        fiber_wake(r.fiber);
    }
    assert_int_equal(r.steps, 3);
    rig_close(&r);
}

static void keep_registers_and_floats(void *arg) {
    struct rig *r = arg;
    volatile double seed = 1.5;
    double a = seed, b = seed * 2, c = seed * 3;
    long x = r->rc, y = x + 1, z = x + 2;

    r->fiber = fiber_self(r->fibers);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(fiber_park(r->fibers, NSEC_NEVER), 0);
        a += seed, b += seed, c += seed;
        x++, y++, z++;
    }
    assert_true(a == 16.5 && b == 18.0 && c == 19.5);
    assert_true(x == r->rc + 10 && y == x + 1 && z == x + 2);
    r->steps++;
}

static void test_registers_survive_switches(void **state) {
    struct rig r;
    (void)state;
    rig_open(&r, (struct fiber_config){ 0 });
    assert_int_equal(fiber_spawn(r.fibers, "f", keep_registers_and_floats, &r), 0);
    for (int i = 0; i < 10; i++)
        fiber_wake(r.fiber);
    assert_int_equal(r.steps, 1);
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stack_is_used_again),
        cmocka_unit_test(test_idle_stacks_give_their_memory_back),
        cmocka_unit_test(test_a_census_knows_the_deepest_stack),
        cmocka_unit_test(test_without_memory_a_spawn_fails_and_others_live),
        cmocka_unit_test(test_a_tiny_stack_is_refused),
        cmocka_unit_test(test_an_overflow_names_the_fiber),
        cmocka_unit_test(test_both_kinds_of_guard_stop_a_write),
        cmocka_unit_test(test_the_limit_of_mappings_is_named),
        cmocka_unit_test(test_a_longjmp_on_the_main_stack_stays_clean_between_switches),
        cmocka_unit_test(test_a_longjmp_inside_a_fiber_stays_clean),
        cmocka_unit_test(test_registers_survive_switches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
