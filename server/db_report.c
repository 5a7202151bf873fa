/* SPDX-License-Identifier: MIT */
/* Failures of a database as HTTP answers; codes are PostgreSQL's, appendix A of its manual. */
#include "server/db_report.h"
#include "base/escape.h"
#include <errno.h>

struct verdict {
    uint16_t status;
    const char *why;
};

bool db_says_goodbye(const char *sqlstate) {
    return strcmp(sqlstate, "57P01") == 0 || strcmp(sqlstate, "57P02") == 0 ||
           strcmp(sqlstate, "57P03") == 0;
}

bool db_is_full(const char *sqlstate) {
    return strcmp(sqlstate, "53300") == 0;
}

static struct verdict judge_connect(int code, const char *sqlstate) {
    if (code == -ENOENT)
        return (struct verdict){ 502, "the name of the database server is unknown" };
    if (db_is_full(sqlstate))
        return (struct verdict){ 503, "the database has no connection left" };
    if (db_says_goodbye(sqlstate))
        return (struct verdict){ 503, "the database is starting or shutting down" };
    if (sqlstate[0] != '\0')
        return (struct verdict){ 502, "the database refused the connection" };
    return (struct verdict){ 502, "the database cannot be reached" };
}

static struct verdict judge_run(int code, const char *sqlstate) {
    if (code == -ECONNRESET || db_says_goodbye(sqlstate))
        return (struct verdict){ 502, "the database closed the connection" };
    if (strcmp(sqlstate, "57014") == 0) /* its own statement_timeout: we do not wait after ours */
        return (struct verdict){ 504, "the database did not answer in time" };
    return (struct verdict){ 500, "the database could not run the statement" };
}

static struct verdict judge(enum db_step step, int code, const char *sqlstate) {
    if (code == -ENOMEM)
        return (struct verdict){ 500, "out of memory" };
    switch (step) {
    case DB_STEP_WAIT:
        return (struct verdict){ 503, "all database connections are busy" };
    case DB_STEP_CONNECT:
        if (code == -ETIMEDOUT)
            return (struct verdict){ 504, "the database did not take the connection in time" };
        return judge_connect(code, sqlstate);
    case DB_STEP_RUN:
        if (code == -ETIMEDOUT)
            return (struct verdict){ 504, "the database did not answer in time" };
        break;
    }
    return judge_run(code, sqlstate);
}

struct db_report db_report_of(enum db_step step, int code, const struct db_failure *failure,
                              struct arena *arena) {
    struct verdict verdict = judge(step, code, failure->sqlstate);
    struct db_report report = { .status = verdict.status, .why = verdict.why };
    char said[512];

    escape_quoted(said, sizeof(said), slice_str(failure->detail));

    if (failure->sqlstate[0] != '\0')
        report.detail = arena_printf(arena, "sqlstate=%s error=\"%s\"", failure->sqlstate, said);
    else if (said[0] != '\0')
        report.detail = arena_printf(arena, "error=\"%s\"", said);
    return report;
}
