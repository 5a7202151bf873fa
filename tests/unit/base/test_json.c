/* SPDX-License-Identifier: MIT */
/* Any bytes become a string of JSON, whole or cut. */
#include "base/alloc.h"
#include "base/attr.h"
#include "base/json.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void check(struct slice text, size_t max, const char *expected) {
    json_t *json = json_text(text, max);

    assert_non_null(json);
    assert_string_equal(json_string_value(json), expected);
    json_decref(json);
}

static void utf8_stays_and_other_bytes_are_latin1(void **state UNUSED) {
    check(SLICE(""), 9, "");
    check((struct slice){ NULL, 0 }, 9, "");
    check(SLICE("plain \"\\\n"), 99, "plain \"\\\n");
    check(SLICE("caf\xc3\xa9 \xe2\x82\xac"), 99, "caf\xc3\xa9 \xe2\x82\xac");
    check(SLICE("caf\xe9"), 99, "caf\xc3\xa9");
    check(SLICE("\xff\x80"), 99, "\xc3\xbf\xc2\x80");
    check(SLICE("\xed\xa0\x80"), 99, "\xc3\xad\xc2\xa0\xc2\x80"); /* a surrogate is no UTF-8 */
}

static void long_text_is_cut_at_a_character(void **state UNUSED) {
    check(SLICE("abcdef"), 6, "abcdef");
    check(SLICE("abcdefg"), 6, "abcdef...");
    check(SLICE("ab\xe2\x82\xac"), 4, "ab...");
    check(SLICE("ab\xe2\x82\xac!"), 5, "ab\xe2\x82\xac...");
    check(SLICE("a\xe9zz"), 2, "a\xc3\xa9...");
    check(SLICE("\x80\x80\x80\x80\x80\x80"), 4,
          "\xc2\x80..."); /* no UTF-8: a byte is lost at most */
    check(SLICE("abc"), 0, "...");
}

static void every_byte_is_kept(void **state UNUSED) {
    char bytes[256];
    json_t *json;

    for (int i = 0; i < 256; i++)
        bytes[i] = (char)i;
    json = json_text(slice_of(bytes, sizeof(bytes)), sizeof(bytes));
    assert_int_equal(json_string_length(json), 128 + 2 * 128);
    json_decref(json);
}

static void lines_are_ascii_and_one(void **state UNUSED) {
    json_t *object = json_object();
    char *line;

    json_object_set_new(object, "a", json_text(SLICE("\n\xe2\x80\xa8\xc2\x9b"), 99));
    json_object_set_new(object, "b", json_real(1.5));
    line = json_line(object);
    assert_string_equal(line, "{\"a\":\"\\n\\u2028\\u009B\",\"b\":1.5}");
    free(line);
    assert_null(json_line(NULL));
}

static void expect_short(const char *given, const char *expected) {
    json_t *json = json_parse(slice_str(given));
    char *text = json_dump_short(json, JSON_ENCODE_ANY);

    assert_string_equal(text, expected);
    free(text);
    json_decref(json);
}

static void numbers_are_as_short_as_they_are_exact(void **state UNUSED) {
    expect_short("19.99", "19.99");
    expect_short("-0.1", "-0.1");
    expect_short("0.30000000000000004", "0.30000000000000004");
    expect_short("5e-324", "4.94065645841247e-324");
    expect_short("1e300", "1e+300");
    expect_short("100.0", "100.0");
    expect_short("9223372036854775807", "9223372036854775807");
    expect_short("18446744073709551615", "1.8446744073709552e19");
    expect_short("{\"a\":[1.1,2,-3.30e1,true,false,null]}",
                 "{\"a\": [1.1, 2, -33.0, true, false, null]}");
    expect_short("{\"1.10000000000000001\":\"\\\"2.10000000000000001\\\\\"}",
                 "{\"1.10000000000000001\": \"\\\"2.10000000000000001\\\\\"}");
    assert_null(json_parse(SLICE("")));
    assert_null(json_parse(SLICE("{\"a\":")));
    assert_null(json_parse(SLICE("1e400")));
    assert_null(json_dump_short(NULL, 0));
}

static void memory_may_be_short(void **state UNUSED) {
    mem_fail_after(0);
    assert_null(json_text(SLICE("long"), 2));
    mem_fail_after(-1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_stays_and_other_bytes_are_latin1),
        cmocka_unit_test(long_text_is_cut_at_a_character),
        cmocka_unit_test(every_byte_is_kept),
        cmocka_unit_test(lines_are_ascii_and_one),
        cmocka_unit_test(numbers_are_as_short_as_they_are_exact),
        cmocka_unit_test(memory_may_be_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
