/* SPDX-License-Identifier: MIT */
/* What is printed for people: the table, its sentences, the list and the explanation. */
#include "playground/explain.h"
#include "playground/table.h"
#include "playground/terminal.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct playground one = { .name = "single",
                                       .notice = "clients queue",
                                       .title = "one",
                                       .slots = 1,
                                       .load = { 10, 5, NSEC_PER_SEC } };
static const struct playground two = {
    .name = "a-longer-name", .notice = "nobody queues", .title = "two", .slots = 1
};

static const struct play_result results[] = {
    { .row = &one,
      .load = { 10, 5, NSEC_PER_SEC },
      .ideal = 10 * NSEC_PER_SEC,
      .seconds = 10.0149,
      .requests = 10,
      .requests_per_second = 0.9985,
      .p50_usec = 5003000,
      .p99_usec = 5004900,
      .threads_before = 1,
      .threads_during = 1,
      .sleeping_during = 0.98,
      .calls_max = 1,
      .cpu = 1234 * NSEC_PER_USEC,
      .memory_peak_bytes = 5 << 20 },
    { .row = &two,
      .load = { 200000, 20000, 250 * NSEC_PER_MSEC },
      .ideal = 2500 * NSEC_PER_MSEC,
      .seconds = 2.6,
      .requests = 200000,
      .failed = 123456,
      .requests_per_second = 76923.07,
      .p50_usec = 250100,
      .p99_usec = 260000,
      .threads_before = 5,
      .threads_during = 205,
      .sleeping_during = 203.6,
      .cpu = 4 * NSEC_PER_SEC,
      .memory_peak_bytes = 123 << 20 },
};

static void columns_are_as_wide_as_their_content(void **state) {
    (void)state;
    static const char expected[] =
        "                              delay   time  ideal  requests     p50     p99          "
        "threads  threads  asleep    calls   CPU us  memory\n"
        "model               n      c      s      s      s     per s      ms      ms  failed   "
        "before   during  during  at once  per req     MiB\n"
        "single             10      5      1  10.01  10.00       1.0  5003.0  5004.9       0       "
        " 1        1       1        1      123     5.0\n"
        "a-longer-name  200000  20000   0.25   2.60   2.50   76923.1   250.1   260.0  123456       "
        " 5      205     204        -       20   123.0\n";
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    table_print(results, 2, 0, out);
    fclose(out);
    assert_string_equal(text, expected);
    free(text);
}

static void narrow_screens_get_more_than_one_table(void **state) {
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    table_print(results, 2, 60, out);
    fclose(out);
    size_t names = 0;
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;) {
        assert_in_range(strlen(line), 0, 60);
        names += strncmp(line, "a-longer-name  ", 15) == 0;
    }
    assert_int_equal(names, 3);
    free(text);

    out = open_memstream(&text, &size);
    table_print(results, 2, 1, out); /* a column at least, whatever its width */
    fclose(out);
    assert_non_null(strstr(text, "\n\n"));
    free(text);
}

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

static void each_row_has_its_sentence(void **state) {
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    table_print_notices(results, 2, 0, out);
    fclose(out);
    assert_string_equal(text, "single: clients queue.\na-longer-name: nobody queues.\n");
    free(text);
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
        cmocka_unit_test(columns_are_as_wide_as_their_content),
        cmocka_unit_test(narrow_screens_get_more_than_one_table),
        cmocka_unit_test(sentences_are_broken_between_words),
        cmocka_unit_test(each_row_has_its_sentence),
        cmocka_unit_test(list_names_every_row),
        cmocka_unit_test(explanation_has_the_commands_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
