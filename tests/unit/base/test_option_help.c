/* SPDX-License-Identifier: MIT */
/* The help page, letter by letter, and the rows for tests of the docs. */
#include "base/clock.h"
#include "base/option.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const words[] = { "one", "two", NULL };
static const struct option_row rows[] = {
    { .name = "bind",
      .letter = 'b',
      .topic = "Listening",
      .meta = "ADDR",
      .fallback = ":3000",
      .help = "Where to listen.",
      .type = OPTION_STRINGS,
      .env = "TEST_BIND" },
    { .name = "mode",
      .topic = "Work",
      .help = "How.",
      .type = OPTION_CHOICE,
      .choices = words,
      .fallback = "one" },
    { .name = "backlog",
      .topic = "Listening",
      .meta = "N",
      .type = OPTION_INT,
      .min = 1,
      .max = 65535,
      .fallback = "2048",
      .env = "TEST_BACKLOG",
      .help = "Connections that the kernel may keep waiting before it turns new ones away." },
    { .letter = 'n',
      .topic = "Work",
      .meta = "N",
      .help = "How many.",
      .type = OPTION_INT,
      .min = 0,
      .max = INT64_MAX },
    { .name = "style",
      .topic = "Work",
      .meta = "STYLE",
      .help = "Which.",
      .type = OPTION_CHOICE,
      .choices = words },
    { .name = "a-name-of-remarkable-length",
      .topic = "Work",
      .meta = "SPAN",
      .help = "Why not.",
      .type = OPTION_DURATION,
      .min = INT64_MIN,
      .max = NSEC_PER_SEC },
    { .letter = 'h',
      .name = "host",
      .topic = NULL,
      .meta = "NAME",
      .help = "Takes -h.",
      .type = OPTION_STRING },
};
static const struct option_spec spec = {
    .usage = "test [options] URL",
    .summary =
        "Shows what help looks like, in a sentence that is long enough to need another line.",
    .epilog = "The end.",
    .rows = rows,
    .row_count = ARRAY_LEN(rows),
};

static const char expected[] =
    "usage: test [options] URL\n"
    "\n"
    "Shows what help looks like, in a sentence that is long enough to need another\n"
    "line.\n"
    "\n"
    "Listening:\n"
    "  -b, --bind ADDR     Where to listen. [repeatable; default: :3000;\n"
    "                      env: TEST_BIND]\n"
    "      --backlog N     Connections that the kernel may keep waiting before it\n"
    "                      turns new ones away. [1 to 65535; default: 2048;\n"
    "                      env: TEST_BACKLOG]\n"
    "\n"
    "Work:\n"
    "      --mode one|two  How. [default: one]\n"
    "  -n N                How many. [at least 0]\n"
    "      --style STYLE   Which. [one of: one, two]\n"
    "      --a-name-of-remarkable-length SPAN\n"
    "                      Why not. [at most 1s]\n"
    "\n"
    "Options:\n"
    "  -h, --host NAME     Takes -h.\n"
    "\n"
    "Help:\n"
    "      --help          Print this help and exit.\n"
    "\n"
    "The end.\n";

static void help_is_grouped_aligned_and_wrapped(void **state) {
    (void)state;
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    option_print_help(&spec, out);
    fclose(out);
    assert_string_equal(text, expected);
    free(text);
}

static void rows_are_printed_for_tests(void **state) {
    (void)state;
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    option_print_rows(&spec, out);
    fclose(out);
    assert_non_null(strstr(text, "bind\tb\tTEST_BIND\t:3000\t"));
    assert_non_null(strstr(text, "\tn\t\t\tWork\t\tN\t[at least 0]\tHow many.\n"));
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_is_grouped_aligned_and_wrapped),
        cmocka_unit_test(rows_are_printed_for_tests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
