/* SPDX-License-Identifier: MIT */
/* Laws out of files: what was recorded comes again, whatever the file is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "slowapi/recorded.h"
#include "slowapi/recording.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DRAWS 200000

static char path[] = "/tmp/recorded.XXXXXX";

static double longest(const struct dist *law) {
    return (double)law->mix.items[law->mix.count - 1].value;
}

static FILE *begin_file(void) {
    strcpy(path + strlen(path) - 6, "XXXXXX");
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    return fdopen(fd, "w");
}

static int by_nsec(const void *a, const void *b) {
    const nsec_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static nsec_t at_share(const nsec_t *sorted, size_t count, double share) {
    return sorted[(size_t)ceil(share * (double)count) - 1];
}

static void load(struct recorded *r, const char *text) {
    const struct option_strings from = { .items = { text }, .count = 1 };
    struct error err = { .text = "" };

    if (recorded_load(r, &from, &err) < 0)
        fail_msg("%s", err.text);
    unlink(path);
}

/* Draws often, and compares the percentiles with those of `values`, which are sorted. */
static void expect_percentiles(const struct dist *law, const nsec_t *values, size_t count) {
    static const double shares[] = { 0.1, 0.5, 0.9, 0.99 };
    nsec_t *draws = calloc(DRAWS, sizeof(*draws));
    struct rng rng = { .state = 7 };

    assert_non_null(draws);
    for (size_t i = 0; i < DRAWS; i++)
        draws[i] = dist_draw(law, &rng);
    qsort(draws, DRAWS, sizeof(*draws), by_nsec);
    for (size_t i = 0; i < ARRAY_LEN(shares); i++) {
        /* in the middle of a value's share: at its edge the next one is as right */
        double share = (floor(shares[i] * (double)count) + 0.5) / (double)count;
        double want = (double)at_share(values, count, share);
        double got = (double)at_share(draws, DRAWS, share);
        if (fabs(got / want - 1) > 0.02)
            fail_msg("p%g: %g instead of %g", shares[i] * 100, got, want);
    }
    assert_true(draws[0] >= values[0] - 1 && draws[DRAWS - 1] <= values[count - 1]);
    free(draws);
}

static void many_values_come_again_with_their_percentiles(void **state UNUSED) {
    struct dist laws[] = {
        { .kind = DIST_EXP, .a = 5e7 },
        { .kind = DIST_LOGNORMAL, .a = 18, .b = 1 },
        { .kind = DIST_UNIFORM, .a = 1e6, .b = 2e6 },
    };
    size_t counts[] = { 300, 5000, 100000 };

    for (size_t n = 0; n < ARRAY_LEN(laws) * ARRAY_LEN(counts); n++) {
        struct recorded *r = recorded_new();
        size_t count = counts[n % ARRAY_LEN(counts)];
        nsec_t *values = calloc(count, sizeof(*values));
        struct rng rng = { .state = n };
        FILE *file = begin_file();
        struct dist law;
        for (size_t i = 0; i < count; i++) {
            values[i] = dist_draw(&laws[n / ARRAY_LEN(counts)], &rng) / 1000 * 1000;
            fprintf(file, "%lldus\n", (long long)(values[i] / 1000));
        }
        fclose(file);
        qsort(values, count, sizeof(*values), by_nsec);
        load(r, path);
        assert_true(recorded_find(r, 0, SLICE("/"), &law));
        expect_percentiles(&law, values, count);
        assert_true(longest(&law) == (double)values[count - 1]);
        free(values);
        recorded_free(r);
    }
}

static void few_values_come_again_as_they_are(void **state UNUSED) {
    struct recorded *r = recorded_new();
    struct rng rng = { .state = 1 };
    FILE *file = begin_file();
    size_t slow = 0;
    struct dist law;

    fputs("value,count\n0.010,9\n\n100ms,1\n", file);
    fclose(file);
    load(r, path);
    assert_true(recorded_find(r, 0, SLICE("/"), &law));
    for (size_t i = 0; i < DRAWS; i++) {
        nsec_t value = dist_draw(&law, &rng);
        assert_true(value == 10 * NSEC_PER_MSEC || value == 100 * NSEC_PER_MSEC);
        slow += value == 100 * NSEC_PER_MSEC;
    }
    assert_true(fabs((double)slow / DRAWS - 0.1) < 0.005);
    recorded_free(r);
}

