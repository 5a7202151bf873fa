/* SPDX-License-Identifier: MIT */
/* The page: what is not ours is escaped, axes are round, and every figure is there. */
#include "base/alloc.h"
#include "playground/page.h"
#include "playground/svg.h"
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct playground one = {
    .name = "one",
    .alias = "from-the-tutorial",
    .title = "a <b>bold</b> & \"quoted\" title",
    .shows = "It shows something.",
    .notice = "something",
    .processes = { { .name = "slowapi", .args = { "slowapi" }, .port_by_hand = 4000 },
                   { .name = "app",
                     .args = { "serve", "--upstream", "{slowapi}" },
                     .port_by_hand = 3000,
                     .measured = true } },
    .load = { 10, 5, NSEC_PER_SEC },
    .slots = 1,
    .tutorial_seconds = 10.139,
};
static const struct playground two = { .name = "two", .title = "", .shows = "", .notice = "" };

/* What `count` results look like; the caller frees it. */
static char *written(const struct play_result *results, size_t count) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_int_equal(page_write(results, count, out), 0);
    fclose(out);
    return text;
}

static struct play_result played(void) {
    struct play_result r = { .row = &one, .load = one.load, .ideal = 10 * NSEC_PER_SEC };
    r.seconds = 10.05;
    r.requests = 10;
    r.requests_per_second = 0.995;
    r.calls_max = 1;
    r.p50_usec = 5001234;
    r.p90_usec = r.p99_usec = r.max_usec = 5005678;
    for (int i = 0; i < 3; i++) {
        struct series_point point = { .elapsed = i * NSEC_PER_SEC };
        point.total.threads = 1;
        point.in_flight[0] = i == 1 ? GAUGE_UNKNOWN : 1;
        point.in_flight[1] = 5;
        assert_int_equal(result_add_point(&r, &point), 0);
    }
    return r;
}

static void assert_has(const char *text, const char *piece) {
    if (strstr(text, piece) == NULL)
        fail_msg("no '%s' in the page", piece);
}

static void figures_commands_and_the_tutorial_are_there(void **state) {
    (void)state;
    struct play_result result = played();
    char *page = written(&result, 1);
    assert_has(page, "10.05 s");
    assert_has(page, "10.14"); /* the tutorial's */
    assert_has(page, "5005.7");
    assert_has(page, "ceil(10 / 1) x 1s");
    assert_has(page, "srv serve --upstream http://127.0.0.1:4000/");
    assert_has(page, "Threads of the server");
    assert_has(page, "requests of the clients, at most 5");
    assert_has(page, "calls in the slow API, at most 1");
    assert_has(page, "<dd>1 <small>of</small> 5</dd>");
    assert_has(page, "all clients 5");
    assert_has(page, "class=\"tutorial\"");
    free(page);
    result_free(&result);
}

static void figure_of_the_tutorial_is_only_for_its_own_load(void **state) {
    (void)state;
    struct play_result result = played();
    result.load.requests = 11;
    char *page = written(&result, 1);
    assert_null(strstr(page, "class=\"tutorial\""));
    free(page);
    result_free(&result);
}

static void figures_of_both_are_told_apart(void **state) {
    (void)state;
    struct playground slower = one;
    slower.tutorial_seconds = 17.536;
    struct play_result results[] = { played(), played() };
    results[1].row = &slower;
    char *page = written(results, 1);
    assert_has(page, ">10.05 s, tutorial 10.14<"); /* no room between bar and ring */
    assert_null(strstr(page, ">10.05 s<"));
    free(page);
    page = written(results, 2);
    assert_has(page, "class=\"after\" x=\"45.849%\" y=\"17\">10.05 s<");
    assert_has(page, "class=\"after theirs\" x=\"80.000%\" y=\"17\">17.54 s<");
    free(page);
    result_free(&results[0]);
    result_free(&results[1]);
}

static void another_load_is_said_under_the_name(void **state) {
    (void)state;
    struct play_result results[] = { played(), played(), played() };
    char *page = written(results, 3);
    assert_has(page, "The load is 10 requests by 5 clients, the same on each;");
    assert_null(strstr(page, "<small>10&nbsp;requests"));
    free(page);
    results[0].load = results[2].load = (struct play_load){ 2000, 200, NSEC_PER_SEC };
    page = written(results, 3);
    assert_has(page, "The load is 2000 requests by 200 clients, but for rows that say another;");
    assert_has(page, "<small>10&nbsp;requests, 5&nbsp;clients</small>");
    assert_null(strstr(page, "<small>2000&nbsp;requests"));
    free(page);
    for (size_t i = 0; i < ARRAY_LEN(results); i++)
        result_free(&results[i]);
}

