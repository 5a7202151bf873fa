/* SPDX-License-Identifier: MIT */
/* Which answer each failure of a database becomes, and that nothing of what it said is in it. */
#include "server/upstream/db.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct row {
    const char *sqlstate;
    int code;
    enum db_step step;
    uint16_t status;
} rows[] = {
    { "", -ETIMEDOUT, DB_STEP_WAIT, 503 },
    { "", -ENOMEM, DB_STEP_WAIT, 500 },
    { "", -ETIMEDOUT, DB_STEP_CONNECT, 504 },
    { "", -ENOENT, DB_STEP_CONNECT, 502 },
    { "", -ECONNREFUSED, DB_STEP_CONNECT, 502 },
    { "53300", -ECONNABORTED, DB_STEP_CONNECT, 503 }, /* too many connections */
    { "57P03", -ECONNABORTED, DB_STEP_CONNECT, 503 }, /* starting up */
    { "28P01", -ECONNABORTED, DB_STEP_CONNECT, 502 }, /* wrong password */
    { "", -ETIMEDOUT, DB_STEP_RUN, 504 },
    { "57014", -EREMOTEIO, DB_STEP_RUN, 504 }, /* statement_timeout */
    { "", -ECONNRESET, DB_STEP_RUN, 502 },
    { "57P01", -EREMOTEIO, DB_STEP_RUN, 502 }, /* terminated by an administrator */
    { "42P01", -EREMOTEIO, DB_STEP_RUN, 500 }, /* no such table */
    { "P0001", -EREMOTEIO, DB_STEP_RUN, 500 },
    { "", -ENOMEM, DB_STEP_RUN, 500 },
};

static struct db_failure failure_of(const struct row *row, const char *detail) {
    struct db_failure failure = { .detail = detail };

    memcpy(failure.sqlstate, row->sqlstate, strlen(row->sqlstate));
    return failure;
}

static void each_failure_has_its_status(void **state) {
    struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 16);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct db_failure failure = failure_of(&rows[i], "the secret");
        struct db_report report = db_report_of(rows[i].step, rows[i].code, &failure, &arena);

        if (report.status != rows[i].status)
            fail_msg("row %zu: status %u, not %u", i, report.status, rows[i].status);
        assert_null(strstr(report.why, "secret"));
        assert_non_null(strstr(report.detail, "error=\"the secret\""));
        if (rows[i].sqlstate[0] != '\0')
            assert_non_null(strstr(report.detail, rows[i].sqlstate));
    }
    arena_free(&arena);
}

static void nothing_said_is_nothing_logged(void **state) {
    struct db_failure failure = { .detail = NULL };

    (void)state;
    assert_null(db_report_of(DB_STEP_WAIT, -ETIMEDOUT, &failure, NULL).detail);
}

static void goodbyes_and_full_servers_are_told_apart(void **state) {
    (void)state;
    assert_true(db_says_goodbye("57P01") && db_says_goodbye("57P02") && db_says_goodbye("57P03"));
    assert_false(db_says_goodbye("57014") || db_says_goodbye("") || db_says_goodbye("53300"));
    assert_true(db_is_full("53300"));
    assert_false(db_is_full("") || db_is_full("57P03"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_failure_has_its_status),
        cmocka_unit_test(nothing_said_is_nothing_logged),
        cmocka_unit_test(goodbyes_and_full_servers_are_told_apart),
    };

    return cmocka_run_group_tests_name("server/db", tests, NULL, NULL);
}
