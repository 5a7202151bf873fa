/* SPDX-License-Identifier: MIT */
/* The split of answers' time: exact sums, names without end, servers that tell too much, and sums
 * over workers. */
#include "base/attr.h"
#include "loadgen/server_times.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void answer(struct server_times *t, const char *fields, struct timing timing) {
    struct http_head head = { .fields = slice_str(fields) };
    timing.total = timing.connect + timing.send + timing.wait + timing.receive;
    server_times_head(t, 0, &head);
    server_times_end(t, 0, &timing);
}

static int64_t parts_of(const struct server_times *t) {
    int64_t sum = 0;
    for (int i = 0; i < SERVER_PHASE_TOTAL; i++)
        sum += t->phases[i].sum;
    for (size_t i = 0; i < t->metric_count; i++)
        if (t->metrics[i].is_added)
            sum += t->metrics[i].row.sum;
    return sum;
}

static int64_t sum_of(struct server_times *t, const char *name) {
    struct server_metric *metric = server_times_metric(t, slice_str(name));
    assert_non_null(metric);
    return metric->row.sum;
}

static void the_network_is_what_nobody_else_claims(void **state) {
    (void)state;
    struct server_times *t = server_times_new(NULL, 1);
    answer(t, "Server: x\r\nserver-timing: a;dur=3, b;dur=2;desc=\"of \\\"b\\\"\"\r\n",
           (struct timing){ .queue = 70, .connect = 11, .send = 5, .wait = 6000, .receive = 9 });
    assert_int_equal(t->phases[SERVER_PHASE_NETWORK].sum, 1000);
    assert_int_equal(t->phases[SERVER_PHASE_TOTAL].sum, 6095);
    assert_int_equal(parts_of(t), 6095);
    assert_string_equal(t->metrics[1].desc, "of \"b\"");
    server_times_free(t);
}

static void a_server_that_begins_early_shortens_the_send(void **state) {
    (void)state;
    struct server_times *t = server_times_new(NULL, 1);
    answer(t, "Server-Timing: a;dur=0.030\n", (struct timing){ .send = 20, .wait = 15 });
    assert_int_equal(t->phases[SERVER_PHASE_SEND].sum, 5);
    assert_int_equal(t->phases[SERVER_PHASE_NETWORK].sum, 0);
    assert_int_equal(t->over, 0);
    answer(t, "Server-Timing: a;dur=0.040\n", (struct timing){ .send = 20, .wait = 15 });
    assert_int_equal(t->over, 1);
    assert_int_equal(t->over_usec, 5);
    assert_int_equal(t->phases[SERVER_PHASE_NETWORK].sum, -5);
    assert_int_equal(hist_max(t->phases[SERVER_PHASE_NETWORK].hist), 0);
    assert_int_equal(parts_of(t), 70);
    server_times_free(t);
}

static void totals_are_told_and_not_added(void **state) {
    (void)state;
    struct server_times *t = server_times_new(NULL, 1);
    answer(t,
           "Server-Timing: planned;dur=5, queue;dur=1, delay;dur=4, actual;dur=5, total;dur=6\r\n",
           (struct timing){ .wait = 7000 });
    assert_int_equal(t->phases[SERVER_PHASE_NETWORK].sum, 2000);
    server_times_free(t);
    t = server_times_new("db, total", 1);
    answer(t, "Server-Timing: sql;dur=4, db;dur=1, total;dur=2\r\n",
           (struct timing){ .wait = 7000 });
    assert_int_equal(t->phases[SERVER_PHASE_NETWORK].sum, 4000);
    assert_int_equal(sum_of(t, "sql"), 4000);
    server_times_free(t);
}

static void several_of_one_name_are_added_up_over_lines_too(void **state) {
    (void)state;
    struct server_times *t = server_times_new(NULL, 1);
    answer(t, "Server-Timing: db;dur=1, db;dur=2\r\nX: y\r\nSERVER-TIMING: c;dur=8, db;dur=4\r\n",
           (struct timing){ .wait = 20000 });
    assert_int_equal(sum_of(t, "db"), 7000);
    assert_int_equal(t->metrics[0].answers, 1);
    answer(t, "Server-Timing: x;dur=3600000, x;dur=3600000\r\n", (struct timing){ .wait = 1 });
    assert_int_equal(sum_of(t, "x"), HIST_MAX_USEC);
    server_times_free(t);
}

static void answers_that_do_not_tell_are_counted_alone(void **state) {
    (void)state;
    static const char *const silent[] = { "",
                                          "Server: x\r\n",
                                          "Server-Timing:\r\n",
                                          "Server-Timing: cache;desc=hit\r\n",
                                          "Server-Timing: a;dur=-1, ;b, \"c\r\n",
                                          "Server-Timings: a;dur=1\r\n" };
    struct server_times *t = server_times_new(NULL, 1);
    for (size_t i = 0; i < ARRAY_LEN(silent); i++)
        answer(t, silent[i], (struct timing){ .wait = 500 });
    answer(t, "Server-Timing: a;dur=0.1\r\n", (struct timing){ .wait = 500 });
    answer(t, "", (struct timing){ .wait = 500 });
    assert_int_equal(t->answers, 8);
    assert_int_equal(t->telling, 1);
    assert_int_equal(t->bare, 1);
    assert_int_equal(t->unusable, 1);
    assert_int_equal(t->malformed, 2);
    assert_int_equal(t->phases[SERVER_PHASE_TOTAL].sum, 500);
    server_times_free(t);
}

