/* SPDX-License-Identifier: MIT */
/* Options: every form of argv, precedence, and the one line that a mistake gets. */
#include "base/clock.h"
#include "base/option.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum color { COLOR_RED, COLOR_GREEN, COLOR_BLUE };

struct config {
    int64_t workers, offset, calls;
    nsec_t timeout;
    uint64_t limit_bytes;
    const char *user;
    enum color color;
    char canary; /* right behind the int: a store that is too wide shows here */
    bool quiet, keep;
    struct option_strings binds;
    int even_sum;
};

static int parse_even(void *config, const char *value, struct error *err) {
    struct config *c = config;
    int number = atoi(value);
    if (number % 2 != 0)
        return error_set(err, -EINVAL, "an even number");
    c->even_sum += number;
    return 0;
}

#define MEMBER(member) .offset = offsetof(struct config, member)

static const char *const colors[] = { "red", "green", "blue", NULL };
static const struct option_row rows[] = {
    { .name = "workers",
      .letter = 'w',
      .env = "TEST_WORKERS",
      .topic = "Processes",
      .meta = "N",
      .help = "How many processes serve.",
      .type = OPTION_INT,
      MEMBER(workers),
      .min = 1,
      .max = 1000,
      .fallback = "4" },
    { .name = "bind",
      .letter = 'b',
      .env = "TEST_BIND",
      .topic = "Listening",
      .meta = "ADDR",
      .help = "Where to listen.",
      .type = OPTION_STRINGS,
      MEMBER(binds),
      .fallback = ":3000" },
    { .name = "offset",
      .topic = "Processes",
      .meta = "N",
      .help = "Any number.",
      .type = OPTION_INT,
      MEMBER(offset) },
    { .name = "calls",
      .topic = "Processes",
      .meta = "N",
      .help = "How many.",
      .type = OPTION_COUNT,
      MEMBER(calls),
      .min = 1,
      .max = 5000000 },
    { .name = "timeout",
      .topic = "Limits",
      .meta = "SPAN",
      .help = "How long it may take.",
      .type = OPTION_DURATION,
      MEMBER(timeout),
      .min = NSEC_PER_MSEC,
      .max = 60 * NSEC_PER_SEC,
      .fallback = "1.5s" },
    { .name = "limit",
      .topic = "Limits",
      .meta = "SIZE",
      .help = "How large it may be.",
      .type = OPTION_SIZE,
      MEMBER(limit_bytes),
      .min = 1024,
      .max = INT64_MAX,
      .fallback = "8k" },
    { .name = "user",
      .letter = 'u',
      .topic = "Processes",
      .meta = "NAME",
      .help = "Who.",
      .type = OPTION_STRING,
      MEMBER(user) },
    { .name = "color",
      .topic = "Processes",
      .help = "Which color.",
      .type = OPTION_CHOICE,
      MEMBER(color),
      .choices = colors,
      .env = "TEST_COLOR",
      .fallback = "green" },
    { .name = "quiet",
      .letter = 'q',
      .topic = "Processes",
      .help = "Say nothing.",
      .env = "TEST_QUIET",
      .type = OPTION_FLAG,
      MEMBER(quiet) },
    { .letter = 'k', .topic = "Processes", .help = "Keep.", .type = OPTION_FLAG, MEMBER(keep) },
    { .name = "even",
      .letter = 'e',
      .topic = "Processes",
      .meta = "EVEN",
      .help = "Summed up.",
      .type = OPTION_CUSTOM,
      .parse = parse_even,
      .fallback = "100" },
};
static const struct option_alias aliases[] = { { "hue", "color" }, { NULL, NULL } };
static const struct option_spec spec = {
    .usage = "test [options] URL [URL]",
    .summary = "Tests.",
    .rows = rows,
    .row_count = ARRAY_LEN(rows),
    .positional = "URL",
    .positional_min = 1,
    .positional_max = 2,
    .aliases = aliases,
};

#define ARGS_MAX 80

struct run {
    struct config config;
    struct option_strings positionals;
    struct error err;
    enum option_outcome outcome;
};

/* Parses "test" and the words of `line`, cut at spaces. */
static struct run *parse(const char *line) {
    static struct run run;
    static char text[1024];
    char *argv[ARGS_MAX + 1] = { (char[]){ "test" } };
    int argc = 1;
    memset(&run, 0, sizeof(run));
    run.config.canary = 'c';
    strncpy(text, line, sizeof(text) - 1);
    for (char *word = strtok(text, " "); word != NULL && argc < ARGS_MAX; word = strtok(NULL, " "))
        argv[argc++] = word;
    run.outcome = option_parse(&spec, argc, argv, &run.config, &run.positionals, &run.err);
    return &run;
}

