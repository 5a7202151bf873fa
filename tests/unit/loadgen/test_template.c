/* SPDX-License-Identifier: MIT */
/* Templates: values of each kind, how they are spelled in each place, what is refused; and the
 * files of comma-separated values that they read. */
#include "base/alloc.h"
#include "loadgen/csv.h"
#include "loadgen/template.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/srv-test-template-XXXXXX";

static void write_file(const char *text) {
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int set_up(void **state) {
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state) {
    (void)state;
    return unlink(path);
}

/* Expands into `out`, of 512 bytes. */
static void expand(const char *text, enum template_place place, uint64_t number, char *out) {
    struct templates *t = templates_new();
    struct template_request request = template_request_of(7, number);
    struct error err = { .text = "" };
    struct buf buf;
    buf_init(&buf, 4096);
    if (templates_learn(t, slice_str(text), place, &err) != 0)
        fail_msg("%s: %s", text, err.text);
    assert_int_equal(templates_expand(t, slice_str(text), place, &request, &buf), 0);
    snprintf(out, 512, "%.*s", (int)buf_unread(&buf).len, buf_unread(&buf).ptr);
    buf_free(&buf);
    templates_free(t);
}

static void assert_expands(const char *text, enum template_place place, uint64_t number,
                           const char *expected) {
    char out[512];
    expand(text, place, number, out);
    assert_string_equal(out, expected);
}

static void test_texts_without_expressions_stay(void **state) {
    (void)state;
    static const char *const texts[] = { "", "{", "{ {", "}}", "a{b}c", "{\"a\":{\"b\":1}}" };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_expands(texts[i], TEMPLATE_IN_BODY, 0, texts[i]);
        assert_false(template_is_in(slice_str(texts[i])));
    }
    assert_expands("{{{{seq}}", TEMPLATE_IN_BODY, 0, "{{seq}}");
}

static void test_numbers_count_and_stay_within(void **state) {
    (void)state;
    char out[512];
    assert_expands("a{{seq}}b{{seq:100}}c", TEMPLATE_IN_URL, 4, "a5b104c");
    unsigned seen = 0;
    for (uint64_t i = 0; i < 200; i++) {
        expand("{{random:3-6}}", TEMPLATE_IN_URL, i, out);
        assert_true(out[0] >= '3' && out[0] <= '6' && out[1] == '\0');
        seen |= 1u << (out[0] - '3');
    }
    assert_int_equal(seen, 15);
    assert_expands("{{random:9223372036854775807-9223372036854775807}}", TEMPLATE_IN_URL, 0,
                   "9223372036854775807");
    expand("{{random:0-9223372036854775807}}", TEMPLATE_IN_URL, 0, out);
}

static void test_random_values_depend_on_seed_and_number(void **state) {
    (void)state;
    char first[512], again[512], next[512];
    const char *text = "{{uuid}} {{string:40}} {{random:1-1000000}} {{choice:a,b,c}}";
    expand(text, TEMPLATE_IN_BODY, 1, first);
    expand(text, TEMPLATE_IN_BODY, 1, again);
    expand(text, TEMPLATE_IN_BODY, 2, next);
    assert_string_equal(first, again);
    assert_string_not_equal(first, next);
    assert_int_equal(strspn(first, "0123456789abcdef-"), 36);
    assert_true(first[8] == '-' && first[13] == '-' && first[18] == '-' && first[23] == '-');
    assert_true(first[14] == '4' && strchr("89ab", first[19]) != NULL);
}

static void test_columns_have_their_rows(void **state) {
    (void)state;
    char text[128];
    write_file("name,\"note\"\r\nann,\"a \"\"b\"\", c\"\r\n\r\nbob,\"two\nlines\"\r\nc&d,");
    snprintf(text, sizeof(text), "{{csv:%s:name}}={{csv:%s:note}}", path, path);
    assert_expands(text, TEMPLATE_IN_BODY, 0, "ann=a \"b\", c");
    assert_expands(text, TEMPLATE_IN_BODY, 1, "bob=two\nlines");
    assert_expands(text, TEMPLATE_IN_BODY, 2, "c&d=");
    assert_expands(text, TEMPLATE_IN_BODY, 3, "ann=a \"b\", c");
    assert_expands(text, TEMPLATE_IN_URL, 1, "bob=two%0Alines");
    assert_expands(text, TEMPLATE_IN_URL, 2, "c%26d=");
    assert_expands(text, TEMPLATE_IN_JSON, 0, "ann=a \\\"b\\\", c");
    assert_expands(text, TEMPLATE_IN_JSON, 1, "bob=two\\u000alines");
}