static void a_metric_is_zero_where_it_is_missing(void **state) {
    (void)state;
    struct server_times *t = server_times_new(NULL, 1);
    answer(t, "Server-Timing: a;dur=1\r\n", (struct timing){ .wait = 2000 });
    answer(t, "Server-Timing: b;dur=1\r\n", (struct timing){ .wait = 2000 });
    answer(t, "Server-Timing: b;dur=1\r\n", (struct timing){ .wait = 2000 });
    for (int i = 0; i < 2; i++) { /* as often as one likes */
        server_times_settle(t);
        assert_int_equal(hist_count(t->metrics[0].row.hist), 3);
        assert_int_equal(hist_quantile(t->metrics[0].row.hist, 0.5), 0);
        assert_int_equal(t->metrics[0].answers, 1);
    }
    server_times_free(t);
}

static void names_are_bounded(void **state) {
    (void)state;
    struct server_times *t = server_times_new(NULL, 1);
    char fields[128];
    for (int i = 0; i < 1000; i++) {
        snprintf(fields, sizeof(fields), "Server-Timing: n%d;dur=1\r\n", i);
        answer(t, fields, (struct timing){ .wait = 3000 });
    }
    answer(t,
           "Server-Timing: a-name-that-is-longer-than-any-that-a-server-would-send-to-anyone;dur=1,"
           " n3;dur=1\r\n",
           (struct timing){ .wait = 3000 });
    assert_int_equal(t->metric_count, SERVER_TIMES_NAMES);
    assert_int_equal(t->further, 1000 - SERVER_TIMES_NAMES + 1);
    assert_int_equal(sum_of(t, "n3"), 2000);
    assert_int_equal(t->telling, SERVER_TIMES_NAMES + 1); /* the others told nothing that is kept */
    assert_int_equal(parts_of(t), t->phases[SERVER_PHASE_TOTAL].sum);
    server_times_free(t);
}

static void workers_are_added_up_by_name(void **state) {
    (void)state;
    struct server_times *one = server_times_new(NULL, 1), *two = server_times_new(NULL, 1);
    char fields[128];
    answer(one, "Server-Timing: a;dur=1, b;dur=2\r\n", (struct timing){ .wait = 4000 });
    answer(two, "Server-Timing: b;dur=4;desc=B, a;dur=8\r\n", (struct timing){ .wait = 13000 });
    for (int i = 2; i < SERVER_TIMES_NAMES; i++) {
        snprintf(fields, sizeof(fields), "Server-Timing: one%d;dur=1\r\n", i);
        answer(one, fields, (struct timing){ .wait = 3000 });
        fields[15] = 't', fields[16] = 'w', fields[17] = 'o';
        answer(two, fields, (struct timing){ .wait = 3000 });
    }
    server_times_merge(one, two);
    server_times_settle(one);
    assert_int_equal(sum_of(one, "a"), 9000);
    assert_int_equal(sum_of(one, "b"), 6000);
    assert_string_equal(one->metrics[1].desc, "B");
    assert_int_equal(one->telling, 2 * (SERVER_TIMES_NAMES - 1));
    assert_int_equal(one->further, SERVER_TIMES_NAMES - 2);
    assert_int_equal(hist_count(one->metrics[0].row.hist), one->telling);
    assert_int_equal(parts_of(one), one->phases[SERVER_PHASE_TOTAL].sum);
    server_times_free(one);
    server_times_free(two);
}

static void a_warm_up_is_forgotten(void **state) {
    (void)state;
    struct server_times *t = server_times_new(NULL, 1);
    struct http_head head = { .fields = SLICE("Server-Timing: a;dur=2\r\n") };
    answer(t, "Server-Timing: a;dur=1, =\r\n", (struct timing){ .wait = 2000 });
    server_times_head(t, 0, &head); /* an answer on its way */
    server_times_restart(t);
    server_times_end(t, 0, &(struct timing){ .wait = 3000, .total = 3000 });
    assert_int_equal(t->telling, 1);
    assert_int_equal(t->malformed, 0);
    assert_int_equal(sum_of(t, "a"), 2000);
    assert_int_equal(parts_of(t), 3000);
    server_times_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_network_is_what_nobody_else_claims),
        cmocka_unit_test(a_server_that_begins_early_shortens_the_send),
        cmocka_unit_test(totals_are_told_and_not_added),
        cmocka_unit_test(several_of_one_name_are_added_up_over_lines_too),
        cmocka_unit_test(answers_that_do_not_tell_are_counted_alone),
        cmocka_unit_test(a_metric_is_zero_where_it_is_missing),
        cmocka_unit_test(names_are_bounded),
        cmocka_unit_test(workers_are_added_up_by_name),
        cmocka_unit_test(a_warm_up_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
