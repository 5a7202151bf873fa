/* SPDX-License-Identifier: MIT */
/* Reading the load generator's report, taking in samples, and writing JSON. */
#include "base/attr.h"
#include "playground/result.h"
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static int read_report(struct play_result *result, const char *text, struct error *err) {
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    int rc = result_read_report(result, fd, err);
    close(fd);
    return rc;
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
    static const struct probe_sample seen[] = {
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

static void cpu_per_request_needs_requests(void **state) {
    (void)state;
    struct play_result result = { .cpu = NSEC_PER_SEC };
    assert_true(result_cpu_usec(&result) == 0);
    result.requests = 1000;
    assert_true(result_cpu_usec(&result) == 1000);
}

static void json_has_one_object_per_result(void **state) {
    (void)state;
    struct play_result results[2] = {
        { .row = &catalogue[0],
          .load = { 10, 5, NSEC_PER_SEC / 4 },
          .seconds = 2.5,
          .requests = 10 },
        { .row = &catalogue[1], .failed = 7 },
    };
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_int_equal(result_write_json(results, 2, out), 0);
    fclose(out);

    json_t *document = json_loads(text, 0, NULL);
    json_t *list = json_object_get(document, "playgrounds");
    assert_int_equal(json_array_size(list), 2);
    json_t *first = json_array_get(list, 0);
    assert_string_equal(json_string_value(json_object_get(first, "name")), catalogue[0].name);
    assert_true(json_number_value(json_object_get(first, "seconds")) == 2.5);
    assert_true(json_number_value(
                    json_object_get(json_object_get(first, "load"), "delay_seconds")) == 0.25);
    assert_true(json_number_value(json_object_get(first, "tutorial_seconds")) ==
                0); /* other load */
    assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 1), "failed")), 7);
    json_decref(document);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(report_is_read),
        cmocka_unit_test(bad_reports_are_refused),
        cmocka_unit_test(samples_give_peak_threads_and_mean_sleepers),
        cmocka_unit_test(cpu_per_request_needs_requests),
        cmocka_unit_test(json_has_one_object_per_result),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
