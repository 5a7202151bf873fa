/* SPDX-License-Identifier: MIT */
/* Escaping: every control character is spelled, and cuts fall between characters. */
#include "base/escape.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void spells_every_control_character(void **state) {
    (void)state;
    for (int c = 0; c < 256; c++) {
        char in = (char)c, out[16];
        size_t len = escape_text(out, sizeof(out), slice_of(&in, 1));
        assert_int_equal(len, strlen(out));
        for (size_t i = 0; i < len; i++)
            assert_false((unsigned char)out[i] < 0x20 || out[i] == 0x7f);
    }
    char out[64];
    escape_text(out, sizeof(out), slice_of("a\0\t\r\n\x7f\xc3\xa4", 8));
    assert_string_equal(out, "a\\x00\\t\\r\\n\\x7f\xc3\xa4");
}

static void cuts_between_characters(void **state) {
    (void)state;
    struct {
        const char *in, *out;
    } cases[] = {
        { "123456789", "123456789" },   { "1234567890", "123456..." },
        { "12345\n", "12345\\n" },      { "1234567\n", "1234567\\n" },
        { "12345678\n", "123456..." },  { "12345\n\n\n", "12345..." },
        { "\x01\x02\x03", "\\x01..." }, { "12345\xc3\xa4zzzz", "12345..." },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char out[10];
        size_t len = escape_text(out, sizeof(out), slice_str(cases[i].in));
        assert_string_equal(out, cases[i].out);
        assert_int_equal(len, strlen(out));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spells_every_control_character),
        cmocka_unit_test(cuts_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
