/* SPDX-License-Identifier: MIT */
/* Counters out of the text format of Prometheus: what counts, what does not, and nonsense. */
#include "base/attr.h"
#include "loadgen/server_metrics.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static struct server_metrics *metrics;
static struct server_source *source;

static int set_up(void **state) {
    (void)state;
    metrics = server_metrics_new();
    source = metrics != NULL ? server_metrics_source(metrics, "http://x/metrics") : NULL;
    return source != NULL ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    server_metrics_free(metrics);
    return 0;
}

static void read_both(const char *before, const char *after, const char *patterns) {
    server_source_read(source, slice_str(before), patterns, SERVER_BEFORE);
    server_source_read(source, slice_str(after), patterns, SERVER_AFTER);
}

static double growth_of(const char *name) {
    double growth;
    assert_true(server_source_growth(source, name, &growth));
    return growth;
}

static void counters_are_added_up_over_labels(void **state) {
    (void)state;
    read_both(
        "# HELP a_total Of {all}. # TYPE\n# TYPE a_total counter\n"
        "a_total{worker=\"1\",path=\"/\\\"}{\\\\\"} 5\r\na_total{worker=\"2\"} 7 1700000000\n",
        "# TYPE a_total counter\na_total{worker=\"1\"} 6\na_total{worker=\"3\"} 1e2\n"
        "b_total 3",
        NULL);
    assert_true(growth_of("a_total") == 94);
    assert_true(growth_of("b_total") == 3); /* it has come meanwhile */
    assert_int_equal(source->count, 2);
    assert_int_equal(source->malformed, 0);
}

static void only_what_grows_is_kept(void **state) {
    (void)state;
    const char *text =
        "# TYPE gauge_total gauge\ngauge_total 1\n"
        "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4\n"
        "h_count 3\nh_created 1\n# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 9\n"
        "s_count 2\n# TYPE odd counter\nodd 1\nodd_created 5\nplain 4\n"
        "of_nobody_total 2\n# TYPE u untyped\nu 1\nu_total 1\n"
        "nan_total NaN\ninf_total +Inf\n# TYPE open counter\nopen_total 1 # {t=\"1\"} 2\n";
    static const char *const kept[] = { "h_sum", "h_count",         "s_sum",   "s_count",
                                        "odd",   "of_nobody_total", "u_total", "open_total" };
    read_both(text, text, NULL);
    assert_int_equal(source->count, ARRAY_LEN(kept));
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        assert_string_equal(source->counters[i].name, kept[i]);
}

static void names_are_chosen_by_patterns(void **state) {
    (void)state;
    const char *text = "srv_a_total 1\nsrv_b_total 1\nprocess_cpu_seconds_total 1\nother_total 1\n";
    read_both(text, text, "srv_a*, process_*,");
    assert_int_equal(source->count, 2);
    assert_string_equal(source->counters[1].name, "process_cpu_seconds_total");
}

static void a_counter_that_fell_has_no_growth(void **state) {
    (void)state;
    double growth;
    read_both("a_total 5\nb_total 1\n", "a_total 4\n", NULL);
    assert_false(server_source_growth(source, "a_total", &growth));
    assert_false(server_source_growth(source, "b_total", &growth));
    assert_false(server_source_growth(source, "c_total", &growth));
}

static void nonsense_is_counted_and_bounded(void **state) {
    (void)state;
    static const char *const bad[] = { "a_total\n",         "a_total x\n",       "{a=\"b\"} 1\n",
                                       "a_total{ 1\n",      "a_total{x=\"} 1\n", "1_total 1\n",
                                       "\x1b[2J_total 1\n", "a_total 1x\n",      "<html> 1\n",
                                       "a_total{x=\"\\" };
    char text[2 * SERVER_METRICS_MAX * 16 + 256];
    size_t len = 0;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        server_source_read(source, slice_str(bad[i]), NULL, SERVER_BEFORE);
        assert_int_equal(source->count, 0);
        assert_int_equal(source->malformed, 1);
    }
    for (int i = 0; i < 2 * SERVER_METRICS_MAX; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "n%d_total 1\n", i);
    snprintf(text + len, sizeof(text) - len, "x%0*d_total 1\n", SERVER_METRICS_NAME_BYTES, 1);
    for (int i = 0; i < 2; i++) { /* a text that is read again is counted once */
        server_source_read(source, slice_str(text), NULL, SERVER_AFTER);
        assert_int_equal(source->count, SERVER_METRICS_MAX);
        assert_int_equal(source->further, SERVER_METRICS_MAX + 1);
        assert_true(growth_of("n7_total") == 1);
    }
}

static void sources_are_found_by_their_url(void **state) {
    (void)state;
    char url[SERVER_METRICS_URL_BYTES + 8];
    assert_ptr_equal(server_metrics_source(metrics, "http://x/metrics"), source);
    for (int i = 1; i < SERVER_METRICS_SOURCES_MAX; i++) {
        snprintf(url, sizeof(url), "http://x%d/", i);
        assert_non_null(server_metrics_source(metrics, url));
    }
    assert_null(server_metrics_source(metrics, "http://one/more"));
    snprintf(url, sizeof(url), "%0*d", SERVER_METRICS_URL_BYTES, 1);
    assert_null(server_metrics_source(metrics, url));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(counters_are_added_up_over_labels), TEST(only_what_grows_is_kept),
        TEST(names_are_chosen_by_patterns),      TEST(a_counter_that_fell_has_no_growth),
        TEST(nonsense_is_counted_and_bounded),   TEST(sources_are_found_by_their_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
