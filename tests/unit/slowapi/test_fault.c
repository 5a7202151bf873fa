/* SPDX-License-Identifier: MIT */
/* Faults, pauses and warm-ups: their spelling and what they mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "slowapi/fault.h"
#include "slowapi/param.h"
#include "slowapi/profile.h"
#include <errno.h>

#define SEC NSEC_PER_SEC

static void faults_are_understood_and_told_back(void **state UNUSED) {
    static const struct {
        const char *text, *shown;
        double probability;
    } cases[] = {
        { "rst", "rst@head", 1 },
        { "fin@50%", "fin@50%", 1 },
        { "fin@12.5:7.5%", "fin@12.5%", 0.075 },
        { "truncate", "truncate@50%", 1 },
        { "hang", "hang@head", 1 },
        { "hang=2s@body:10", "hang=2s@body", 0.1 },
        { "hang=1m@accept", "hang=1m@accept", 1 },
        { "bandwidth=64k", "bandwidth=65536@body", 1 },
        { "length=-3", "length=-3@head", 1 },
        { "length=+3", "length=+3@head", 1 },
        { "garbage@body:0", "garbage=64@body", 0 },
        { "refuse:5", "refuse@accept", 0.05 },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[FAULT_TEXT_BYTES];
        const char *why = "";
        struct fault fault;
        if (fault_parse(slice_str(cases[i].text), &fault, &why) < 0)
            fail_msg("%s %s", cases[i].text, why);
        assert_string_equal(fault_format(&fault, text), cases[i].shown);
        assert_true(fault.probability == cases[i].probability);
    }
}

static void bad_faults_are_refused(void **state UNUSED) {
    static const char *const cases[] = {
        "",           "boom",       "rst=1",        "rst@tail",      "rst@101",
        "rst:101",    "rst:x",      "hang=x",       "drip@head",     "interim=0",
        "early@body", "length=0",   "interim=1001", "hugeheader=2m", "bandwidth=-1",
        "stale@50",   "rst:",       "rst@",         "rst=",          "hang=2s@:5",
        "drip=",      "hang=@body", "rst@head:",
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *why = "";
        struct fault fault;
        assert_int_equal(fault_parse(slice_str(cases[i]), &fault, &why), -EINVAL);
        assert_true(why[0] != '\0');
    }
}

static void a_pause_is_the_last_part_of_each_period(void **state UNUSED) {
    struct spec spec = { 0 };
    const struct pause *pause = &spec.pause;

    assert_int_equal(param_set(&spec, SLICE("pause"), SLICE("every=30s for=3s"), NULL), 0);
    assert_int_equal(pause_left(pause, 0), 0);
    assert_int_equal(pause_left(pause, 27 * SEC - 1), 0);
    assert_int_equal(pause_left(pause, 27 * SEC), 3 * SEC);
    assert_int_equal(pause_left(pause, 59 * SEC), 1 * SEC);
    assert_int_equal(pause_left(pause, 60 * SEC), 0);
    assert_int_equal(param_set(&spec, SLICE("pause"), SLICE("every=30s,for=3s,status=503"), NULL),
                     0);
    assert_int_equal(pause->status, 503);
    assert_int_equal(param_set(&spec, SLICE("pause"), SLICE("every=3s,for=30s"), NULL), -EINVAL);
    assert_int_equal(param_set(&spec, SLICE("pause"), SLICE("every=3s,for=1s,status=1"), NULL),
                     -EINVAL);
    assert_int_equal(param_set(&spec, SLICE("pause"), SLICE("every=3s,for=1s,x=1"), NULL), -EINVAL);
    assert_int_equal(param_set(&spec, SLICE("pause"), SLICE("every=3s,for=1s,delay=0"), NULL),
                     -EINVAL);
    assert_int_equal(param_set(&spec, SLICE("pause"), SLICE("every=3s,for=1s,every=9s"), NULL),
                     -EINVAL);
    assert_int_equal(
        param_set(&spec, SLICE("pause"), SLICE("every=3s,for=1s,status=500,status=503"), NULL),
        -EINVAL);
}

static void a_warm_up_falls_to_one(void **state UNUSED) {
    struct spec spec = { 0 };
    const struct warmup *warmup = &spec.warmup;

    assert_int_equal(param_set(&spec, SLICE("warmup"), SLICE("10s:21"), NULL), 0);
    assert_true(warmup_factor(warmup, 0) == 21);
    assert_true(warmup_factor(warmup, 5 * SEC) == 11);
    assert_true(warmup_factor(warmup, 10 * SEC) == 1);
    assert_int_equal(param_set(&spec, SLICE("warmup"), SLICE("10s"), NULL), -EINVAL);
    assert_int_equal(param_set(&spec, SLICE("warmup"), SLICE("10s:0.5"), NULL), -EINVAL);
}

/* Lists live until the program ends. */
static struct arena memory = { .max_bytes = SIZE_MAX };

static void every_profile_is_made_of_good_parameters(void **state UNUSED) {
    for (size_t i = 0; i < profile_count; i++) {
        struct error err = { .text = "" };
        struct spec spec;
        spec_init(&spec, 0, &memory);
        if (param_parse_text(&spec, slice_str(profiles[i].params), &err) < 0)
            fail_msg("%s: %s", profiles[i].name.ptr, err.text);
        assert_non_null(strstr(PROFILE_NAMES, profiles[i].name.ptr));
    }
}

static void later_layers_win_and_the_first_of_a_query_counts(void **state UNUSED) {
    struct error err;
    struct spec spec;

    spec_init(&spec, 0, &memory);
    assert_int_equal(param_parse_text(&spec, SLICE("delay=1s & fault=rst,fin:5 & queue=3"), &err),
                     0);
    assert_int_equal(
        param_parse_query(&spec, SLICE("delay=2&delay=3&header=A:1&header=B:2&zzz=1"), NULL, &err),
        0);
    assert_true(spec.delay.a == 2e9);
    assert_int_equal(spec.fault_count, 2);
    assert_int_equal(spec.queue, 3);
    assert_string_equal(spec.fields, "A: 1\r\nB: 2\r\n");
    assert_int_equal(param_parse_text(&spec, SLICE("zzz=1"), &err), -EINVAL);
    assert_int_equal(param_parse_query(&spec, SLICE("fault=none"), NULL, &err), 0);
    assert_int_equal(spec.fault_count, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_are_understood_and_told_back),
        cmocka_unit_test(bad_faults_are_refused),
        cmocka_unit_test(a_pause_is_the_last_part_of_each_period),
        cmocka_unit_test(a_warm_up_falls_to_one),
        cmocka_unit_test(every_profile_is_made_of_good_parameters),
        cmocka_unit_test(later_layers_win_and_the_first_of_a_query_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
