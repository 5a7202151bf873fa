/* SPDX-License-Identifier: MIT */
/* Logs as schedules: sorted, spread, scaled; and the plan that follows them. */
#include "base/alloc.h"
#include "loadgen/plan.h"
#include "loadgen/replay.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LINE(second, target) \
    "h - - [01/Jan/2026:00:00:" second " +0000] \"GET " target " HTTP/1.1\" 200 1\n"

static struct replay read_log(const char *text, double speed) {
    struct replay r;
    struct error err = { .text = "" };
    if (replay_read(&r, slice_str(text), "GET,HEAD", speed, &err) != 0)
        fail_msg("%s", err.text);
    return r;
}

static void test_whole_seconds_are_spread(void **state) {
    (void)state;
    struct replay r = read_log(LINE("02", "/c") LINE("00", "/a") LINE("00", "/b") LINE("02", "/d")
                                   LINE("02", "/e") LINE("02", "/f"),
                               2);
    static const nsec_t expected[] = { 0, 250, 1000, 1125, 1250, 1375 };
    assert_int_equal(r.count, 6);
    assert_true(r.is_spread);
    for (size_t i = 0; i < r.count; i++)
        assert_int_equal(r.lines[i].at, expected[i] * NSEC_PER_MSEC);
    size_t length = sizeof(LINE("02", "/c")) - 1;
    static const size_t places[] = { 1, 2, 0, 3, 4, 5 };
    for (size_t i = 0; i < r.count; i++)
        assert_int_equal(r.lines[i].offset, places[i] * length);
    assert_int_equal(replay_count(&r, -1), 0);
    assert_int_equal(replay_count(&r, 0), 1);
    assert_int_equal(replay_count(&r, 1000 * NSEC_PER_MSEC), 3);
    assert_int_equal(replay_count(&r, NSEC_NEVER), 6);
    replay_free(&r);
}

static void test_fractions_are_kept(void **state) {
    (void)state;
    struct replay r = read_log(LINE("01.5", "/b") LINE("01.25", "/a") LINE("01.5", "/c"), 1);
    assert_false(r.is_spread);
    assert_int_equal(r.lines[0].at, 0);
    assert_int_equal(r.lines[1].at, NSEC_PER_SEC / 4);
    assert_int_equal(r.lines[2].at, NSEC_PER_SEC / 4);
    replay_free(&r);
}

static void test_lines_left_out_are_counted(void **state) {
    (void)state;
    struct replay r = read_log(
        LINE("00", "/a") "\n"
                         "junk\n"
                         "more junk\n" LINE("00", "h:443") LINE(
                             "00",
                             "-") "h - - [01/Jan/2026:00:00:00 +0000] \"POST / HTTP/1.1\" 200 1\n",
        1);
    assert_int_equal(r.count, 1);
    assert_int_equal(r.left_out[MIX_UNPLAYABLE_MALFORMED], 2);
    assert_int_equal(r.left_out[MIX_UNPLAYABLE_CONNECT], 1);
    assert_int_equal(r.left_out[MIX_UNPLAYABLE_NO_REQUEST], 1);
    assert_int_equal(r.left_out[MIX_UNPLAYABLE_METHOD], 1);
    assert_int_equal(r.first_bad, 3);
    replay_free(&r);
    struct error err = { .text = "" };
    assert_int_equal(replay_read(&r, SLICE("junk\n"), "GET", 1, &err), -EINVAL);
    assert_non_null(strstr(err.text, "1 malformed"));
    replay_free(&r);
    assert_int_equal(replay_read(&r, SLICE(""), "GET", 1, &err), -EINVAL);
    replay_free(&r);
}

/* Whatever the number of workers, each line is planned once, at its time. */
static void test_plans_share_the_lines(void **state) {
    (void)state;
    struct replay r = read_log(
        LINE("00", "/a") LINE("01", "/b") LINE("01", "/c") LINE("03", "/d") LINE("04", "/e"), 1);
    struct loadgen_config c = { .concurrency = 2, .replay = "log" };
    for (uint32_t count = 1; count <= 3; count++) {
        unsigned seen = 0;
        for (uint32_t index = 0; index < count; index++) {
            struct load_plan plan;
            nsec_t planned;
            plan_init(&plan, &c, (struct share){ index, count }, 50);
            plan_follow(&plan, &r);
            assert_int_equal(plan_next_at(&plan), 50 + r.lines[index].at);
            while (plan_take(&plan, NSEC_NEVER - 1, &planned)) {
                assert_int_equal(planned, 50 + r.lines[plan.line].at);
                assert_int_equal(plan.line % count, index);
                seen |= 1u << plan.line;
            }
            assert_true(plan_next_at(&plan) == NSEC_NEVER && plan_is_done(&plan));
        }
        assert_int_equal(seen, 31);
    }
    replay_free(&r);
}

static void test_memory_runs_out_cleanly(void **state) {
    (void)state;
    for (long n = 0;; n++) {
        struct replay r;
        mem_fail_after(n);
        int rc = replay_read(&r, SLICE(LINE("00", "/a")), "GET", 1, NULL);
        bool failed = mem_failed();
        mem_fail_after(-1);
        replay_free(&r);
        if (!failed)
            break;
        assert_int_equal(rc, -ENOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_seconds_are_spread),
        cmocka_unit_test(test_fractions_are_kept),
        cmocka_unit_test(test_lines_left_out_are_counted),
        cmocka_unit_test(test_plans_share_the_lines),
        cmocka_unit_test(test_memory_runs_out_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
