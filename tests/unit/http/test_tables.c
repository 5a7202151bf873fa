/* SPDX-License-Identifier: MIT */
/* The tables: character classes against the grammar, methods, reasons, errors. */
#include "http/chars.h"
#include "http/encode.h"
#include "http/error.h"
#include "http/head.h"
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static bool is_one_of(int c, const char *set) {
    return c != 0 && strchr(set, c) != NULL;
}

static void character_classes_follow_the_grammar(void **state) {
    (void)state;
    for (int c = 0; c < 256; c++) {
        bool alnum = c < 128 && isalnum(c);
        char byte = (char)c;
        assert_int_equal(http_char_is(byte, HTTP_CHAR_TOKEN),
                         alnum || is_one_of(c, "!#$%&'*+-.^_`|~"));
        assert_int_equal(http_char_is(byte, HTTP_CHAR_VALUE), c == '\t' || (c >= ' ' && c != 0x7f));
        assert_int_equal(http_char_is(byte, HTTP_CHAR_TARGET), c > ' ' && c < 0x7f && c != '#');
        assert_int_equal(http_char_is(byte, HTTP_CHAR_HOST),
                         alnum || is_one_of(c, "-._~!$&'()*+;="));
        assert_int_equal(http_char_is(byte, HTTP_CHAR_HEX), c < 128 && isxdigit(c));
    }
}

/* The spans that look at many bytes at once agree with the table at every position of every byte.
 */
static void spans_agree_with_the_table(void **state) {
    (void)state;
    for (int c = 0; c < 256; c++) {
        for (size_t at = 0; at < 40; at++) {
            char text[40];
            memset(text, 'a', sizeof(text));
            text[at] = (char)c;
            assert_int_equal(http_span_value(text, sizeof(text)),
                             http_span(text, sizeof(text), HTTP_CHAR_VALUE));
            assert_int_equal(http_span_target(text, sizeof(text)),
                             http_span(text, sizeof(text), HTTP_CHAR_TARGET));
        }
    }
}

static void methods_are_case_sensitive_and_round_trip(void **state) {
    (void)state;
    for (int m = 0; m < HTTP_METHOD_OTHER; m++) {
        const char *name = http_method_name((enum http_method)m);
        assert_int_equal(http_method_of(slice_str(name)), m);
    }
    assert_int_equal(http_method_of(SLICE("get")), HTTP_METHOD_OTHER);
    assert_int_equal(http_method_of(SLICE("GETS")), HTTP_METHOD_OTHER);
    assert_int_equal(http_method_of(SLICE("")), HTTP_METHOD_OTHER);
    assert_string_equal(http_method_name(HTTP_METHOD_OTHER), "OTHER");
}

static void reasons_are_the_registered_ones(void **state) {
    (void)state;
    assert_string_equal(http_status_reason(200), "OK");
    assert_string_equal(http_status_reason(404), "Not Found");
    assert_string_equal(http_status_reason(431), "Request Header Fields Too Large");
    assert_string_equal(http_status_reason(504), "Gateway Timeout");
    assert_string_equal(http_status_reason(418), "I'm a Teapot");
    assert_string_equal(http_status_reason(508), "Loop Detected");
    assert_string_equal(http_status_reason(299), "Unknown");
}

static void every_error_has_its_status(void **state) {
    (void)state;
#define CHECK(name, status, text) assert_int_equal(http_err_status(http_err_##name), status);
    HTTP_ERRORS(CHECK)
#undef CHECK
    assert_int_equal(http_err_status("a text of somebody else"), 400);
    assert_int_equal(http_err_status(NULL), 400);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(character_classes_follow_the_grammar),
        cmocka_unit_test(spans_agree_with_the_table),
        cmocka_unit_test(methods_are_case_sensitive_and_round_trip),
        cmocka_unit_test(reasons_are_the_registered_ones),
        cmocka_unit_test(every_error_has_its_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
