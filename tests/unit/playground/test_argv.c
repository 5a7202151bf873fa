/* SPDX-License-Identifier: MIT */
/* Words of commands: placeholders, the load, quoting, and what does not fit. */
#include "playground/argv.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct argv_value values[] = { { "bind", ":0" }, { "api", "http://h:1/" } };

static void placeholders_are_replaced_anywhere_in_a_word(void **state) {
    (void)state;
    static const struct play_process process = {
        .name = "app",
        .args = { "serve", "{bind}", "--x={api}!", "{bind}{bind}", "plain", "}{" },
    };
    struct argv argv;
    struct error err;
    argv_init(&argv);
    assert_int_equal(argv_of_process(&argv, &process, values, 2, &err), 0);
    static const char *const expected[] = { "srv",  "serve", ":0", "--x=http://h:1/!",
                                            ":0:0", "plain", "}{" };
    assert_int_equal(argv.count, ARRAY_LEN(expected));
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        assert_string_equal(argv.words[i], expected[i]);
    assert_null(argv.words[argv.count]);
}

static void unknown_placeholder_is_an_error(void **state) {
    (void)state;
    static const struct play_process process = { .name = "app", .args = { "serve", "{nobody}" } };
    struct argv argv;
    struct error err;
    argv_init(&argv);
    assert_int_equal(argv_of_process(&argv, &process, values, 2, &err), -ENOENT);
    assert_non_null(strstr(err.text, "{nobody}"));
}

static void load_becomes_a_bench_command(void **state) {
    (void)state;
    static const struct {
        nsec_t delay;
        const char *command;
    } cases[] = {
        { NSEC_PER_SEC, "srv bench -r -n 10 -c 5 'http://h:1/?delay=1'" },
        { 200 * NSEC_PER_MSEC, "srv bench -r -n 10 -c 5 'http://h:1/?delay=0.2'" },
        { 0, "srv bench -r -n 10 -c 5 'http://h:1/?delay=0'" },
        { 10 * NSEC_PER_SEC, "srv bench -r -n 10 -c 5 'http://h:1/?delay=10'" },
        { 1, "srv bench -r -n 10 -c 5 'http://h:1/?delay=0.000000001'" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct play_load load = { .requests = 10, .concurrency = 5, .delay = cases[i].delay };
        struct argv argv;
        char text[200];
        argv_init(&argv);
        assert_int_equal(argv_of_load(&argv, &load, "http://h:1/", ""), 0);
        assert_string_equal(argv_format(&argv, text, sizeof(text)), cases[i].command);
    }
}

static void answers_of_varied_length_are_no_failures(void **state) {
    (void)state;
    struct play_load load = { .requests = 1, .concurrency = 1, .varied = true };
    struct argv argv;
    char text[100];
    argv_init(&argv);
    assert_int_equal(argv_of_load(&argv, &load, "http://h:1/", ""), 0);
    assert_string_equal(argv_format(&argv, text, sizeof(text)),
                        "srv bench -r -l -n 1 -c 1 'http://h:1/?delay=0'");
}

static void https_is_verified_and_connections_may_be_kept(void **state) {
    (void)state;
    struct play_load load = { .requests = 2, .concurrency = 1, .kept = true };
    struct argv argv;
    char text[100];
    argv_init(&argv);
    assert_int_equal(argv_of_load(&argv, &load, "https://h:1/", "/tmp/c.pem"), 0);
    assert_string_equal(argv_format(&argv, text, sizeof(text)),
                        "srv bench -r -k -n 2 -c 1 --cacert /tmp/c.pem 'https://h:1/?delay=0'");
}

static void quoting_survives_a_shell(void **state) {
    (void)state;
    struct argv argv;
    char text[100], cut[8];
    argv_init(&argv);
    assert_int_equal(argv_add(&argv, "it's"), 0);
    assert_int_equal(argv_add(&argv, ""), 0);
    assert_int_equal(argv_add(&argv, "a b"), 0);
    assert_string_equal(argv_format(&argv, text, sizeof(text)), "'it'\\''s' '' 'a b'");
    assert_string_equal(argv_format(&argv, cut, sizeof(cut)), "'it'\\''");
}

static void too_many_or_too_long_words_are_refused(void **state) {
    (void)state;
    struct argv argv;
    argv_init(&argv);
    size_t added = 0;
    while (added < 1000 && argv_add(&argv, "x") == 0)
        added++;
    assert_int_equal(added, ARGV_WORDS_MAX - 1);
    assert_null(argv.words[argv.count]);

    char word[ARGV_TEXT_BYTES];
    memset(word, 'x', sizeof(word) - 1);
    word[sizeof(word) - 1] = '\0';
    argv_init(&argv);
    assert_int_equal(argv_add(&argv, word), 0);
    assert_int_equal(argv_add(&argv, ""), -ENOBUFS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(placeholders_are_replaced_anywhere_in_a_word),
        cmocka_unit_test(unknown_placeholder_is_an_error),
        cmocka_unit_test(load_becomes_a_bench_command),
        cmocka_unit_test(answers_of_varied_length_are_no_failures),
        cmocka_unit_test(https_is_verified_and_connections_may_be_kept),
        cmocka_unit_test(quoting_survives_a_shell),
        cmocka_unit_test(too_many_or_too_long_words_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
