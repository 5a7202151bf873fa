/* SPDX-License-Identifier: MIT */
/* The table and its sentences, JSON, and the page: every figure is there, and no text is markup.
 * tests/e2e/test_play_page.py looks in a browser at how the page's script draws. */
#include "base/alloc.h"
#include "playground/catalogue.h"
#include "playground/report.h"
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- the table -------------------- */

static const struct playground single = { .name = "single",
                                          .notice = "clients queue",
                                          .title = "one",
                                          .slots = 1,
                                          .load = { 10, 5, NSEC_PER_SEC } };
static const struct playground longer = {
    .name = "a-longer-name", .notice = "nobody queues", .title = "two", .slots = 1
};

static const struct play_result measured[] = {
    { .row = &single,
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
    { .row = &longer,
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

static void columns_are_as_wide_as_their_content_and_each_row_has_its_sentence(void **state) {
    (void)state;
    static const char expected[] =
        "                              delay   time  ideal  requests     p50     p99          "
        "threads  threads  asleep    calls   CPU us  memory\n"
        "model               n      c      s      s      s     per s      ms      ms  failed   "
        "before   during  during  at once  per req     MiB\n"
        "single             10      5      1  10.01  10.00       1.0  5003.0  5004.9       0       "
        " 1        1       1        1      123     5.0\n"
        "a-longer-name  200000  20000   0.25   2.60   2.50   76923.1   250.1   260.0  123456       "
        " 5      205     204        -       20   123.0\n"
        "\n"
        "single: clients queue.\n"
        "a-longer-name: nobody queues.\n";
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    report_print(measured, 2, 0, out);
    fclose(out);
    assert_string_equal(text, expected);
    free(text);
}

static void narrow_screens_get_more_than_one_table(void **state) {
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    report_print(measured, 2, 60, out);
    fclose(out);
    size_t names = 0;
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;) {
        assert_in_range(strlen(line), 0, 60);
        names += strncmp(line, "a-longer-name  ", 15) == 0;
    }
    assert_int_equal(names, 3);
    free(text);

    out = open_memstream(&text, &size);
    report_print(measured, 2, 1, out); /* a column at least, whatever its width */
    fclose(out);
    assert_non_null(strstr(text, "\n\n"));
    free(text);
}

/* --- JSON -------------------- */

static void json_has_one_object_per_result(void **state) {
    (void)state;
    struct play_result results[2] = {
        { .row = &catalogue[0],
          .load = { 10, 5, NSEC_PER_SEC / 4 },
          .seconds = 2.5,
          .requests = 1000,
          .cpu = NSEC_PER_SEC },
        { .row = &catalogue[1], .failed = 7, .cpu = NSEC_PER_SEC },
    };
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_int_equal(report_write(results, 2, REPORT_JSON, out), 0);
    fclose(out);

    json_t *document = json_loads(text, 0, NULL);
    json_t *list = json_object_get(document, "playgrounds");
    assert_int_equal(json_array_size(list), 2);
    json_t *first = json_array_get(list, 0);
    assert_string_equal(json_string_value(json_object_get(first, "name")), catalogue[0].name);
    assert_true(json_number_value(json_object_get(first, "seconds")) == 2.5);
    assert_true(json_number_value(
                    json_object_get(json_object_get(first, "load"), "delay_seconds")) == 0.25);
    assert_true(json_is_false(json_object_get(json_object_get(first, "load"), "keep_alive")));
    assert_true(json_number_value(json_object_get(first, "tutorial_seconds")) ==
                0); /* other load */
    assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 1), "failed")), 7);
    assert_true(json_number_value(json_object_get(first, "cpu_us_per_request")) == 1000);
    json_t *second = json_array_get(list, 1); /* has no requests to divide by */
    assert_true(json_number_value(json_object_get(second, "cpu_us_per_request")) == 0);
    json_decref(document);
    free(text);
}

/* --- the page -------------------- */

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
    assert_int_equal(report_write(results, count, REPORT_PAGE, out), 0);
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
        point.in_flight[0] = i == 1 ? PLAY_UNKNOWN : 1;
        point.in_flight[1] = 5;
        assert_int_equal(result_add_point(&r, &point), 0);
    }
    return r;
}

static void assert_has(const char *text, const char *piece) {
    if (strstr(text, piece) == NULL)
        fail_msg("no '%s' in the page", piece);
}

/* The data for the script, which the caller frees. */
static json_t *data_of(const char *page) {
    static const char begin[] = "<script id=\"data\" type=\"application/json\">";
    const char *start = strstr(page, begin);
    assert_non_null(start);
    start += sizeof(begin) - 1;
    const char *end = strstr(start, "</script>");
    assert_non_null(end);
    json_t *data = json_loadb(start, (size_t)(end - start), 0, NULL);
    assert_non_null(data);
    return data;
}