static const struct config *parse_good(const char *line) {
    struct run *run = parse(line);
    if (run->outcome != OPTION_RUN)
        fail_msg("%s -> %s", line, run->err.text);
    assert_int_equal(run->config.canary, 'c');
    return &run->config;
}

static void assert_bad(const char *line, const char *text) {
    struct run *run = parse(line);
    assert_int_equal(run->outcome, OPTION_BAD);
    assert_string_equal(run->err.text, text);
}

static void fallbacks_fill_what_is_not_given(void **state) {
    (void)state;
    const struct config *c = parse_good("u");
    assert_int_equal(c->workers, 4);
    assert_int_equal(c->offset, 0);
    assert_int_equal(c->timeout, 1500 * NSEC_PER_MSEC);
    assert_int_equal(c->limit_bytes, 8192);
    assert_null(c->user);
    assert_int_equal(c->color, COLOR_GREEN);
    assert_false(c->quiet || c->keep);
    assert_int_equal(c->binds.count, 1);
    assert_string_equal(c->binds.items[0], ":3000");
    assert_int_equal(c->even_sum, 100);
}

static void every_form_of_a_value_is_understood(void **state) {
    (void)state;
    static const char *const forms[] = { "u -w7",  "u -w 7", "u --workers=7", "u --workers 7",
                                         "-w 7 u", "-qw7 u", "-qkw 7 u",      "u -w 3 -w 7" };
    for (size_t i = 0; i < ARRAY_LEN(forms); i++)
        assert_int_equal(parse_good(forms[i])->workers, 7);
    assert_int_equal(parse_good("u --timeout 250ms")->timeout, 250 * NSEC_PER_MSEC);
    assert_int_equal(parse_good("u --limit=1m")->limit_bytes, 1 << 20);
    assert_int_equal(parse_good("u --color blue")->color, COLOR_BLUE);
    assert_string_equal(parse_good("u --user=")->user, "");
    assert_string_equal(parse_good("u --user=a=b")->user, "a=b");
}

static void the_next_argument_is_the_value_whatever_it_looks_like(void **state) {
    (void)state;
    assert_string_equal(parse_good("u --user --quiet")->user, "--quiet");
    assert_string_equal(parse_good("u -u --")->user, "--");
    assert_string_equal(parse_good("u -u-x")->user, "-x");
    assert_int_equal(parse_good("u --offset -12")->offset, -12);
    assert_int_equal(parse_good("u --offset=-9223372036854775808")->offset, INT64_MIN);
    assert_int_equal(parse_good("u --offset=9223372036854775807")->offset, INT64_MAX);
}

static void counts_take_thousands_and_millions(void **state) {
    (void)state;
    static const char *const wrong[] = { "k",
                                         "1kk",
                                         "-1",
                                         "-1k",
                                         "1.5k",
                                         "1g",
                                         "0",
                                         "0k",
                                         "6m",
                                         "9223372036854775807k",
                                         "18446744073709551615m" };
    assert_int_equal(parse_good("u --calls 7")->calls, 7);
    assert_int_equal(parse_good("u --calls 3k")->calls, 3000);
    assert_int_equal(parse_good("u --calls=2M")->calls, 2000000);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        char line[64], text[160];
        snprintf(line, sizeof(line), "u --calls=%s", wrong[i]);
        snprintf(text, sizeof(text),
                 "--calls: '%s' is not allowed; a whole number from 1 to 5000000, such as 500, "
                 "10k or 2m",
                 wrong[i]);
        assert_bad(line, text);
    }
}

static void flags_group(void **state) {
    (void)state;
    assert_true(parse_good("u -qk")->quiet);
    assert_true(parse_good("u -kq")->quiet);
    assert_true(parse_good("u -q -k")->keep);
    assert_true(parse_good("u --quiet")->quiet);
    assert_false(parse_good("u --quiet")->keep);
}

static void positionals_stand_anywhere(void **state) {
    (void)state;
    struct run *run = parse("first -q second");
    assert_int_equal(run->outcome, OPTION_RUN);
    assert_int_equal(run->positionals.count, 2);
    assert_string_equal(run->positionals.items[0], "first");
    assert_string_equal(run->positionals.items[1], "second");
    run = parse("-q -- -w --");
    assert_int_equal(run->positionals.count, 2);
    assert_string_equal(run->positionals.items[0], "-w");
    assert_string_equal(run->positionals.items[1], "--");
    run = parse("-");
    assert_string_equal(run->positionals.items[0], "-");
}

