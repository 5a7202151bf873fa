/* SPDX-License-Identifier: MIT */
/* Server-Timing: what is read of a field, good and bad, and what is written. */
#include "base/attr.h"
#include "http/server_timing.h"
#include "tests/unit/http/guarded.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void assert_slice(struct slice got, const char *want) {
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.ptr, want, got.len);
}

static void metrics_come_one_by_one(void **state) {
    (void)state;
    struct slice rest = SLICE("queue;dur=12.004, db;dur=53.2;desc=\"two, \\\"slow\\\" ones\" ,,\t"
                              "cache ; desc = hit , x-y.z;DUR = \"7\"");
    struct server_timing t;
    assert_int_equal(server_timing_next(&rest, &t), SERVER_TIMING_SPAN);
    assert_slice(t.name, "queue");
    assert_int_equal(t.usec, 12004);
    assert_int_equal(t.desc.len, 0);
    assert_int_equal(server_timing_next(&rest, &t), SERVER_TIMING_SPAN);
    assert_slice(t.name, "db");
    assert_int_equal(t.usec, 53200);
    assert_slice(t.desc, "two, \\\"slow\\\" ones");
    assert_int_equal(server_timing_next(&rest, &t), SERVER_TIMING_BARE);
    assert_slice(t.name, "cache");
    assert_slice(t.desc, "hit");
    assert_int_equal(server_timing_next(&rest, &t), SERVER_TIMING_SPAN);
    assert_slice(t.name, "x-y.z");
    assert_int_equal(t.usec, 7000);
    assert_int_equal(server_timing_next(&rest, &t), SERVER_TIMING_END);
}

static void durations_are_read_or_refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t usec; /* -1: unusable */
    } rows[] = {
        { "0", 0 },
        { "0.0004", 0 },
        { "0.0005", 1 },
        { "1.", 1000 },
        { "53.2", 53200 },
        { "1e3", 1000000 },
        { ".5", 500 },
        { "+2", 2000 },
        { "3600000", SERVER_TIMING_USEC_MAX },
        { "3600000.001", -1 },
        { "9999999999", -1 },
        { "99999999999999999999999999", -1 },
        { "1e400", -1 },
        { "-1", -1 },
        { "-0.001", -1 },
        { "nan", -1 },
        { "inf", -1 },
        { "0x10", -1 },
        { "12ms", -1 },
        { "1.2.3", -1 },
        { "", -1 },
        { "\"\"", -1 },
        { "\" 1\"", -1 },
        { "00000000000000000000000000000000000000000000000000000000000000000000001", -1 },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[128];
        struct server_timing t;
        int len = snprintf(text, sizeof(text), "a;dur=%s, b;dur=1", rows[i].text);
        struct slice rest = slice_of(text, (size_t)len);
        enum server_timing_kind kind = server_timing_next(&rest, &t);
        assert_int_equal(kind, rows[i].usec < 0 ? SERVER_TIMING_UNUSABLE : SERVER_TIMING_SPAN);
        assert_slice(t.name, "a");
        if (rows[i].usec >= 0)
            assert_int_equal(t.usec, rows[i].usec);
        assert_int_equal(server_timing_next(&rest, &t), SERVER_TIMING_SPAN);
        assert_slice(t.name, "b");
    }
}

/* Section 4: parameters that are unknown are ignored, and of two of one name the second one. */
static void only_the_first_parameter_of_a_name_counts(void **state) {
    (void)state;
    struct slice rest = SLICE("a;x=1;dur=1;dur=2, b;dur;dur=3, c;desc;desc=no;dur=4");
    struct server_timing t;
    assert_int_equal(server_timing_next(&rest, &t), SERVER_TIMING_SPAN);
    assert_int_equal(t.usec, 1000);
    assert_int_equal(server_timing_next(&rest, &t), SERVER_TIMING_UNUSABLE);
    assert_int_equal(server_timing_next(&rest, &t), SERVER_TIMING_SPAN);
    assert_int_equal(t.desc.len, 0);
    assert_int_equal(t.usec, 4000);
}

static void what_is_malformed_ends_with_its_comma(void **state) {
    (void)state;
    static const char *const rows[] = { "=1",     ";dur=1",          "\"a, b\";dur=1",
                                        "(x)",    "\"open, a;dur=1", "\xff\xfe;dur=1",
                                        "@;@;@;", ":;\"x,\";y" };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[128];
        struct server_timing t;
        int len = snprintf(text, sizeof(text), "%s, good;dur=1", rows[i]);
        struct slice rest = slice_of(text, (size_t)len);
        assert_int_equal(server_timing_next(&rest, &t), SERVER_TIMING_MALFORMED);
        enum server_timing_kind next = server_timing_next(&rest, &t);
        if (strstr(rows[i], "open") != NULL) { /* nothing closes the quote */
            assert_int_equal(next, SERVER_TIMING_END);
        } else {
            assert_int_equal(next, SERVER_TIMING_SPAN);
            assert_slice(t.name, "good");
        }
    }
}

static void nothing_is_read_beyond_the_value(void **state) {
    (void)state;
    static const char *const rows[] = { "",        "a",         "a;",       "a;dur",   "a;dur=",
                                        "a;dur=1", "a;desc=\"", "a;d=\"\\", "a;dur=1", "\"",
                                        "a \"b\\", ",",         "a;dur=\t", ";" };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct slice text = slice_str(rows[i]);
        struct guarded page = guarded_make(text.len);
        struct slice rest = guarded_at_end(&page, text);
        struct server_timing t;
        while (server_timing_next(&rest, &t) != SERVER_TIMING_END)
            assert_true(rest.len < text.len);
        guarded_free(&page);
    }
}

static void times_are_written_as_they_are_read(void **state) {
    (void)state;
    static const struct {
        int64_t usec;
        const char *text;
    } rows[] = {
        { 0, "a;dur=0" },
        { 1, "a;dur=0.001" },
        { 10, "a;dur=0.01" },
        { 100, "a;dur=0.1" },
        { 1000, "a;dur=1" },
        { 1050, "a;dur=1.05" },
        { -5, "a;dur=0" },
        { 123456, "a;dur=123.456" },
        { INT64_MAX, "a;dur=3600000" },
        { 3599999999, "a;dur=3599999.999" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[1 + SERVER_TIMING_PUT_BYTES];
        char *end = server_timing_put(text, true, SLICE("a"), rows[i].usec);
        assert_slice(slice_of(text, (size_t)(end - text)), rows[i].text);
        end = server_timing_put(text, false, SLICE("a"), rows[i].usec);
        assert_slice(slice_of(text + 2, (size_t)(end - text) - 2), rows[i].text);
        struct slice rest = slice_of(text, (size_t)(end - text));
        struct server_timing t;
        assert_int_equal(server_timing_next(&rest, &t), SERVER_TIMING_SPAN);
        if (rows[i].usec >= 0 && rows[i].usec < INT64_MAX)
            assert_int_equal(t.usec, rows[i].usec);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_come_one_by_one),
        cmocka_unit_test(durations_are_read_or_refused),
        cmocka_unit_test(only_the_first_parameter_of_a_name_counts),
        cmocka_unit_test(what_is_malformed_ends_with_its_comma),
        cmocka_unit_test(nothing_is_read_beyond_the_value),
        cmocka_unit_test(times_are_written_as_they_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