/* Row `i` of the data. */
static json_t *row_of(json_t *data, size_t i) {
    return json_array_get(json_object_get(data, "playgrounds"), i);
}

static const char *text_of(json_t *row, const char *name) {
    return json_string_value(json_object_get(row, name));
}

static void assert_counts(json_t *list, const json_int_t *expected, size_t count) {
    assert_int_equal(json_array_size(list), count);
    for (size_t i = 0; i < count; i++) {
        json_t *value = json_array_get(list, i);
        assert_int_equal(json_is_null(value) ? -1 : json_integer_value(value), expected[i]);
    }
}

static void figures_commands_and_the_tutorial_are_there(void **state) {
    (void)state;
    struct play_result result = played();
    char *page = written(&result, 1);
    assert_has(page, "<th scope=\"row\">one</th><td>10</td><td>5</td><td>1</td><td>10.05</td>"
                     "<td>10.00</td><td>1.0</td><td>5001.2</td><td>5005.7</td><td>0</td>");
    assert_has(page, "<th scope=\"col\">calls<br>at once</th>");
    assert_has(page, "1 playground, ");
    json_t *data = data_of(page), *row = row_of(data, 0);
    json_t *series = json_object_get(row, "series");
    assert_true(json_number_value(json_object_get(row, "seconds")) == 10.05);
    assert_true(json_number_value(json_object_get(row, "tutorial_seconds")) == 10.139);
    assert_string_equal(text_of(row, "ideal_formula"), "ceil(10 / 1) x 1s");
    assert_string_equal(text_of(json_object_get(row, "load"), "delay"), "1s");
    assert_has(text_of(row, "commands"), "  srv serve --upstream http://127.0.0.1:4000/\n");
    assert_string_equal(text_of(row, "alias"), "from-the-tutorial");
    assert_counts(json_object_get(series, "requests_in_flight"), (json_int_t[]){ 5, 5, 5 }, 3);
    assert_counts(json_object_get(series, "upstream_calls_in_flight"), (json_int_t[]){ 1, -1, 1 },
                  3); /* a missing answer is a gap */
    assert_true(json_is_true(json_object_get(row, "has_slow_api")));
    json_decref(data);
    free(page);
    result_free(&result);
}

static void figure_of_the_tutorial_is_only_for_its_own_load(void **state) {
    (void)state;
    struct play_result result = played();
    result.load.requests = 11;
    char *page = written(&result, 1);
    json_t *data = data_of(page);
    assert_true(json_number_value(json_object_get(row_of(data, 0), "tutorial_seconds")) == 0);
    json_decref(data);
    free(page);
    result_free(&result);
}

static void response_times_and_their_distribution_are_in_the_data(void **state) {
    (void)state;
    struct play_result result = played();
    result.latencies = (struct latencies){ .requests = 4, .count = 2, .slowest_usec = 4000 };
    result.latencies.points = mem_calloc(2, sizeof(struct latency));
    result.latencies.points[0] = (struct latency){ 5025000, 2500, false };
    result.latencies.points[1] = (struct latency){ 10050000, 4000, true };
    result.latencies.bins[24] = 3;
    result.latencies.bins[39] = 1;
    char *page = written(&result, 1);
    assert_has(page, "\"points\":[[5025000,2500,false],[10050000,4000,true]]");
    json_t *data = data_of(page), *kept = json_object_get(row_of(data, 0), "latencies");
    json_int_t bins[LATENCIES_BINS] = { [24] = 3, [39] = 1 };
    assert_counts(json_object_get(kept, "bins"), bins, LATENCIES_BINS);
    assert_int_equal(json_integer_value(json_object_get(kept, "requests")), 4);
    assert_int_equal(json_integer_value(json_object_get(kept, "slowest_us")), 4000);
    json_decref(data);
    free(page);
    result_free(&result);
}

static void proxy_has_its_name_its_cpu_and_its_connections(void **state) {
    (void)state;
    struct playground behind = one;
    behind.processes[2] =
        (struct play_process){ .name = "proxy", .args = { "slowapi" }, .port_by_hand = 8080 };
    struct play_result results[] = { played(), played() };
    results[1].row = &behind;
    results[1].process_cpu[2] = 10 * 77 * NSEC_PER_USEC;
    results[1].series.points[2].connections[1] = 6;
    char *page = written(results, 2);
    json_t *data = data_of(page), *spent;
    assert_true(json_is_null(json_object_get(row_of(data, 0), "proxy")));
    assert_string_equal(text_of(row_of(data, 1), "proxy"), "proxy");
    spent = json_object_get(row_of(data, 1), "process_cpu_us_per_request");
    assert_true(json_number_value(json_object_get(spent, "proxy")) == 77);
    assert_counts(json_object_get(json_object_get(row_of(data, 1), "series"), "server_connections"),
                  (json_int_t[]){ 0, 0, 6 }, 3);
    json_decref(data);
    free(page);
    result_free(&results[0]);
    result_free(&results[1]);
}

