/* SPDX-License-Identifier: MIT */
/* The reports against hand-made figures: ab's labels, rounding and percentile rule; the JSON
 * schema. */
#include "bench/output.h"
#include "bench/summary.h"
#include "bench/text.h"
#include "loadgen/request.h"
#include "loadgen/target.h"
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct {
    struct loadgen_config config;
    struct target target;
    struct request request;
    struct counters counters;
    struct summary summary;
    struct report report;
    char *text;
    size_t size;
} run;

static int set_up(void **state) {
    (void)state;
    run.config = (struct loadgen_config){
        .url = "http://h:81/t", .requests = 20, .concurrency = 2, .timeout = NSEC_PER_SEC
    };
    assert_int_equal(target_parse(&run.target, run.config.url, NULL), 0);
    assert_int_equal(request_build(&run.request, &run.config, &run.target, NULL), 0);
    assert_int_equal(counters_init(&run.counters), 0);
    run.counters.first_start = 7 * NSEC_PER_SEC;
    run.counters.last_end = run.counters.first_start + NSEC_PER_SEC / 2;
    run.report = (struct report){ .config = &run.config,
                                  .target = &run.target,
                                  .request = &run.request,
                                  .counters = &run.counters,
                                  .summary = &run.summary,
                                  .sections = output_sections };
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    summary_free(&run.summary);
    counters_free(&run.counters);
    request_free(&run.request);
    return 0;
}

static void end_one(int outcome, uint16_t status, uint64_t body_bytes,
                    const struct timing *timing) {
    struct counters *t = &run.counters;
    (void)counters_fits_document(t, status, body_bytes, true);
    counters_end(t, SIZE_MAX, outcome, status, body_bytes, timing, t->last_end);
}

static void fail_one(enum failure reason, const struct timing *timing) {
    counters_end(&run.counters, SIZE_MAX, (int)reason, 0, 0, timing, run.counters.last_end);
}

/* Totals of 1.4, 2.4, ... n + 0.4 ms, each with 1 ms of connecting. */
static void add_ladder(int n) {
    for (int i = 1; i <= n; i++) {
        struct timing t = { .connect = 1000, .wait = i * 500, .total = i * 1000 + 400 };
        end_one(OUTCOME_OK, 200, 12, &t);
    }
    run.counters.bytes_received = (uint64_t)n * 160;
    run.counters.body_bytes = (uint64_t)n * 12;
}

static void settle(void) {
    counters_settle(&run.counters);
    summary_free(&run.summary);
    assert_int_equal(summary_init(&run.summary, &run.config, &run.counters, NULL), 0);
}

static void print(void) {
    free(run.text);
    FILE *out = open_memstream(&run.text, &run.size);
    assert_non_null(out);
    settle();
    text_print(out, &run.report);
    fclose(out);
}

static void expect(const char *lines) {
    if (strstr(run.text, lines) == NULL)
        assert_string_equal(run.text, lines); /* shows both */
}

static void refuse(const char *lines) {
    if (strstr(run.text, lines) != NULL)
        fail_msg("not expected: %s", lines);
}

static void test_report_of_ab_line_by_line(void **state) {
    (void)state;
    run.config.ab_strict = true;
    struct http_head head = { .fields = SLICE("Server: es/1 (Unix)\r\n") };
    counters_server(&run.counters, &head);
    add_ladder(20);
    print();
    expect("..done\n\n\nServer Software:        es/1\n"
           "Server Hostname:        h\n"
           "Server Port:            81\n"
           "\n"
           "Document Path:          /t\n"
           "Document Length:        12 bytes\n"
           "\n"
           "Concurrency Level:      2\n"
           "Time taken for tests:   0.500 seconds\n"
           "Complete requests:      20\n"
           "Failed requests:        0\n"
           "Total transferred:      3200 bytes\n"
           "HTML transferred:       240 bytes\n"
           "Requests per second:    40.00 [#/sec] (mean)\n"
           "Time per request:       50.000 [ms] (mean)\n"
           "Time per request:       25.000 [ms] (mean, across all concurrent requests)\n"
           "Transfer rate:          6.25 [Kbytes/sec] received\n"
           "\n"
           "Connection Times (ms)\n"
           "              min  mean[+/-sd] median   max\n"
           "Connect:        1    1   0.0      1       1\n"
           "Processing:     0   10   5.9     10      19\n"
           "Waiting:        1    5   3.0      5      10\n"
           "Total:          1   11   5.9     11      20\n"
           "\n"
           "Percentage of the requests served within a certain time (ms)\n"
           "  50%     11\n"
           "  66%     14\n"
           "  75%     16\n"
           "  80%     17\n"
           "  90%     19\n"
           "  95%     20\n"
           "  98%     20\n"
           "  99%     20\n"
           " 100%     20 (longest request)\n");
}

static void test_median_of_an_odd_count_is_the_middle(void **state) {
    (void)state;
    add_ladder(5);
    print();
    expect("Total:          1    3   1.6      3       5\n");
    expect("  50%      3\n");
}

static void test_failures_have_their_columns_and_reasons(void **state) {
    (void)state;
    struct timing t = { .total = 1000000 };
    add_ladder(1);
    fail_one(FAILURE_REFUSED, &t);
    fail_one(FAILURE_RESET, &t);
    fail_one(FAILURE_RESET, &t);
    fail_one(FAILURE_TIMEOUT_FIRST_BYTE, &t);
    fail_one(FAILURE_TRUNCATED, &t);
    fail_one(FAILURE_BAD_RESPONSE, &t);
    print();
    expect("Complete requests:      7\n"
           "Failed requests:        6\n"
           "   (Connect: 1, Receive: 3, Length: 1, Exceptions: 1)\n");
    expect("\nErrors by reason\n"
           "        1  connection refused\n"
           "        2  connection reset by peer\n"
           "        1  time-out before the first byte\n"
           "        1  closed within the response\n"
           "        1  malformed response\n");
    expect("Requests per second:    2.00 [#/sec] (mean)\n");
}

