/* SPDX-License-Identifier: MIT */
/* Taking in samples, and reading the load generator's report and its lines of requests. */
#include "base/alloc.h"
#include "playground/result.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define HEADING "start_us,outcome,status,total_us,queue_us,connect_us\n"

static int file_of(const char *text) {
    int fd = memfd_create("lines", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    return fd;
}

static int read_report(struct play_result *result, const char *text, struct error *err) {
    int fd = file_of(text);
    int rc = result_read(result, fd, -1, err);
    close(fd);
    return rc;
}

/* Reads lines of requests beside a report that says nothing of interest. */
static void read_requests(struct play_result *result, int fd) {
    int report = file_of("{\"totals\": {\"seconds\": 1, \"requests\": 0, \"succeeded\": 0,"
                         " \"rps\": 0}, \"latency_us\": {\"p50\": null, \"p90\": null,"
                         " \"p99\": null, \"max\": null}}");
    struct error err;
    *result = (struct play_result){ .ideal = 0 };
    assert_int_equal(result_read(result, report, fd, &err), 0);
    close(report);
}

static void report_is_read(void **state) {
    (void)state;
    struct play_result result = { .load = { .requests = 2000 } };
    struct error err;
    static const char report[] =
        "{\"more\": [], \"totals\": {\"seconds\": 10.5, \"requests\": 1999, \"succeeded\": 1996,"
        " \"failed\": 3, \"rps\": 190},"
        " \"latency_us\": {\"p50\": 1000, \"p90\": 1, \"p99\": 2000, \"max\": 3000}}\n";
    assert_int_equal(read_report(&result, report, &err), 0);
    assert_true(result.seconds == 10.5 && result.requests_per_second == 190);
    assert_int_equal(result.requests, 1999);
    assert_int_equal(result.failed, 4); /* 3 failed, 1 was never sent */
    assert_int_equal(result.p50_usec, 1000);
    assert_int_equal(result.p99_usec, 2000);
    assert_int_equal(result.max_usec, 3000);
}

static void bad_reports_are_refused(void **state) {
    (void)state;
    static const char *const reports[] = { "", "{", "[]", "{\"totals\": {}}",
                                           "{\"totals\": {\"seconds\": \"1\"}}" };
    for (size_t i = 0; i < ARRAY_LEN(reports); i++) {
        struct play_result result = { 0 };
        struct error err = { "" };
        assert_int_equal(read_report(&result, reports[i], &err), -EPROTO);
        assert_true(err.text[0] != '\0');
    }
}

static void samples_give_peak_threads_and_mean_sleepers(void **state) {
    (void)state;
    struct play_result result = { 0 };
    static const struct procstat seen[] = {
        { .threads = 5, .sleeping = 1 },
        { .threads = 205, .sleeping = 202 },
        { .threads = 204, .sleeping = 202 },
    };
    for (size_t i = 0; i < ARRAY_LEN(seen); i++)
        assert_int_equal(result_add_point(&result, &(struct series_point){ .total = seen[i] }), 0);
    assert_int_equal(result.threads_during, 205);
    assert_int_equal(result.samples, 3);
    assert_true(result.sleeping_during > 134.99 && result.sleeping_during < 135.01);
    assert_int_equal(result.series.count, 3);
    result_free(&result);
    assert_int_equal(result.series.count, 0);
}

static void every_request_is_counted_and_placed(void **state) {
    (void)state;
    struct play_result result;
    int fd = file_of(HEADING "5,ok,200,1000,0,9\n10,status,504,4000,0,9\n20,timeout_body,0,39,0,9\n"
                             "no line\n7,ok\n,,,\n8,ok,200,-1,0,0\n");
    read_requests(&result, fd);
    assert_int_equal(result.latencies.requests, 3);
    assert_int_equal(result.latencies.count, 3);
    assert_int_equal(result.latencies.slowest_usec, 4000);
    assert_int_equal(result.latencies.points[0].end_usec, 1005);
    assert_false(result.latencies.points[0].failed);
    assert_true(result.latencies.points[1].failed && result.latencies.points[2].failed);
    assert_int_equal(result.latencies.bins[0], 1);
    assert_int_equal(result.latencies.bins[LATENCIES_BINS / 4 - 1], 1); /* 1000 of 0 to 4000 */
    assert_int_equal(result.latencies.bins[LATENCIES_BINS - 1],
                     1); /* the slowest is in the last one */
    result_free(&result);
    close(fd);
}

static void of_many_requests_some_are_kept_and_all_counted(void **state) {
    (void)state;
    static const size_t counts[] = { 1, LATENCIES_POINTS_MAX, LATENCIES_POINTS_MAX + 1, 12345 };
    for (size_t c = 0; c < ARRAY_LEN(counts); c++) {
        struct play_result result;
        FILE *lines = tmpfile();
        uint64_t sum = 0;
        fputs(HEADING, lines);
        for (size_t i = 0; i < counts[c]; i++)
            fprintf(lines, "%zu,ok,200,%zu,0,0\n", i, i % 977);
        fflush(lines);
        read_requests(&result, fileno(lines));
        for (size_t i = 0; i < LATENCIES_BINS; i++)
            sum += result.latencies.bins[i];
        assert_int_equal(result.latencies.requests, counts[c]);
        assert_int_equal(sum, counts[c]);
        assert_in_range(result.latencies.count, 1, LATENCIES_POINTS_MAX);
        assert_true(result.latencies.count >= LATENCIES_POINTS_MAX / 2 ||
                    result.latencies.count == counts[c]);
        result_free(&result);
        fclose(lines);
    }
}

static void nothing_is_empty(void **state) {
    (void)state;
    static const char *const texts[] = { "", HEADING, "\n\n", "0,ok,200,0\n" };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct play_result result;
        int fd = file_of(texts[i]);
        read_requests(&result, fd);
        assert_int_equal(result.latencies.requests, i == 3 ? 1 : 0);
        result_free(&result);
        close(fd);
    }
    struct play_result result;
    read_requests(&result, 9999); /* a descriptor of nobody */
    assert_int_equal(result.latencies.requests, 0);
}

