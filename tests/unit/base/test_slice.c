/* SPDX-License-Identifier: MIT */
/* Slices: comparing, trimming, cutting, numbers, up to the last readable byte. */
#include "base/alloc.h"
#include "base/slice.h"
#include "tests/unit/base/guard_page.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct slice nothing = { NULL, 0 };

static void compares(void **state) {
    (void)state;
    assert_true(slice_eq(SLICE("ab"), slice_of("abc", 2)));
    assert_false(slice_eq(SLICE("ab"), SLICE("abc")));
    assert_true(slice_eq(nothing, SLICE("")));
    assert_true(slice_eq(slice_str(NULL), nothing));
    assert_true(slice_eq_nocase(SLICE("Keep-Alive"), SLICE("kEEP-aLIVE")));
    assert_false(slice_eq_nocase(SLICE("[x"), SLICE("{x"))); /* 0x20 apart, but no letters */
    assert_false(slice_eq_nocase(SLICE("\xc4"), SLICE("\xe4")));
    assert_true(slice_starts_with(SLICE("abc"), SLICE("ab")));
    assert_true(slice_starts_with(SLICE("abc"), nothing));
    assert_false(slice_starts_with(SLICE("a"), SLICE("ab")));
}

static void drops_and_takes_within_bounds(void **state) {
    (void)state;
    assert_true(slice_eq(slice_drop(SLICE("abc"), 1), SLICE("bc")));
    assert_int_equal(slice_drop(SLICE("abc"), 9).len, 0);
    assert_int_equal(slice_drop(nothing, 9).len, 0);
    assert_true(slice_eq(slice_take(SLICE("abc"), 2), SLICE("ab")));
    assert_int_equal(slice_take(SLICE("abc"), 9).len, 3);
}

static void trims_blanks_only(void **state) {
    (void)state;
    assert_true(slice_eq(slice_trim(SLICE(" \t a b\t ")), SLICE("a b")));
    assert_true(slice_eq(slice_trim(SLICE("\na\r")), SLICE("\na\r")));
    assert_int_equal(slice_trim(SLICE(" \t ")).len, 0);
    assert_int_equal(slice_trim(nothing).len, 0);
}

static void finds_and_cuts(void **state) {
    (void)state;
    assert_int_equal(slice_find(SLICE("a=b=c"), '='), 1);
    assert_int_equal(slice_find(SLICE("abc"), '='), 3);
    assert_int_equal(slice_find(nothing, '='), 0);

    struct slice rest = SLICE("a,,b");
    assert_true(slice_eq(slice_cut(&rest, ','), SLICE("a")));
    assert_true(slice_eq(slice_cut(&rest, ','), SLICE("")));
    assert_true(slice_eq(slice_cut(&rest, ','), SLICE("b")));
    assert_int_equal(rest.len, 0);
    assert_int_equal(slice_cut(&rest, ',').len, 0);
}

static void parses_numbers(void **state) {
    (void)state;
    struct {
        const char *text;
        uint64_t max;
        int rc;
        uint64_t value;
    } cases[] = {
        { "0", 0, 0, 0 },
        { "007", 10, 0, 7 },
        { "18446744073709551615", UINT64_MAX, 0, UINT64_MAX },
        { "18446744073709551616", UINT64_MAX, -ERANGE, 0 },
        { "99999999999999999999999", UINT64_MAX, -ERANGE, 0 },
        { "11", 10, -ERANGE, 0 },
        { "99999999999999999999999x", UINT64_MAX, -EINVAL, 0 },
        { "", 10, -EINVAL, 0 },
        { "+1", 10, -EINVAL, 0 },
        { "-1", 10, -EINVAL, 0 },
        { " 1", 10, -EINVAL, 0 },
        { "1 ", 10, -EINVAL, 0 },
        { "0x1", 10, -EINVAL, 0 },
        { "1\xb2", 10, -EINVAL, 0 },
    };
    struct guarded guard = guard_open();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t value = 99;
        int rc = slice_parse_u64(guard_copy(&guard, cases[i].text), cases[i].max, &value);
        assert_int_equal(rc, cases[i].rc);
        assert_int_equal(value, rc == 0 ? cases[i].value : 99);
    }
    guard_close(&guard);
}

static void reads_nothing_behind_its_end(void **state) {
    (void)state;
    struct guarded guard = guard_open();
    struct slice text = guard_copy(&guard, " a,b\t");
    assert_int_equal(slice_trim(text).len, 3);
    assert_int_equal(slice_find(text, 'x'), 5);
    assert_true(slice_eq_nocase(text, SLICE(" A,B\t")));
    while (text.len > 0)
        slice_cut(&text, ',');
    guard_close(&guard);
}

static void words_are_found_in_lists(void **state UNUSED) {
    assert_true(slice_list_has(SLICE("a, b ,\tc"), SLICE("b")));
    assert_true(slice_list_has(SLICE("a,b,c"), SLICE("c")));
    assert_false(slice_list_has(SLICE("ab, B"), SLICE("b")));
    assert_true(slice_list_has_nocase(SLICE("ab, B"), SLICE("b")));
    assert_false(slice_list_has_nocase(SLICE(""), SLICE("b")));
    assert_false(slice_list_has(SLICE("a"), SLICE("")));
    assert_true(slice_list_has(SLICE("a,,b"), SLICE("")));
}

static void duplicates(void **state) {
    (void)state;
    char *copy = slice_dup(slice_of("abcdef", 3));
    assert_string_equal(copy, "abc");
    mem_free(copy);
    copy = slice_dup(nothing);
    assert_string_equal(copy, "");
    mem_free(copy);
    mem_fail_after(0);
    assert_null(slice_dup(SLICE("x")));
    mem_fail_after(-1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_found_in_lists),
        cmocka_unit_test(compares),
        cmocka_unit_test(drops_and_takes_within_bounds),
        cmocka_unit_test(trims_blanks_only),
        cmocka_unit_test(finds_and_cuts),
        cmocka_unit_test(parses_numbers),
        cmocka_unit_test(reads_nothing_behind_its_end),
        cmocka_unit_test(duplicates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