static void repeated_options_append(void **state) {
    (void)state;
    const struct config *c = parse_good("u -b :1 --bind=:2 -b:3");
    assert_int_equal(c->binds.count, 3); /* and not the default beside them */
    assert_string_equal(c->binds.items[0], ":1");
    assert_string_equal(c->binds.items[2], ":3");
    assert_int_equal(parse_good("u -e 2 -e 4")->even_sum, 6);
}

static void environment_beats_fallback_and_argv_beats_both(void **state) {
    (void)state;
    setenv("TEST_WORKERS", "9", 1);
    setenv("TEST_BIND", ":9", 1);
    setenv("TEST_QUIET", "on", 1);
    const struct config *c = parse_good("u");
    assert_int_equal(c->workers, 9);
    assert_int_equal(c->binds.count, 1);
    assert_string_equal(c->binds.items[0], ":9");
    assert_true(c->quiet);
    c = parse_good("u -w2 -b :1");
    assert_int_equal(c->workers, 2);
    assert_int_equal(c->binds.count, 1);

    setenv("TEST_WORKERS", "", 1); /* empty counts as unset */
    setenv("TEST_QUIET", "0", 1);
    c = parse_good("u");
    assert_int_equal(c->workers, 4);
    assert_false(c->quiet);

    setenv("TEST_WORKERS", "0", 1);
    assert_bad("u", "TEST_WORKERS (environment): '0' is not allowed; "
                    "a whole number from 1 to 1000");
    assert_int_equal(parse_good("u -w 3")->workers, 3); /* overridden, so it does not matter */
    unsetenv("TEST_WORKERS");
    setenv("TEST_QUIET", "maybe", 1);
    assert_bad("u", "TEST_QUIET (environment): 'maybe' is not allowed; "
                    "yes or no (also true, false, on, off, 1, 0)");
    unsetenv("TEST_QUIET");
    setenv("TEST_COLOR", "pink", 1);
    assert_bad("u", "TEST_COLOR (environment): 'pink' is not allowed; one of red, green or blue");
    unsetenv("TEST_COLOR");
    unsetenv("TEST_BIND");
}

static void what_argv_names_can_be_told_from_defaults(void **state) {
    (void)state;
    char *argv[] = { (char[]){ "test" }, (char[]){ "u" }, (char[]){ "-qe2" } };

    assert_true(option_in_arguments(&spec, ARRAY_LEN(argv), argv, "quiet"));
    assert_true(option_in_arguments(&spec, ARRAY_LEN(argv), argv, "even"));
    setenv("TEST_COLOR", "red", 1);
    assert_false(option_in_arguments(&spec, ARRAY_LEN(argv), argv, "color"));
    unsetenv("TEST_COLOR");
}

static void a_bad_value_is_named_with_what_is_allowed(void **state) {
    (void)state;
    assert_bad("u --workers 0", "--workers: '0' is not allowed; a whole number from 1 to 1000");
    assert_bad("u -w1001", "-w: '1001' is not allowed; a whole number from 1 to 1000");
    assert_bad("u -w -1", "-w: '-1' is not allowed; a whole number from 1 to 1000");
    assert_bad("u -w 1.5", "-w: '1.5' is not allowed; a whole number from 1 to 1000");
    assert_bad("u --workers=", "--workers: '' is not allowed; a whole number from 1 to 1000");
    assert_bad("u --offset=x", "--offset: 'x' is not allowed; a whole number");
    assert_bad("u --offset=-9223372036854775809",
               "--offset: '-9223372036854775809' is not allowed; a whole number");
    assert_bad("u --offset=--1", "--offset: '--1' is not allowed; a whole number");
    assert_bad("u --timeout 2m", "--timeout: '2m' is not allowed; "
                                 "a duration from 1ms to 1m, such as 250ms, 1.5s or 2m");
    assert_bad("u --limit 1", "--limit: '1' is not allowed; "
                              "a size in bytes of at least 1k, such as 512, 64k or 1m");
    assert_bad("u --color pink", "--color: 'pink' is not allowed; one of red, green or blue");
    assert_bad("u --even 3", "--even: '3' is not allowed; an even number");
    assert_bad("u --quiet=1", "--quiet: '1' is not allowed; it takes no value");
    assert_bad("u --help=1", "--help: '1' is not allowed; it takes no value");
    assert_bad("u -w \n", "-w: '\\n' is not allowed; a whole number from 1 to 1000");
}

