/* SPDX-License-Identifier: MIT */
/* Words about the catalogue: lines that fit, the list and the explanation. */
#include "base/terminal.h"
#include "playground/catalogue.h"
#include "playground/explain.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void sentences_are_broken_between_words(void **state) {
    (void)state;
    static const struct {
        size_t indent, width;
        const char *text, *broken;
    } cases[] = {
        { 0, 0, "one two three", "one two three\n" },
        { 0, 7, "one two three", "one two\nthree\n" },
        { 2, 7, "one two three", "  one\n  two\n  three\n" },
        { 0, 3, "longer word", "longer\nword\n" },
        { 0, 80, "", "\n" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);
        terminal_wrap(out, cases[i].text, cases[i].indent, cases[i].width);
        fclose(out);
        assert_string_equal(text, cases[i].broken);
        free(text);
    }
}

static void list_names_every_row(void **state) {
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    const struct playground *rows[64];
    assert_in_range(catalogue_count, 1, ARRAY_LEN(rows));
    for (size_t i = 0; i < catalogue_count; i++)
        rows[i] = &catalogue[i];
    explain_list(rows, catalogue_count, out);
    fclose(out);
    for (size_t i = 0; i < catalogue_count; i++) {
        assert_non_null(strstr(text, catalogue[i].name));
        assert_non_null(strstr(text, catalogue[i].title));
    }
    free(text);
}

static void explanation_has_the_commands_in_order(void **state) {
    (void)state;
    char *text = NULL;
    size_t size = 0;
    struct error err;
    FILE *out = open_memstream(&text, &size);
    assert_int_equal(explain_row(&catalogue[0], &catalogue[0].load, out, &err), 0);
    fclose(out);
    const char *api =
        strstr(text, "\n  srv slowapi --bind 127.0.0.1:4000 --control 127.0.0.1:4001\n");
    const char *app = strstr(text, "\n  srv serve --bind 127.0.0.1:3000 ");
    const char *upstream = strstr(text, " --upstream http://127.0.0.1:4000/ ");
    const char *load =
        strstr(text, "\n  srv bench -r -n 10 -c 5 'http://127.0.0.1:3000/?delay=1'\n");
    const char *look = strstr(text, "\n  curl 127.0.0.1:4001/stats\n");
    assert_true(api != NULL && app > api && upstream > app && load > upstream && look > load);
    assert_non_null(strstr(text, "Ideal: ceil(10 / 1) x 1s = 10.00 s."));
    assert_non_null(strstr(text, "10.139 s"));
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sentences_are_broken_between_words),
        cmocka_unit_test(list_names_every_row),
        cmocka_unit_test(explanation_has_the_commands_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
