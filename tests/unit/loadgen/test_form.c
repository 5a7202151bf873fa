/* SPDX-License-Identifier: MIT */
/* Forms: words as curl takes them, parts as a parser of multipart reads them. */
#include "base/attr.h"
#include "http/multipart.h"
#include "loadgen/form.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/srv-test-form-XXXXXX.txt";

static void assert_text(struct slice got, const char *expected) {
    if (!slice_eq(got, slice_str(expected)))
        fail_msg("'%.*s' instead of '%s'", (int)got.len, got.ptr, expected);
}

static void test_words_become_parts(void **state) {
    (void)state;
    char file[128], text[128], named[160];
    snprintf(file, sizeof(file), "f=@%s", path);
    snprintf(text, sizeof(text), "t=<%s", path);
    snprintf(named, sizeof(named), "n=@\"%s\";type=a/b;charset=x;filename=\"o \\\"q\\\".bin\"",
             path);
    const struct option_strings words = {
        .items = { "a=b=c", "empty=", "q=\"x;y \\\"z\\\"\"", file, text, named, "j=1; type=a/json",
                   "we\"ird\n=v" },
        .count = 8,
    };
    static const struct {
        const char *name, *file, *type, *data;
    } parts[] = {
        { "a", NULL, "", "b=c" },
        { "empty", NULL, "", "" },
        { "q", NULL, "", "x;y \"z\"" },
        { "f", "srv-test-form", "text/plain; charset=utf-8", "in the file" },
        { "t", NULL, "", "in the file" },
        { "n", "o %22q%22.bin", "a/b;charset=x", "in the file" },
        { "j", NULL, "a/json", "1" },
        { "we%22ird%0A", NULL, "", "v" },
    };
    struct buf body;
    char type[FORM_TYPE_BYTES];
    struct error err;
    struct http_multipart m;
    struct http_part part;
    buf_init(&body, 1 << 20);
    if (form_build(&words, 1, &body, type, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(http_multipart_begin(&m, slice_str(type), buf_unread(&body)), 0);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        assert_int_equal(http_multipart_next(&m, &part), 1);
        assert_text(part.name, parts[i].name);
        assert_text(part.type, parts[i].type);
        assert_text(part.data, parts[i].data);
        assert_int_equal(part.file.ptr != NULL, parts[i].file != NULL);
        if (parts[i].file != NULL)
            assert_true(slice_starts_with(part.file, slice_str(parts[i].file)));
    }
    assert_int_equal(http_multipart_next(&m, &part), 0);
    buf_free(&body);
}

static void test_what_is_no_word_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "x",
        "=x",
        "a=\"b",
        "a=b;c",
        "a=b;foo=bar",
        "a=@",
        "a=<",
        "a=@/no/where",
        "a=b;type=",
        "a=\"b\"c",
        "a=b;filename=\"x",
        "a=b;;type=x",
        "a=b;type=a\nb",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct option_strings words = { .items = { bad[i] }, .count = 1 };
        struct error err = { .text = "" };
        char type[FORM_TYPE_BYTES];
        struct buf body;
        buf_init(&body, 1 << 20);
        if (form_build(&words, 1, &body, type, &err) == 0)
            fail_msg("'%s' was taken", bad[i]);
        assert_true(err.text[0] != '\0');
        buf_free(&body);
    }
}

static void test_a_boundary_that_a_part_has_is_found(void **state) {
    (void)state;
    char type[FORM_TYPE_BYTES], word[FORM_TYPE_BYTES + 8];
    struct option_strings words = { .items = { "a=b" }, .count = 1 };
    struct error err;
    struct buf body;
    buf_init(&body, 1 << 20);
    assert_int_equal(form_build(&words, 5, &body, type, &err), 0);
    snprintf(word, sizeof(word), "a=%s", strstr(type, "boundary=") + 9);
    words.items[0] = word;
    buf_consume(&body, buf_unread(&body).len);
    assert_true(form_build(&words, 5, &body, type, &err) < 0);
    buf_consume(&body, buf_unread(&body).len);
    assert_int_equal(form_build(&words, 6, &body, type, &err), 0);
    buf_free(&body);
}

int main(void) {
    int fd = mkstemps(path, 4);
    if (fd < 0 || write(fd, "in the file", 11) != 11 || close(fd) != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_become_parts),
        cmocka_unit_test(test_what_is_no_word_is_refused),
        cmocka_unit_test(test_a_boundary_that_a_part_has_is_found),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