static void test_optional_lines(void **state) {
    (void)state;
    add_ladder(2);
    run.config.keep_alive = true;
    run.config.variable_length = true;
    run.request.has_body = true;
    run.counters.non_2xx = 1;
    run.counters.kept_alive = 2;
    run.counters.bytes_sent = 1024;
    run.counters.in_flight = 3;
    run.counters.in_flight_age_max = NSEC_PER_SEC * 7 / 2;
    run.report.stopped_by = "SIGINT";
    print();
    expect("Document Length:        Variable\n");
    expect("Failed requests:        0\n"
           "Non-2xx responses:      1\n"
           "Keep-Alive requests:    2\n"
           "Total transferred:      320 bytes\n"
           "Total body sent:        1024\n"
           "HTML transferred:       24 bytes\n");
    expect("                        2.00 kb/s sent\n"
           "                        2.62 kb/s total\n");
    expect("\nStopped early by SIGINT\n");
    expect("\nStill in flight at the end: 3, the oldest for 3.500 s\n");
}

static void test_nothing_done_prints_no_rates(void **state) {
    (void)state;
    print();
    expect("HTML transferred:       0 bytes\n");
    refuse("Requests per second");
    refuse("Connection Times");
    refuse("Percentage");
}

static void test_d_and_s_take_tables_away(void **state) {
    (void)state;
    add_ladder(20);
    run.config.no_percentiles = run.config.no_confidence = true;
    print();
    refuse("Percentage");
    expect("              min   avg   max\n"
           "Connect:        1     1    1\n"
           "Processing:     0    10   19\n"
           "Waiting:        1     5   10\n"
           "Total:          1    11   20\n");
}

/* 9 requests of 1 ms, one of 1 s: the mean is far from the median. */
static void test_skewed_times_are_warned_about(void **state) {
    (void)state;
    for (int i = 0; i < 10; i++) {
        struct timing t = { .total = i < 9 ? 1000 : 1000000 };
        end_one(OUTCOME_OK, 200, 0, &t);
    }
    print();
    refuse("WARNING");
    refuse("ERROR");
    for (int i = 0; i < 40; i++)
        end_one(OUTCOME_OK, 200, 0, &(struct timing){ .total = 1000000 });
    for (int i = 0; i < 41; i++)
        end_one(OUTCOME_OK, 200, 0, &(struct timing){ .total = 3000000 });
    print();
    refuse("ERROR");
}

/* What the run's report says; for json_decref. */
static json_t *report_as_json(void) {
    char *text = NULL;
    size_t size;
    struct error err;
    struct load_output output = { .files = {
                                      open_memstream(&text, &size) } }; /* JSON is the first */
    settle();
    assert_int_equal(output_report(&output, &run.report, &err), 0);
    json_t *root = json_loads(text, 0, NULL);
    assert_non_null(root);
    free(text);
    return root;
}

static void test_json_holds_the_same_figures(void **state) {
    (void)state;
    add_ladder(20);
    fail_one(FAILURE_RESET, &(struct timing){ .total = 1 });
    json_t *root = report_as_json();

    const char *schema, *url;
    int requests, failed, succeeded, reset, p50, p99, max, count;
    double rps, seconds, mean;
    assert_int_equal(json_unpack(root, "{s:s, s:{s:s}, s:{s:i, s:i, s:i, s:f, s:f}, s:{s:i}}",
                                 "schema", &schema, "config", "url", &url, "totals", "requests",
                                 &requests, "failed", &failed, "succeeded", &succeeded, "rps", &rps,
                                 "seconds", &seconds, "failures", "reset", &reset),
                     0);
    assert_int_equal(json_unpack(root, "{s:{s:i, s:i, s:i, s:i, s:f}}", "latency_us", "p50", &p50,
                                 "p99", &p99, "max", &max, "count", &count, "mean", &mean),
                     0);
    assert_string_equal(schema, "srv-bench/1");
    assert_string_equal(url, "http://h:81/t");
    assert_int_equal(requests, 21);
    assert_int_equal(failed, 1);
    assert_int_equal(succeeded, 20);
    assert_int_equal(reset, 1);
    assert_int_equal(count, 20);
    assert_true(rps == 40.0 && seconds == 0.5 && mean == 10900.0);
    assert_in_range(p50, 10400, 10410);
    assert_in_range(p99, 20400, 20400);
    assert_int_equal(max, 20400);
    json_decref(root);
}

static void test_json_survives_bytes_that_are_no_text(void **state) {
    (void)state;
    run.config.url = "http://h:81/\xff";
    json_t *root = report_as_json();
    const char *url = json_string_value(json_object_get(json_object_get(root, "config"), "url"));
    assert_string_equal(url, "http://h:81/\xc3\xbf"); /* read as Latin-1 */
    json_decref(root);
}

static int free_text(void **state) {
    (void)state;
    free(run.text);
    return 0;
}

#define WITH_RUN(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_RUN(test_report_of_ab_line_by_line),
        WITH_RUN(test_median_of_an_odd_count_is_the_middle),
        WITH_RUN(test_failures_have_their_columns_and_reasons),
        WITH_RUN(test_optional_lines),
        WITH_RUN(test_nothing_done_prints_no_rates),
        WITH_RUN(test_d_and_s_take_tables_away),
        WITH_RUN(test_skewed_times_are_warned_about),
        WITH_RUN(test_json_holds_the_same_figures),
        WITH_RUN(test_json_survives_bytes_that_are_no_text),
    };
    return cmocka_run_group_tests(tests, NULL, free_text);
}