static void proxy_has_its_cpu_and_a_note(void **state) {
    (void)state;
    struct playground behind = one;
    behind.processes[2] =
        (struct play_process){ .name = "proxy", .args = { "slowapi" }, .port_by_hand = 8080 };
    struct play_result results[] = { played(), played() };
    results[1].row = &behind;
    results[1].process_cpu[2] = 10 * 77 * NSEC_PER_USEC;
    char *page = written(results, 1);
    assert_null(strstr(page, "A proxy in front is not counted."));
    assert_null(strstr(page, "CPU of"));
    free(page);
    page = written(results, 2);
    assert_has(page, "A proxy in front is not counted.");
    assert_has(page, "<dt>CPU of proxy</dt><dd>77 <small>us</small>");
    free(page);
    result_free(&results[0]);
    result_free(&results[1]);
}

static void calls_that_nobody_counted_are_not_none(void **state) {
    (void)state;
    struct play_result result = played();
    result.calls_max = 0;
    char *page = written(&result, 1);
    assert_has(page, "<dd>- <small>of</small> 5</dd>");
    free(page);
    result_free(&result);
}

static void text_is_escaped(void **state) {
    (void)state;
    struct play_result results[] = { played(), { .row = &two, .skipped = "<no> such 'thing'" } };
    char *page = written(results, 2);
    assert_has(page, "a &lt;b&gt;bold&lt;/b&gt; &amp; &quot;quoted&quot; title");
    assert_has(page, "skipped: &lt;no&gt; such &#39;thing&#39;");
    assert_null(strstr(page, "<b>bold"));
    free(page);
    result_free(&results[0]);
}

static void original_that_was_skipped_is_no_bar_and_no_key(void **state) {
    (void)state;
    struct playground original = one;
    original.peer_of = "one";
    struct play_result results[] = { played(), played() };
    results[1].row = &original;
    char *page = written(results, 2);
    assert_has(page, "the original, measured here");
    free(page);
    snprintf(results[1].skipped, sizeof(results[1].skipped), "not installed: it");
    page = written(results, 2);
    assert_null(strstr(page, "the original, measured here"));
    assert_has(page, "skipped: not installed: it");
    free(page);
    result_free(&results[0]);
    result_free(&results[1]);
}

static void page_needs_nothing_from_elsewhere(void **state) {
    (void)state;
    struct play_result result = played();
    char *page = written(&result, 1);
    static const char *const foreign[] = { "<script", "<img", "<link", " src=", "@import", "url(" };
    for (size_t i = 0; i < ARRAY_LEN(foreign); i++)
        assert_null(strstr(page, foreign[i]));
    free(page);
    result_free(&result);
}

static void missing_answer_is_a_gap_in_the_line(void **state) {
    (void)state;
    struct svg_point points[] = { { 0, 1 }, { .25, 0 }, { .5, (double)NAN }, { .75, 0 }, { 1, 0 } };
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    svg_steps(out, points, ARRAY_LEN(points), "x");
    svg_steps(out, &points[2], 1, "x");
    fclose(out);
    assert_string_equal(text, "<path class=\"x\" d=\"M0.0 0.0H250.0V100.0M750.0 100.0H1000.0\"/>\n"
                              "<path class=\"x\" d=\"\"/>\n");
    free(text);
}

static void failing_writer_and_memory_are_told_or_harmless(void **state) {
    (void)state;
    struct play_result result = played();
    FILE *full = fopen("/dev/full", "w");
    assert_non_null(full);
    setvbuf(full, NULL, _IONBF, 0);
    assert_int_equal(page_write(&result, 1, full), -EIO);
    fclose(full);
    bool failed = true;
    for (int n = 0; failed; n++) {
        FILE *null = fopen("/dev/null", "w");
        mem_fail_after(n);
        int rc = page_write(&result, 1, null);
        failed = mem_failed();
        mem_fail_after(-1);
        assert_true(failed || rc == 0);
        fclose(null);
    }
    result_free(&result);
}

static void axes_end_at_round_numbers(void **state) {
    (void)state;
    static const double cases[][2] = { { 0, 1 },      { -3, 1 },      { 1, 1 },      { 1.1, 2 },
                                       { 2.3, 2.5 },  { 4, 5 },       { 7, 10 },     { 201, 250 },
                                       { 999, 1000 }, { 1000, 1000 }, { 0.03, 0.05 } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        double end = svg_axis_end(cases[i][0]);
        assert_true(end > cases[i][1] * 0.999 && end < cases[i][1] * 1.001);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_commands_and_the_tutorial_are_there),
        cmocka_unit_test(figure_of_the_tutorial_is_only_for_its_own_load),
        cmocka_unit_test(figures_of_both_are_told_apart),
        cmocka_unit_test(another_load_is_said_under_the_name),
        cmocka_unit_test(proxy_has_its_cpu_and_a_note),
        cmocka_unit_test(calls_that_nobody_counted_are_not_none),
        cmocka_unit_test(text_is_escaped),
        cmocka_unit_test(original_that_was_skipped_is_no_bar_and_no_key),
        cmocka_unit_test(page_needs_nothing_from_elsewhere),
        cmocka_unit_test(missing_answer_is_a_gap_in_the_line),
        cmocka_unit_test(failing_writer_and_memory_are_told_or_harmless),
        cmocka_unit_test(axes_end_at_round_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