static void long_series_keep_evenly_spread_points(void **state) {
    (void)state;
    struct play_result result = { 0 };
    const struct series *series = &result.series;
    const size_t added = 5 * SERIES_POINTS_MAX;
    for (size_t i = 0; i < added; i++)
        assert_int_equal(result_add_point(&result, &(struct series_point){ .elapsed = (nsec_t)i }),
                         0);
    assert_in_range(series->count, SERIES_POINTS_MAX / 2, SERIES_POINTS_MAX);
    assert_int_equal(series->points[0].elapsed, 0);
    nsec_t step = series->points[1].elapsed;
    for (size_t i = 1; i < series->count; i++)
        assert_int_equal(series->points[i].elapsed - series->points[i - 1].elapsed, step);
    assert_true(series->points[series->count - 1].elapsed > (nsec_t)(added - 2 * (size_t)step));
    result_free(&result);
}

static void being_out_of_memory_loses_nothing(void **state) {
    (void)state;
    struct play_result result = { 0 };
    mem_fail_after(0);
    int rc = result_add_point(&result, &(struct series_point){ .elapsed = 1 });
    mem_fail_after(-1);
    assert_int_equal(rc, -ENOMEM);
    result_free(&result);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(report_is_read),
        cmocka_unit_test(bad_reports_are_refused),
        cmocka_unit_test(samples_give_peak_threads_and_mean_sleepers),
        cmocka_unit_test(every_request_is_counted_and_placed),
        cmocka_unit_test(of_many_requests_some_are_kept_and_all_counted),
        cmocka_unit_test(nothing_is_empty),
        cmocka_unit_test(long_series_keep_evenly_spread_points),
        cmocka_unit_test(being_out_of_memory_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
