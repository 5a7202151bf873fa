/* SPDX-License-Identifier: MIT */
/* Escaping: every control character is spelled, and cuts fall between characters. */
#include "base/escape.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

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
    escape_bytes(out, sizeof(out), slice_of("\"\n\x7f\xc3\xa4", 5));
    assert_string_equal(out, "\"\\n\\x7f\\xc3\\xa4");
    escape_bytes(out, 12, slice_of("\x80\x80\x80", 3));
    assert_string_equal(out, "\\x80\\x80...");
}

static void spells_what_is_no_character(void **state) {
    static const char *const rows[][2] = {
        { "\xc2\x9b", "\\xc2\\x9b" },          /* C1's introducer of commands to terminals */
        { "\xc2\x85", "\\xc2\\x85" },          /* its next line */
        { "\xe2\x80\xa8", "\\xe2\\x80\\xa8" }, /* Unicode's line separator */
        { "\x9b", "\\x9b" },                   /* the introducer, to terminals without UTF-8 */
        { "\xc0\x8a", "\\xc0\\x8a" },          /* a newline, overlong */
        { "\xc3", "\\xc3" },                   /* cut */
        { "\xc3(", "\\xc3(" },
        { "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80" },
        { "\xc2\xa0\xe2\x82\xac\xf0\x9f\x98\x80", "\xc2\xa0\xe2\x82\xac\xf0\x9f\x98\x80" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[64];
        escape_text(out, sizeof(out), slice_str(rows[i][0]));
        assert_string_equal(out, rows[i][1]);
        escape_quoted(out, sizeof(out), slice_str(rows[i][0]));
        assert_string_equal(out, rows[i][1]);
    }
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

static size_t unescape(char *text) {
    char *to = text;

    for (char *from = text; *from != '\0'; from++) {
        unsigned c = (unsigned char)*from;

        if (c == '\\' && *++from == 'x') {
            assert_int_equal(sscanf(from + 1, "%2x", &c), 1);
            from += 2;
        } else if (c == '\\') {
            c = *from == 'n' ? '\n' : *from == 'r' ? '\r' : '\t';
        }
        *to++ = (char)c;
    }
    return (size_t)(to - text);
}

static void quoted_values_can_be_undone(void **state) {
    char all[512], out[4 * sizeof(all)];
    struct buf appended;
    (void)state;

    for (size_t i = 0; i < sizeof(all); i++)
        all[i] = i < 256 ? (char)i : "\\x22\\n\"\\\\"[i % 9];
    escape_quoted(out, sizeof(out), slice_of(all, sizeof(all)));
    assert_null(strchr(out, '"'));
    buf_init(&appended, sizeof(out));
    assert_int_equal(escape_append(&appended, slice_of(all, sizeof(all))), 0);
    assert_true(slice_eq(buf_unread(&appended), slice_str(out)));
    buf_free(&appended);
    assert_int_equal(unescape(out), sizeof(all));
    assert_memory_equal(out, all, sizeof(all));
}

static void lines_are_cut_between_escapes(void **state) {
    struct {
        const char *line;
        size_t len, cut;
    } cases[] = {
        { "abc", 3, 3 },       { "abc", 9, 3 },     { "abc", 2, 2 },     { "a\\x22b", 1, 1 },
        { "a\\x22b", 2, 1 },   { "a\\x22b", 3, 1 }, { "a\\x22b", 4, 1 }, { "a\\x22bc", 6, 6 },
        { "a\xc3\xa4", 2, 1 }, { "\\n", 1, 0 },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(escape_cut(slice_str(cases[i].line), cases[i].len), cases[i].cut);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spells_every_control_character),
        cmocka_unit_test(spells_what_is_no_character),
        cmocka_unit_test(cuts_between_characters),
        cmocka_unit_test(quoted_values_can_be_undone),
        cmocka_unit_test(lines_are_cut_between_escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
