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

/* What `count` results look like; the caller frees it. Inlined, gcc 12 takes what open_memstream(3)
 * has stored for a pointer to a local variable. */
__attribute__((noinline)) static char *written(const struct play_result *results, size_t count) {
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

/* The piece of the chart of times that begins with the row's label. */
static const char *bar_of_time(const char *page, const char *label) {
    const char *at = strstr(page, label);
    assert_non_null(at);
    return strstr(at, "<rect");
}

static void rows_of_another_load_have_an_axis_of_their_own(void **state) {
    (void)state;
    struct play_result results[] = { played(), played(), played() };
    char *page = written(results, 3);
    assert_has(page, "<h4>10&nbsp;requests by 5&nbsp;clients, a delay of&nbsp;1s</h4>");
    assert_null(strstr(page, "<h4>2000"));
    free(page);
    results[0].load = results[2].load = (struct play_load){ 2000, 200, NSEC_PER_SEC };
    results[1].seconds = 1;
    results[1].ideal = NSEC_PER_SEC;
    results[1].load.requests = 4;
    page = written(results, 3);
    const char *usual = strstr(page, "<h4>2000&nbsp;requests by 200&nbsp;clients");
    assert_non_null(usual);
    assert_true(usual < strstr(page, "<h4>4&nbsp;requests")); /* the usual load is first */
    const char *width = "x=\"0.000%\" y=\"6\" width=\"80.000%\"";
    assert_ptr_equal(strstr(bar_of_time(page, "one: 10.05 s, ideal"), width), strstr(page, width));
    assert_non_null(strstr(bar_of_time(page, "one: 1.00 s, ideal"), width));
    free(page);
    for (size_t i = 0; i < ARRAY_LEN(results); i++)
        result_free(&results[i]);
}

static void loads_are_walked_once_each(void **state) {
    (void)state;
    struct play_result results[] = { played(), played(), played(), played(), played() };
    results[1].load.requests = results[3].load.requests = 7;
    results[4].load.requests = 9;
    snprintf(results[4].skipped, sizeof(results[4].skipped), "not here");
    results[0].load.requests = 8;
    size_t at = 0;
    assert_int_equal(result_next_load(results, 5, &at)->requests, 7);
    assert_int_equal(result_next_load(results, 5, &at)->requests, 8);
    assert_int_equal(result_next_load(results, 5, &at)->requests, 10);
    assert_null(result_next_load(results, 5, &at));
    assert_null(result_next_load(results, 5, &at));
    for (size_t i = 0; i < ARRAY_LEN(results); i++)
        result_free(&results[i]);
    at = 0;
    assert_null(result_next_load(&results[4], 1, &at));
}

static void conclusion_compares_those_that_kept_up(void **state) {
    (void)state;
    struct playground other = one;
    other.name = "other";
    struct play_result results[] = { played(), played(), played() };
    results[0].threads_during = 1;
    results[0].calls_max = 200;
    results[1].row = &other;
    results[1].threads_during = 201;
    results[1].calls_max = 1;
    results[2].threads_during = 0; /* of one that did not keep up */
    results[2].seconds = 20;
    char *page = written(results, 3);
    assert_has(page, "one</a> kept 200 calls waiting at once with <b>1 thread</b>; "
                     "<a href=\"#other\">other</a> kept 1 call waiting at once with "
                     "<b>201 threads</b>. The time was the same, 10.05 s or close to it: waiting "
                     "alone takes 10.00 s.");
    assert_true(strstr(page, "kept 200") < strstr(page, "<nav"));
    free(page);
    for (size_t i = 0; i < ARRAY_LEN(results); i++)
        results[i].failed = 1;
    page = written(results, 3);
    assert_null(strstr(page, "class=\"lead\""));
    free(page);
    for (size_t i = 0; i < ARRAY_LEN(results); i++)
        result_free(&results[i]);
}

static void index_leads_to_every_part_and_row(void **state) {
    (void)state;
    struct play_result result = played();
    char *page = written(&result, 1);
    char *nav = strstr(page, "<nav"), *end = strstr(page, "</nav>");
    assert_true(nav != NULL && nav < end);
    size_t links = 0;
    for (char *at = nav; (at = strstr(at, "href=\"#")) != NULL && at < end; links++) {
        char id[80], name[64];
        at += strlen("href=\"#");
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(at, "\""), at);
        snprintf(id, sizeof(id), "id=\"%s\"", name);
        assert_has(page, id);
    }
    assert_int_equal(links, 6);
    free(page);
    result_free(&result);
}

static void response_times_have_dots_and_a_distribution(void **state) {
    (void)state;
    struct play_result result = played();
    char *page = written(&result, 1);
    assert_null(strstr(page, "Distribution")); /* nothing was kept */
    free(page);
    result.latencies = (struct latencies){ .requests = 4, .count = 2, .slowest_usec = 4000 };
    result.latencies.points = mem_calloc(2, sizeof(struct latency));
    result.latencies.points[0] = (struct latency){ 5025000, 2500, false };
    result.latencies.points[1] = (struct latency){ 10050000, 4000, true };
    result.latencies.bins[24] = 3;
    result.latencies.bins[39] = 1;
    page = written(&result, 1);
    assert_has(page, "<path class=\"dots\" d=\"M500.0 50.0h0\"/>"); /* of 0 to 5 ms */
    assert_has(page, "<path class=\"dots bad\" d=\"M1000.0 20.0h0\"/>");
    assert_has(page, "Distribution of response times from 0 to 4.0 ms");
    free(page);
    result_free(&result);
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
        cmocka_unit_test(rows_of_another_load_have_an_axis_of_their_own),
        cmocka_unit_test(loads_are_walked_once_each),
        cmocka_unit_test(conclusion_compares_those_that_kept_up),
        cmocka_unit_test(index_leads_to_every_part_and_row),
        cmocka_unit_test(response_times_have_dots_and_a_distribution),
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