static void calls_that_nobody_counted_are_not_none(void **state) {
    (void)state;
    struct play_result result = played();
    result.calls_max = 0;
    char *page = written(&result, 1);
    assert_has(page, "<td>-</td><td>0</td><td>0.0</td></tr>");
    free(page);
    result_free(&result);
}

static void text_is_escaped(void **state) {
    (void)state;
    struct playground nasty = two;
    nasty.title = "</script><b>bold";
    struct play_result results[] = { played(),
                                     { .row = &two, .skipped = "<no> such & 'thing'" },
                                     played() };
    results[2].row = &nasty;
    nasty.processes[0] = one.processes[0];
    nasty.processes[1] = one.processes[1];
    char *page = written(results, 3);
    assert_has(page, "skipped: &#60;no&#62; such &#38; &#39;thing&#39;</td>");
    assert_null(strstr(page, "<b>bold"));
    json_t *data = data_of(page);
    assert_string_equal(text_of(row_of(data, 0), "title"), one.title);
    assert_string_equal(text_of(row_of(data, 1), "skipped"), "<no> such & 'thing'");
    assert_string_equal(text_of(row_of(data, 2), "title"), nasty.title);
    json_decref(data);
    free(page);
    result_free(&results[0]);
    result_free(&results[2]);
}

static void original_is_marked_and_says_whose_job_it_does(void **state) {
    (void)state;
    struct playground original = one;
    original.peer_of = "one";
    struct play_result results[] = { played(), played() };
    results[1].row = &original;
    char *page = written(results, 2);
    json_t *data = data_of(page);
    assert_true(json_is_null(json_object_get(row_of(data, 0), "peer_of")));
    assert_string_equal(text_of(row_of(data, 1), "peer_of"), "one");
    assert_has(page, "<tr class=\"peer\"><th scope=\"row\">one</th><td>10</td>");
    json_decref(data);
    free(page);
    snprintf(results[1].skipped, sizeof(results[1].skipped), "not installed: it");
    page = written(results, 2);
    assert_has(page, "<tr class=\"peer\"><th scope=\"row\">one</th><td class=\"skipped\" "
                     "colspan=\"15\">skipped: not installed: it</td>");
    free(page);
    result_free(&results[0]);
    result_free(&results[1]);
}

static void page_needs_nothing_from_elsewhere(void **state) {
    (void)state;
    struct play_result result = played();
    char *page = written(&result, 1);
    static const char *const foreign[] = { "<img", "<link",   " src=",  "@import",
                                           "url(", "import(", "fetch(", "XMLHttp" };
    for (size_t i = 0; i < ARRAY_LEN(foreign); i++)
        assert_null(strstr(page, foreign[i]));
    assert_has(page, "content=\"default-src 'none'; style-src 'unsafe-inline'; "
                     "script-src 'unsafe-inline'\"");
    assert_null(strstr(page, "<!--")); /* every gap of the template is filled */
    free(page);
    result_free(&result);
}

static void failing_writer_and_memory_are_told_or_harmless(void **state) {
    (void)state;
    struct play_result result = played();
    FILE *full = fopen("/dev/full", "w");
    assert_non_null(full);
    setvbuf(full, NULL, _IONBF, 0);
    assert_int_equal(report_write(&result, 1, REPORT_PAGE, full), -ENOSPC);
    fclose(full);
    bool failed = true;
    for (int n = 0; failed; n++) {
        FILE *null = fopen("/dev/null", "w");
        mem_fail_after(n);
        int rc = report_write(&result, 1, REPORT_PAGE, null);
        failed = mem_failed();
        mem_fail_after(-1);
        assert_true(failed || rc == 0);
        fclose(null);
    }
    result_free(&result);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_as_wide_as_their_content_and_each_row_has_its_sentence),
        cmocka_unit_test(narrow_screens_get_more_than_one_table),
        cmocka_unit_test(json_has_one_object_per_result),
        cmocka_unit_test(figures_commands_and_the_tutorial_are_there),
        cmocka_unit_test(figure_of_the_tutorial_is_only_for_its_own_load),
        cmocka_unit_test(response_times_and_their_distribution_are_in_the_data),
        cmocka_unit_test(proxy_has_its_name_its_cpu_and_its_connections),
        cmocka_unit_test(calls_that_nobody_counted_are_not_none),
        cmocka_unit_test(text_is_escaped),
        cmocka_unit_test(original_is_marked_and_says_whose_job_it_does),
        cmocka_unit_test(page_needs_nothing_from_elsewhere),
        cmocka_unit_test(failing_writer_and_memory_are_told_or_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
