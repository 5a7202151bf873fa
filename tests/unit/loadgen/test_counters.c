/* SPDX-License-Identifier: MIT */
/* Counting: each request once, under one name; sums of workers. */
#include "base/alloc.h"
#include "loadgen/counters.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Ends one request that got a response, as clients do. Whether its body had the right length. */
static bool response(struct counters *t, const struct timing *timing, uint16_t status,
                     uint64_t body_bytes, bool exact) {
    bool fits = counters_fits_document(t, status, body_bytes, exact);
    counters_end(t, SIZE_MAX, fits ? OUTCOME_OK : FAILURE_LENGTH, status, body_bytes, timing, 0);
    return fits;
}

static void ends(struct counters *t, int outcome, const struct timing *timing) {
    counters_end(t, SIZE_MAX, outcome, 0, 0, timing, 0);
}

static const struct timing timing = { .connect = 10, .wait = 200, .total = 300 };

static void test_response_of_another_length_fails(void **state) {
    (void)state;
    struct counters t;
    assert_int_equal(counters_init(&t), 0);
    assert_true(response(&t, &timing, 200, 12, true));
    assert_true(response(&t, &timing, 200, 12, true));
    assert_false(response(&t, &timing, 200, 13, true));
    assert_true(response(&t, &timing, 200, 14, false));
    assert_int_equal(t.document_bytes, 12);
    assert_int_equal(t.succeeded, 3);
    assert_int_equal(t.failed[FAILURE_LENGTH], 1);
    assert_int_equal(counters_ended(&t), 4);
    counters_settle(&t);
    assert_int_equal(hist_count(t.ended[TIME_TOTAL]), 4);
    counters_free(&t);
}

static void test_status_is_counted_beside_success(void **state) {
    (void)state;
    struct counters t;
    assert_int_equal(counters_init(&t), 0);
    static const uint16_t statuses[] = { 200, 204, 299, 302, 404, 500 };
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        response(&t, &timing, statuses[i], 0, true);
    assert_int_equal(t.succeeded, 6);
    assert_int_equal(t.non_2xx, 3);
    counters_free(&t);
}

static void test_only_time_outs_of_the_failures_have_a_latency(void **state) {
    (void)state;
    struct counters t;
    assert_int_equal(counters_init(&t), 0);
    for (int reason = 0; reason < FAILURE_COUNT; reason++)
        ends(&t, reason, &timing);
    assert_int_equal(counters_failures(&t), FAILURE_COUNT);
    assert_int_equal(counters_ended(&t), FAILURE_COUNT);
    counters_settle(&t);
    assert_int_equal(hist_count(t.ended[TIME_TOTAL]), 0);
    assert_int_equal(hist_count(t.ages[TIME_TOTAL]), 4);
    assert_int_equal(hist_max(t.ages[TIME_PROCESSING]), 290);
    counters_free(&t);
}

static void test_columns_of_ab_sum_up_to_all_failures(void **state) {
    (void)state;
    struct counters t;
    assert_int_equal(counters_init(&t), 0);
    for (int reason = 0; reason < FAILURE_COUNT; reason++)
        for (int i = 0; i <= reason; i++)
            ends(&t, reason, &timing);
    uint64_t sum = 0;
    for (int column = 0; column < FAILURE_COLUMNS; column++)
        sum += counters_column(&t, (enum failure_column)column);
    assert_int_equal(sum, counters_failures(&t));
    assert_int_equal(counters_column(&t, FAILURE_COLUMN_EXCEPTIONS),
                     t.failed[FAILURE_BAD_RESPONSE] + t.failed[FAILURE_TLS_ERROR] +
                         t.failed[FAILURE_CODING] + t.failed[FAILURE_REQUEST_BODY]);
    counters_free(&t);
}

static void test_an_error_is_no_document_beside_a_success(void **state) {
    (void)state;
    struct counters a, b;
    assert_int_equal(counters_init(&a), 0);
    assert_int_equal(counters_init(&b), 0);
    a.first_start = 1; /* the error came first */
    b.first_start = 2;
    assert_true(response(&a, &timing, 503, 9, false));
    assert_int_equal(a.document_bytes, 9);
    assert_true(response(&b, &timing, 503, 8, false));
    assert_true(response(&b, &timing, 200, 4, false));
    assert_true(response(&b, &timing, 200, 7, false));
    assert_int_equal(b.document_bytes, 4);
    counters_merge(&a, &b);
    assert_int_equal(a.document_bytes, 4);
    counters_free(&a);
    counters_free(&b);
}

