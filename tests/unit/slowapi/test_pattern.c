/* SPDX-License-Identifier: MIT */
/* Patterns: what stars stand for, compared with a matcher that tries everything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/rng.h"
#include "slowapi/pattern.h"
#include <stdlib.h>

/* --- the reference: as the words of pattern.h say, in exponential time ------------------------ */

static bool tries(const char *p, const char *path) {
    if (strncmp(p, "/**", 3) == 0 && (p[3] == '/' || p[3] == '\0')) {
        if (tries(p + 3, path))
            return true;
        for (const char *at = path; *path == '/' && *at != '\0'; at++)
            if (tries(p + 3, at + 1))
                return true;
        return false;
    }
    if (p[0] == '*') {
        bool is_any = p[1] == '*';
        while (is_any && p[1] == '*')
            p++;
        for (;; path++) {
            if (tries(p + 1, path))
                return true;
            if (*path == '\0' || (*path == '/' && !is_any))
                return false;
        }
    }
    return p[0] == '\0' ? path[0] == '\0' : p[0] == path[0] && tries(p + 1, path + 1);
}

static bool fits(const char *text, struct slice path) {
    struct pattern pattern;

    assert_null(pattern_parse(slice_str(text), &pattern));
    bool is_fit = pattern_fits(&pattern, path);
    pattern_free(&pattern);
    return is_fit;
}

static void random_text(struct rng *rng, const char *letters, char *text, size_t most) {
    size_t len = rng_next(rng) % (most + 1);

    for (size_t i = 0; i < len; i++)
        text[i] = letters[rng_next(rng) % strlen(letters)];
    text[len] = '\0';
}

static void paths_fit_as_the_words_say(void **state) {
    struct rng rng = { .state = 7 };
    char pattern[12] = "/", path[16] = "/";
    size_t fitted = 0;

    (void)state;
    for (int i = 0; i < 200000; i++) {
        random_text(&rng, "ab/**", pattern + 1, sizeof(pattern) - 2);
        random_text(&rng, "ab//", path + 1, sizeof(path) - 2);
        bool expected = tries(pattern, path);
        if (fits(pattern, slice_str(path)) != expected)
            fail_msg("%s %s %s", pattern, expected ? "does not fit" : "fits", path);
        fitted += expected;
    }
    assert_in_range(fitted, 5000, 195000); /* both happen */
}

static void escapes_are_bytes(void **state) {
    (void)state;
    assert_true(fits("/%2a", SLICE("/*")));
    assert_false(fits("/%2A", SLICE("/a")));
    assert_true(fits("/%2F*", SLICE("//a")));
    assert_true(fits("/a%20b*", SLICE("/a b")));
    assert_true(fits("/+", SLICE("/+")));
    assert_false(fits("/+", SLICE("/ ")));
}

static void wrong_ones_are_refused(void **state) {
    static const char *const wrong[] = { "", "a", "?", "/a?", "/%", "/%zz", "/%00", "/%4" };
    char text[PATTERN_BYTES_MAX + 2];
    struct pattern pattern;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_non_null(pattern_parse(slice_str(wrong[i]), &pattern));
        pattern_free(&pattern);
    }
    memset(text, '*', sizeof(text));
    text[0] = '/';
    assert_null(pattern_parse(slice_of(text, PATTERN_BYTES_MAX), &pattern));
    pattern_free(&pattern);
    assert_non_null(pattern_parse(slice_of(text, PATTERN_BYTES_MAX + 1), &pattern));
    pattern_free(&pattern);
}

/* The longest patterns over a long path: the product of both lengths, some 8 million steps. */
static void hostile_patterns_end_soon(void **state) {
    static const char *const parts[] = { "*a", "**a", "/**", "**/a", "*/", "a*b" };
    char text[PATTERN_BYTES_MAX], path[8192];
    nsec_t start = clock_now();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        for (size_t k = 0; k < sizeof(text); k++)
            text[k] = parts[i][k % strlen(parts[i])];
        text[0] = '/';
        text[sizeof(text) - 1] = 'z';
        memset(path, i % 2 == 0 ? 'a' : '/', sizeof(path));
        path[0] = '/';
        struct pattern pattern;
        assert_null(pattern_parse(slice_of(text, sizeof(text)), &pattern));
        assert_false(pattern_fits(&pattern, slice_of(path, sizeof(path))));
        pattern_free(&pattern);
    }
    assert_in_range(clock_now() - start, 0, 60 * NSEC_PER_SEC);
}

static void texts_fit(void **state) {
    static const struct {
        const char *wanted, *text;
        bool fits;
    } cases[] = {
        { "", "", true },          { "", "a", false },         { "a", "a", true },
        { "a", "A", false },       { "*", "", true },          { "*", "a/b", true },
        { "a*", "a", true },       { "a*c", "abbc", true },    { "a*c", "abcb", false },
        { "*b*b", "abab", true },  { "*b*b", "ab", false },    { "\\*", "*", true },
        { "\\*", "a", false },     { "\\\\", "\\", true },     { "\\a", "\\a", true },
        { "a\\", "a\\", true },    { "\\\\*", "\\abc", true }, { "**", "x", true },
        { "*\\*", "ab*", true },   { "*\\*", "ab", false },    { "a\\*b*", "a*bc", true },
        { "*a*a*a", "aa", false }, { "*aab", "aaaaab", true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (pattern_text_fits(slice_str(cases[i].wanted), slice_str(cases[i].text)) !=
            cases[i].fits)
            fail_msg("%s and %s", cases[i].wanted, cases[i].text);
    assert_true(pattern_text_fits_nocase(SLICE("*.Example.COM"), SLICE("a.eXample.com")));
    assert_false(pattern_text_fits_nocase(SLICE("*.example.com"), SLICE("example.com")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_fit_as_the_words_say),
        cmocka_unit_test(escapes_are_bytes),
        cmocka_unit_test(wrong_ones_are_refused),
        cmocka_unit_test(hostile_patterns_end_soon),
        cmocka_unit_test(texts_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