static void a_missing_value_is_named(void **state) {
    (void)state;
    assert_bad("u --workers", "--workers: needs a value; a whole number from 1 to 1000");
    assert_bad("u -qb", "-b: needs a value; ADDR");
}

static void an_unknown_option_gets_a_suggestion(void **state) {
    (void)state;
    assert_bad("u --wrokers=3", "--wrokers: unknown option; did you mean --workers?");
    assert_bad("u --worker 3", "--worker: unknown option; did you mean --workers?");
    assert_bad("u --col 3", "--col: unknown option; did you mean --color?");
    assert_bad("u --hue=red", "--hue: unknown option; did you mean --color?");
    assert_bad("u --zzz", "--zzz: unknown option; --help lists them all");
    assert_bad("u -x", "-x: unknown option; --help lists them all");
    assert_bad("u -qx", "-x: unknown option; --help lists them all");
    assert_bad("u --a-name-that-is-longer-than-any-name-that-an-option-would-have-here",
               "--a-name-that-is-longer-than-any-name-that-an-option-would-have-here: "
               "unknown option; --help lists them all");
}

static void positionals_are_counted(void **state) {
    (void)state;
    assert_bad("-q", "URL: missing; usage: test [options] URL [URL]");
    assert_bad("a b c", "'c': unexpected argument; 2 URL at most");

    struct option_spec none = spec;
    none.positional = NULL;
    char *argv[] = { (char[]){ "test" }, (char[]){ "x" } };
    struct run run = { 0 };
    assert_int_equal(option_parse(&none, 2, argv, &run.config, &run.positionals, &run.err),
                     OPTION_BAD);
    assert_string_equal(run.err.text, "'x': unexpected argument; only options are taken");
    assert_int_equal(option_parse(&none, 1, argv, &run.config, &run.positionals, &run.err),
                     OPTION_RUN);
}

static void lists_have_an_end(void **state) {
    (void)state;
    char line[1024] = "u";
    for (int i = 0; i < OPTION_STRINGS_MAX; i++)
        strcat(line, " -b:1");
    assert_int_equal(parse_good(line)->binds.count, OPTION_STRINGS_MAX);
    strcat(line, " -b:2");
    assert_bad(line, "-b: ':2' is not allowed; it can be given 64 times at most");
}

static void a_bad_fallback_is_told(void **state) {
    (void)state;
    struct option_row row = rows[0];
    row.fallback = "many";
    struct option_spec bad = { .usage = "x", .rows = &row, .row_count = 1 };
    char *argv[] = { (char[]){ "test" } };
    struct run run = { 0 };
    assert_int_equal(option_parse(&bad, 1, argv, &run.config, &run.positionals, &run.err),
                     OPTION_BAD);
    assert_string_equal(run.err.text, "--workers (default): 'many' is not allowed; "
                                      "a whole number from 1 to 1000");
}

/* Standard output goes to a file meanwhile. */
static void help_is_an_outcome(void **state) {
    (void)state;
    static const char *const lines[] = { "--help", "-h", "-qh", "--help --workers=junk" };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        fflush(stdout);
        int saved = dup(1);
        FILE *file = tmpfile();
        assert_non_null(file);
        dup2(fileno(file), 1);
        enum option_outcome outcome = parse(lines[i])->outcome;
        fflush(stdout);
        dup2(saved, 1);
        close(saved);
        assert_int_equal(outcome, OPTION_HELP);
        assert_true(lseek(fileno(file), 0, SEEK_END) > 100);
        fclose(file);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fallbacks_fill_what_is_not_given),
        cmocka_unit_test(every_form_of_a_value_is_understood),
        cmocka_unit_test(the_next_argument_is_the_value_whatever_it_looks_like),
        cmocka_unit_test(counts_take_thousands_and_millions),
        cmocka_unit_test(flags_group),
        cmocka_unit_test(positionals_stand_anywhere),
        cmocka_unit_test(repeated_options_append),
        cmocka_unit_test(environment_beats_fallback_and_argv_beats_both),
        cmocka_unit_test(what_argv_names_can_be_told_from_defaults),
        cmocka_unit_test(a_bad_value_is_named_with_what_is_allowed),
        cmocka_unit_test(a_missing_value_is_named),
        cmocka_unit_test(an_unknown_option_gets_a_suggestion),
        cmocka_unit_test(positionals_are_counted),
        cmocka_unit_test(lists_have_an_end),
        cmocka_unit_test(a_bad_fallback_is_told),
        cmocka_unit_test(help_is_an_outcome),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
