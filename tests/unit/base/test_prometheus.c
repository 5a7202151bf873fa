/* SPDX-License-Identifier: MIT */
/* Text for Prometheus: names, escapes, histograms, and the error that sticks. */
#include "base/prometheus.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void families_have_help_type_and_suffix(void **state) {
    (void)state;
    struct buf out;
    struct prometheus p = { .out = &out, .prefix = "srv" };
    struct prometheus_label labels[] = { { "worker", "1" }, { "status", "200" } };

    buf_init(&out, 4096);
    prometheus_family(&p, "answers", PROMETHEUS_COUNTER, "Answers sent.");
    prometheus_count(&p, labels, 2, 7);
    prometheus_family(&p, "open", PROMETHEUS_GAUGE, "Connections.");
    prometheus_count(&p, NULL, 0, -1);
    prometheus_family(&p, "lag_seconds", PROMETHEUS_GAUGE, "Lag.");
    prometheus_seconds(&p, labels, 1, 0.25);
    assert_int_equal(p.rc, 0);
    assert_true(slice_eq(buf_unread(&out),
                         SLICE("# HELP srv_answers_total Answers sent.\n"
                               "# TYPE srv_answers_total counter\n"
                               "srv_answers_total{worker=\"1\",status=\"200\"} 7\n"
                               "# HELP srv_open Connections.\n# TYPE srv_open gauge\nsrv_open -1\n"
                               "# HELP srv_lag_seconds Lag.\n# TYPE srv_lag_seconds gauge\n"
                               "srv_lag_seconds{worker=\"1\"} 0.250000\n")));
    buf_free(&out);
}

static void no_text_ends_a_line_or_a_value(void **state) {
    (void)state;
    struct buf out;
    struct prometheus p = { .out = &out, .prefix = "x" };
    struct prometheus_label label = { "name", "a\"b\\c\nd" };

    buf_init(&out, 4096);
    prometheus_family(&p, "n", PROMETHEUS_GAUGE, "One \"line\"\\\nonly.");
    prometheus_count(&p, &label, 1, 1);
    assert_true(
        slice_eq(buf_unread(&out), SLICE("# HELP x_n One \"line\"\\\\\\nonly.\n# TYPE x_n gauge\n"
                                         "x_n{name=\"a\\\"b\\\\c\\nd\"} 1\n")));
    buf_free(&out);
}

static void histograms_count_what_is_at_most_a_bound(void **state) {
    (void)state;
    static const uint64_t bounds[] = { 1000, 2500000 };
    struct hist_shared *h = calloc(1, sizeof(*h));
    struct buf out;
    struct prometheus p = { .out = &out, .prefix = "x" };
    struct prometheus_label label = { "worker", "2" };

    assert_non_null(h);
    hist_shared_record(h, NSEC_PER_MSEC);
    hist_shared_record(h, NSEC_PER_MSEC + 1);
    hist_shared_record(h, 3 * NSEC_PER_SEC);
    buf_init(&out, 4096);
    prometheus_family(&p, "s", PROMETHEUS_HISTOGRAM, "Spans.");
    prometheus_hist(&p, &label, 1, h, bounds, 2);
    assert_true(slice_eq(buf_unread(&out),
                         SLICE("# HELP x_s Spans.\n# TYPE x_s histogram\n"
                               "x_s_bucket{worker=\"2\",le=\"0.001\"} 1\n"
                               "x_s_bucket{worker=\"2\",le=\"2.5\"} 2\n"
                               "x_s_bucket{worker=\"2\",le=\"+Inf\"} 3\n"
                               "x_s_sum{worker=\"2\"} 3.002000\nx_s_count{worker=\"2\"} 3\n")));
    buf_free(&out);
    free(h);
}

static void the_first_error_sticks(void **state) {
    (void)state;
    struct buf out;
    struct prometheus p = { .out = &out, .prefix = "x" };
    size_t len;

    buf_init(&out, 64);
    for (int i = 0; i < 9; i++)
        prometheus_family(&p, "n", PROMETHEUS_GAUGE, "Much text for a small buffer.");
    assert_int_equal(p.rc, -ENOBUFS);
    len = buf_unread(&out).len;
    prometheus_count(&p, NULL, 0, 1);
    assert_int_equal(buf_unread(&out).len, len);
    buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families_have_help_type_and_suffix),
        cmocka_unit_test(no_text_ends_a_line_or_a_value),
        cmocka_unit_test(histograms_count_what_is_at_most_a_bound),
        cmocka_unit_test(the_first_error_sticks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