static void test_merge_adds_and_keeps_the_first_document(void **state) {
    (void)state;
    struct counters a, b;
    assert_int_equal(counters_init(&a), 0);
    assert_int_equal(counters_init(&b), 0);
    struct http_head head = { .fields = SLICE("Server: early/1 (x)\r\n") };
    counters_server(&b, &head);
    b.first_start = 5;
    b.in_flight = 2;
    b.in_flight_age_max = 7;
    response(&b, &timing, 500, 3, true);
    b.last_end = 90;
    a.first_start = 6;
    response(&a, &timing, 200, 4, true);
    ends(&a, FAILURE_RESET, &timing);
    a.last_end = 80;

    counters_merge(&a, &b);
    counters_settle(&a);
    assert_string_equal(a.server_software, "early/1");
    assert_int_equal(a.document_bytes, 3);
    assert_int_equal(a.first_start, 5);
    assert_int_equal(a.last_end, 90);
    assert_int_equal(a.succeeded, 2);
    assert_int_equal(a.non_2xx, 1);
    assert_int_equal(a.in_flight, 2);
    assert_int_equal(a.in_flight_age_max, 7);
    assert_int_equal(counters_ended(&a), 3);
    assert_int_equal(hist_count(a.ended[TIME_WAIT]), 2);
    counters_free(&a);
    counters_free(&b);
}

static void test_server_software_is_cut_like_ab(void **state) {
    (void)state;
    struct counters t;
    assert_int_equal(counters_init(&t), 0);
    struct http_head head = {
        .fields = SLICE("Server: 0123456789012345678901234567890123456789\r\n"),
    };
    counters_server(&t, &head);
    assert_int_equal(strlen(t.server_software), 32);
    counters_free(&t);
}

static void test_out_of_memory_at_every_allocation(void **state) {
    (void)state;
    for (long n = 0; n < 2 * TIME_COUNT + 2; n++) {
        struct counters t;
        mem_fail_after(n);
        assert_int_equal(counters_init(&t), -ENOMEM);
        mem_fail_after(-1);
    }
}

static void test_ages_are_apart_from_answers(void **state) {
    (void)state;
    struct counters t;
    struct timing late = { .queue = 5000, .connect = 10, .total = 20, .reused = true };
    struct timing waits = { .queue = 6000, .total = 40, .reused = true, .phase = PHASE_WAIT };
    assert_int_equal(counters_init(&t), 0);
    t.planned = 3;
    response(&t, &late, 200, 1, true);
    ends(&t, OUTCOME_UNFINISHED, &waits);
    ends(&t, OUTCOME_DROPPED, &(struct timing){ .queue = 70000 });
    counters_settle(&t);
    assert_int_equal(t.in_flight, 1);
    assert_int_equal(t.in_flight_age_max, 6040 * NSEC_PER_USEC);
    assert_int_equal(t.dropped, 1);
    assert_int_equal(hist_count(t.ended[TIME_TOTAL]), 1);
    assert_int_equal(hist_max(t.ended[TIME_TOTAL]), 5020);
    assert_int_equal(hist_count(t.ages[TIME_TOTAL]), 2);
    assert_int_equal(hist_min(t.ages[TIME_TOTAL]), 6040);
    assert_int_equal(hist_max(t.ages[TIME_TOTAL]), 70000);
    assert_int_equal(hist_max(t.ended[TIME_RAW]), 20);
    assert_int_equal(hist_max(t.ages[TIME_RAW]), 40);
    assert_int_equal(hist_count(t.ended[TIME_CONNECT]), 2); /* zeros of reused connections */
    assert_int_equal(hist_max(t.ended[TIME_CONNECT]), 0);
    assert_int_equal(hist_count(t.ages[TIME_WAIT]), 1);
    counters_free(&t);
}