static void assert_refused(const char *text, enum template_place place, const char *words) {
    struct templates *t = templates_new();
    struct error err = { .text = "" };
    assert_true(templates_learn(t, slice_str(text), place, &err) < 0);
    if (strstr(err.text, words) == NULL)
        fail_msg("%s: %s", text, err.text);
    templates_free(t);
}

static void test_values_forge_no_lines(void **state) {
    (void)state;
    char text[128];
    setenv("SRV_TEST_VALUE", "a\r\nb: c", 1);
    assert_refused("{{env:SRV_TEST_VALUE}}", TEMPLATE_IN_HEADER, "control characters");
    assert_expands("{{env:SRV_TEST_VALUE}}", TEMPLATE_IN_URL, 0, "a%0D%0Ab%3A%20c");
    write_file("a,b\nfine,1\n\"x\ny\",2\n");
    snprintf(text, sizeof(text), "{{csv:%s:a}}", path);
    assert_refused(text, TEMPLATE_IN_HEADER, "in row 2 has control characters");
    snprintf(text, sizeof(text), "{{csv:%s:b}}", path);
    assert_expands(text, TEMPLATE_IN_HEADER, 1, "2");
    setenv("SRV_TEST_VALUE", "fine\tvalue", 1);
    assert_expands("{{env:SRV_TEST_VALUE}}", TEMPLATE_IN_HEADER, 0, "fine\tvalue");
}

static void test_an_expression_that_a_header_refuses_is_refused_twice(void **state) {
    (void)state;
    struct templates *t = templates_new();
    struct error err;
    setenv("SRV_TEST_VALUE", "a\nb", 1);
    struct slice text = SLICE("{{env:SRV_TEST_VALUE}}");
    assert_int_equal(templates_learn(t, text, TEMPLATE_IN_URL, &err), 0);
    assert_int_equal(templates_learn(t, text, TEMPLATE_IN_HEADER, &err), -EINVAL);
    assert_int_equal(templates_learn(t, text, TEMPLATE_IN_HEADER, &err), -EINVAL);
    templates_free(t);
}

static void test_bad_files_are_told_with_their_line(void **state) {
    (void)state;
    static const struct {
        const char *text, *words;
    } bad[] = {
        { "", "is empty" },
        { "a,b\n", "has no row" },
        { "a,b\n1,2\n3\n", ":3: 1 fields, and the first row has 2" },
        { "a\n\"x\ny\"\n\"z", ":4: a quote" },
        { "a\n\"x\"y\n", ":2: a quote" },
    };
    char text[128];
    snprintf(text, sizeof(text), "{{csv:%s:a}}", path);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        write_file(bad[i].text);
        assert_refused(text, TEMPLATE_IN_BODY, bad[i].words);
    }
    write_file("b\n1\n");
    assert_refused(text, TEMPLATE_IN_BODY, "names no such column");
    assert_refused("{{csv:/nowhere/at/all:a}}", TEMPLATE_IN_BODY, "cannot read /nowhere/at/all");
}

static void test_memory_runs_out_cleanly(void **state) {
    (void)state;
    char text[128];
    write_file("a\n1\n2\n");
    snprintf(text, sizeof(text), "{{csv:%s:a}}{{uuid}}", path);
    for (long n = 0;; n++) {
        mem_fail_after(n);
        struct templates *t = templates_new();
        int rc = t != NULL ? templates_learn(t, slice_str(text), TEMPLATE_IN_URL, NULL) : -ENOMEM;
        bool failed = mem_failed();
        mem_fail_after(-1);
        templates_free(t);
        if (!failed)
            break;
        assert_int_equal(rc, -ENOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_without_expressions_stay),
        cmocka_unit_test(test_numbers_count_and_stay_within),
        cmocka_unit_test(test_random_values_depend_on_seed_and_number),
        cmocka_unit_test(test_columns_have_their_rows),
        cmocka_unit_test(test_values_forge_no_lines),
        cmocka_unit_test(test_an_expression_that_a_header_refuses_is_refused_twice),
        cmocka_unit_test(test_bad_files_are_told_with_their_line),
        cmocka_unit_test(test_memory_runs_out_cleanly),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