static void paths_and_statuses_have_laws_of_their_own(void **state UNUSED) {
    static const char *const lines[] = {
        "1.2.3.4 - - [x] \"GET /a%20b?x=1 HTTP/1.1\" 200 5 \"-\" \"agent \\\"x\\\"\" 0.200\n",
        "1.2.3.4 - - [x] \"GET /a%20b HTTP/1.1\" 503 5 \"-\" \"a\" rt=0.001 urt=\"-\"\n",
        "1.2.3.4 - - [x] \"GET /c HTTP/1.1\" 200 5 \"-\" \"a\" 3000\n",
        "1.2.3.4 - - [x] \"\" 400 0 \"-\" \"-\" 0.005\n",
        "1.2.3.4 - - [x] \"GET /c HTTP/1.1\" 200 5 \"-\" \"a\" -\n",
    };
    struct recorded *r = recorded_new();
    struct rng rng = { .state = 3 };
    FILE *file = begin_file();
    char named[64];
    struct dist law;
    uint16_t status;
    unsigned seen = 0;

    for (size_t i = 0; i + 1 < ARRAY_LEN(lines); i++)
        fputs(lines[i], file);
    fclose(file);
    snprintf(named, sizeof(named), "log=%s", path);
    load(r, named);
    uint64_t name = hash_bytes(HASH_SEED, "log", 3);
    assert_true(recorded_has_path(r, SLICE("/a b")) && recorded_has_path(r, SLICE("/c")));
    assert_false(recorded_has_path(r, SLICE("/d")) || recorded_has_path(r, SLICE("/a%20b")));
    assert_false(recorded_find(r, name + 1, SLICE("/c"), &law));
    assert_true(recorded_find(r, name, SLICE("/c"), &law));
    assert_int_equal(dist_draw(&law, &rng), 3 * NSEC_PER_MSEC);
    for (size_t i = 0; i < 100; i++) {
        assert_true(recorded_roll(r, 0, SLICE("/a b"), &rng, &status, &law));
        assert_int_equal(dist_draw(&law, &rng),
                         status == 503 ? NSEC_PER_MSEC : 200 * NSEC_PER_MSEC);
        seen |= status == 503 ? 1 : status == 200 ? 2 : 4;
    }
    assert_int_equal(seen, 3);
    assert_true(recorded_find(r, 0, SLICE("/other"), &law));
    assert_true(longest(&law) == 2e8);
    recorded_free(r);
}

static void lines_of_json_have_many_names(void **state UNUSED) {
    static const struct {
        const char *line;
        nsec_t value;
    } cases[] = {
        { "{\"time\":\"x\",\"url\":\"/p\",\"actual_ms\":5.5,\"total_ms\":9,\"status\":200}",
          5500000 },
        { "{\"upstream_ms\":7,\"actual_ms\":9,\"url\":\"/p\"}", 7000000 },
        { "{\"upstream_ms\":null,\"actual_ms\":9,\"url\":\"/p\"}", 9000000 },
        { "{\"request_time\":\"0.123\",\"request\":\"GET /p HTTP/1.1\"}", 123000000 },
        { "{\"uri\":\"/p\",\"duration_us\": 250}", 250000 },
        { "{\"path\":\"/p\",\"latency\": 0.5}", 500000000 },
        { "{\"target\":\"/p\",\"ms\": 2, \"upstream_ms\": 1}", 2000000 },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct recorded *r = recorded_new();
        FILE *file = begin_file();
        struct dist law;
        fprintf(file, "%s\n", cases[i].line);
        fclose(file);
        load(r, path);
        assert_true(recorded_has_path(r, SLICE("/p")));
        assert_true(recorded_find(r, 0, SLICE("/p"), &law));
        if (longest(&law) != (double)cases[i].value)
            fail_msg("%s: %g", cases[i].line, longest(&law));
        recorded_free(r);
    }
}

static void times_of_logs_are_told_from_other_numbers(void **state UNUSED) {
    static const struct {
        const char *rest;
        nsec_t value;
    } cases[] = {
        { "0.123", 123000000 },
        { "345 0.012 [a-b-80] [] 10.0.0.1:80 123 0.011 200 id", 12000000 }, /* nginx's ingress */
        { "\"-\" rt=0.5 uct=\"0.001\" urt=\"0.4\"", 500000000 },
        { "\"0.250\"", 250000000 },
        { "12345", 12345000 },
        { "request_time_ms=12.5", 12500000 },
        { "0.100 0.090 .", 100000000 },
        { "\"10.1.2.3, 10.2.3.4\" 0.7", 700000000 },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct recorded *r = recorded_new();
        FILE *file = begin_file();
        struct dist law;
        fprintf(file, "1.1.1.1 - - [x] \"GET /p HTTP/1.1\" 200 5 \"-\" \"agent 1.0\" %s\r\n",
                cases[i].rest);
        fclose(file);
        load(r, path);
        assert_true(recorded_find(r, 0, SLICE("/p"), &law));
        if (longest(&law) != (double)cases[i].value)
            fail_msg("%s: %g", cases[i].rest, longest(&law));
        recorded_free(r);
    }
}