/* What was over has its time, what was going on an age, and what had not begun nothing. */
static void test_a_phase_that_was_over_is_known(void **state) {
    (void)state;
    struct counters t;
    assert_int_equal(counters_init(&t), 0);
    for (int phase = PHASE_CONNECT; phase <= PHASE_RECEIVE; phase++)
        ends(&t, OUTCOME_UNFINISHED,
             &(struct timing){ .total = 9, .tls = phase >= PHASE_TLS, .phase = (enum phase)phase });
    counters_settle(&t);
    static const enum counters_time times[] = { TIME_CONNECT, TIME_SEND, TIME_WAIT, TIME_RECEIVE };
    for (int i = 0; i < 4; i++) {
        /* The handshake is a part of connecting. */
        assert_int_equal(hist_count(t.ages[times[i]]), times[i] == TIME_CONNECT ? 2 : 1);
        assert_int_equal(hist_count(t.ended[times[i]]), 3 - i);
    }
    assert_int_equal(hist_count(t.ages[TIME_TLS]), 1);
    assert_int_equal(hist_count(t.ended[TIME_TLS]), 3);
    assert_int_equal(hist_count(t.ages[TIME_TOTAL]), 5);
    assert_int_equal(hist_count(t.ended[TIME_TOTAL]), 0);
    counters_free(&t);
}

static void test_restart_keeps_what_is_known_of_the_server(void **state) {
    (void)state;
    struct counters t;
    assert_int_equal(counters_init(&t), 0);
    t.connections = 4;
    response(&t, &timing, 200, 12, true);
    counters_restart(&t, 99);
    counters_settle(&t);
    assert_int_equal(t.first_start, 99);
    assert_int_equal(t.connections, 4);
    assert_int_equal(t.document_bytes, 12);
    assert_int_equal(counters_ended(&t), 0);
    assert_int_equal(hist_count(t.ended[TIME_TOTAL]), 0);
    counters_free(&t);
}

static void test_records_of_workers_merge_in_start_order(void **state) {
    (void)state;
    struct counters a, b;
    assert_int_equal(counters_init(&a), 0);
    assert_int_equal(counters_init(&b), 0);
    a.keeps_samples = b.keeps_samples = true;
    for (int i = 0; i < 10000; i++) {
        struct timing one = { .queue = 1, .total = 10000 - i };
        struct counters *t = i % 2 == 0 ? &a : &b;
        counters_end(t, counters_begin(t, i, false, false), OUTCOME_OK, 200, UINT64_MAX, &one, 0);
    }
    counters_merge(&a, &b);
    struct samples *s = &a.samples;
    counters_sort_samples(s, false);
    assert_int_equal(s->count, 10000);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(s->items[i].start, i);
    assert_int_equal(s->items[0].total_us, 10001);
    assert_true(s->items[0].body_bytes == UINT64_MAX);
    counters_sort_samples(s, true);
    assert_int_equal(s->items[0].start, 9999);
    counters_free(&a);
    counters_free(&b);
}

static void test_want_of_memory_for_records_is_told(void **state) {
    (void)state;
    struct counters t;
    assert_int_equal(counters_init(&t), 0);
    t.keeps_samples = true;
    mem_fail_after(0);
    size_t number = counters_begin(&t, 1, false, false);
    mem_fail_after(-1);
    assert_true(t.samples.incomplete);
    counters_end(&t, number, OUTCOME_OK, 200, 0, &timing, 0);
    assert_int_equal(t.samples.count, 0);
    counters_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ages_are_apart_from_answers),
        cmocka_unit_test(test_a_phase_that_was_over_is_known),
        cmocka_unit_test(test_restart_keeps_what_is_known_of_the_server),
        cmocka_unit_test(test_response_of_another_length_fails),
        cmocka_unit_test(test_status_is_counted_beside_success),
        cmocka_unit_test(test_only_time_outs_of_the_failures_have_a_latency),
        cmocka_unit_test(test_columns_of_ab_sum_up_to_all_failures),
        cmocka_unit_test(test_an_error_is_no_document_beside_a_success),
        cmocka_unit_test(test_merge_adds_and_keeps_the_first_document),
        cmocka_unit_test(test_server_software_is_cut_like_ab),
        cmocka_unit_test(test_out_of_memory_at_every_allocation),
        cmocka_unit_test(test_records_of_workers_merge_in_start_order),
        cmocka_unit_test(test_want_of_memory_for_records_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
