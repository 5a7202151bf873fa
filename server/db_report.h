/* SPDX-License-Identifier: MIT */
/* What a client is told about a database that failed, and what the log is told. */
#ifndef SERVER_DB_REPORT_H
#define SERVER_DB_REPORT_H

#include "server/db_conn.h"
#include <stdint.h>

struct db_report {
    uint16_t status;    /* of the answer: 500, 502, 503, 504 */
    const char *why;    /* one line for the client: what happened, and nothing the database said */
    const char *detail; /* more for the log: "sqlstate=... error=...", or NULL; in the arena */
};

/* What was being done when it failed. */
enum db_step { DB_STEP_WAIT, DB_STEP_CONNECT, DB_STEP_RUN };

/* `code` is the -errno of that step. */
struct db_report db_report_of(enum db_step step, int code, const struct db_failure *failure,
                              struct arena *arena);

/* Whether the server said that it shuts down or was told to end this connection: nothing of the
 * statement was kept (57P01 to 57P03, operator intervention). */
bool db_says_goodbye(const char *sqlstate);

/* Whether it has no connection left for us (53300). */
bool db_is_full(const char *sqlstate);

#endif