static void bad_files_are_named_with_their_line(void **state UNUSED) {
    static const struct {
        const char *text, *why;
    } cases[] = {
        { "", "has no latency in it" },
        { "\n\n", "has no latency in it" },
        { "hello\n", "line 1: is neither a duration nor names a column of times" },
        { "10ms\nabc\n", "line 2: has a value that is no duration, such as 0.25 or 250ms" },
        { "10ms,x\n", "line 1: has a count that is no whole number" },
        { "10ms,1\n-5\n", "line 2: has a value that is no duration, such as 0.25 or 250ms" },
        { "{\"a\":1}\n", "line 1: has no time: request_time, duration_ms, latency_us, actual_ms or "
                         "the like" },
        { "{\"request_time\":\"abc\"}\n", "line 1: has a time that is no number" },
        { "{\"request_time\":1}\n{oops\n", "line 2: is no object of JSON" },
        { "{\n \"a\": 1\n}\n", "is JSON, but not of srv bench: no histograms of latency_us" },
        { "a - - [x] \"GET / HTTP/1.1\" 200 5 \"-\" \"a\"\n",
          "line 1: has no time behind it, such as nginx's $request_time or Apache's %D" },
        { "a - - [x] \"GET / HTTP/1.1\"\n",
          "line 1: is no line of the combined format: no status behind the request" },
        { "#[Histogram log format version 1.3]\n0.1,1.0,5.0,HISTFAAA\n",
          "line 2: has a histogram that is not encoded as V2, compressed" },
        { "#[x]\nzzz\n", "line 2: is no line of an HdrHistogram log" },
        { "99999999999999999999999h\n",
          "line 1: has a value that is no duration, such as 0.25 or 250ms" },
        { "999999999999999\n", "line 1: has a time that is below 0 or above ten years" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct recorded *r = recorded_new();
        struct error err = { .text = "" };
        char want[512];
        FILE *file = begin_file();
        fputs(cases[i].text, file);
        fclose(file);
        const struct option_strings from = { .items = { path }, .count = 1 };
        assert_int_equal(recorded_load(r, &from, &err), -EINVAL);
        snprintf(want, sizeof(want), "--from '%s': %s", path, cases[i].why);
        assert_string_equal(err.text, want);
        unlink(path);
        recorded_free(r);
    }
}

/* What is read anew and is bad changes nothing; what is good takes effect. */
static void a_bad_reload_leaves_the_laws(void **state UNUSED) {
    static const char *const texts[] = { "5ms\n", "oops\n", "7ms\n" };
    static const nsec_t wanted[] = { 5000000, 5000000, 7000000 };
    struct recorded *r = recorded_new();
    struct dist law;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        FILE *file = begin_file();
        fputs(texts[i], file);
        fclose(file);
        const struct option_strings from = { .items = { path }, .count = 1 };
        (void)!recorded_load(r, &from, NULL);
        unlink(path);
        assert_true(recorded_find(r, 0, SLICE("/"), &law));
        assert_true(longest(&law) == (double)wanted[i]);
    }
    recorded_free(r);
}

static void memory_may_be_short(void **state UNUSED) {
    FILE *file = begin_file();
    bool failed = true;

    for (int i = 0; i < 5000; i++)
        fprintf(file, "{\"request_time\":0.%03d,\"url\":\"/%d\"}\n", i % 1000, i);
    fclose(file);
    const struct option_strings from = { .items = { path }, .count = 1 };
    for (long n = 0; failed; n++) {
        struct recorded *r = recorded_new();
        struct error err;
        mem_fail_after(n);
        int rc = recorded_load(r, &from, &err);
        failed = mem_failed();
        mem_fail_after(-1);
        assert_int_equal(rc, failed ? -ENOMEM : 0);
        recorded_free(r);
    }
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_values_come_again_with_their_percentiles),
        cmocka_unit_test(few_values_come_again_as_they_are),
        cmocka_unit_test(paths_and_statuses_have_laws_of_their_own),
        cmocka_unit_test(lines_of_json_have_many_names),
        cmocka_unit_test(times_of_logs_are_told_from_other_numbers),
        cmocka_unit_test(bad_files_are_named_with_their_line),
        cmocka_unit_test(a_bad_reload_leaves_the_laws),
        cmocka_unit_test(memory_may_be_short),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
