/* SPDX-License-Identifier: MIT */
/* One connection to PostgreSQL, through libpq: open, run statements, cancel, close.
 *
 * Cooperative: every wait goes through `io`. Blocking: libpq waits by itself, as it does under any
 * C extension; no deadline and no cancellation reaches it there, and a loop stands still. */
#ifndef SERVER_DB_CONN_H
#define SERVER_DB_CONN_H

#include "base/arena.h"
#include "net/io.h"
#include "server/errands.h"

struct db_conn;

struct db_conn_config {
    const char *conninfo; /* keyword=value pairs or a URI, over the PG* variables; "" for none */
    bool blocking;
    struct errands *errands; /* cancel requests block: they are made there */
};

struct db_statement {
    const char *sql;           /* one statement with $1, $2, ... */
    const char *const *params; /* as text; NULL is SQL's NULL */
    size_t param_count;
};

/* What a statement answered: `rows` times `columns` values, row by row, in the arena. */
struct db_answer {
    struct slice *values; /* as text; ptr NULL is SQL's NULL */
    size_t rows, columns;
};

#define DB_SQLSTATE_BYTES 6

/* What the server or libpq said of a failure; for the log, never for clients. */
struct db_failure {
    char sqlstate[DB_SQLSTATE_BYTES]; /* empty when it did not come from the server */
    const char *detail; /* one line, in the arena; NULL when there is nothing to say */
};

/* Whether libpq can read it. The text may hold a password: nothing of it is in `err`. 0, -EINVAL.
 */
NODISCARD int db_conninfo_check(const char *conninfo, struct error *err);

/* Sets the PG* variables of this process to what is in it, so that the programs it starts find the
 * same server, and no password stands in their arguments. 0; -EINVAL (nothing was set): as
 * db_conninfo_check, or it names no server, or has a setting without a variable. */
NODISCARD int db_conninfo_export(const char *conninfo, struct error *err);

/* Takes the PG* variables that libpq reads out of this process: the programs it starts connect as
 * their own conninfo says, whatever the user has set for another server. 0 or -ENOMEM. */
NODISCARD int db_conninfo_forget(void);

/* A connection that is ready. 0; -ECONNREFUSED and other -errno of the network, -ENOENT (name),
 * -ECONNABORTED: the server refused it (see `sqlstate`); -ETIMEDOUT, -ECANCELED, -ENOMEM. */
NODISCARD int db_conn_open(const struct db_conn_config *config, struct io *io, struct arena *arena,
                           nsec_t deadline, struct db_conn **ret, struct db_failure *failure);

/* Runs one statement, prepared on its first use here. 0; -EREMOTEIO: the server reported an error,
 * see `sqlstate`; -ECONNRESET: the connection broke; -ETIMEDOUT, -ECANCELED: the statement is being
 * cancelled on the server; -ENOMEM. */
NODISCARD int db_conn_run(struct db_conn *conn, struct io *io, struct arena *arena,
                          const struct db_statement *statement, nsec_t deadline,
                          struct db_answer *ret, struct db_failure *failure);

/* Whether it can take another statement. False after -ECONNRESET, -ETIMEDOUT and the like, and when
 * a transaction was left open: then close it. */
bool db_conn_usable(const struct db_conn *conn);

/* For watching while it is idle, when every byte that comes is a goodbye. */
int db_conn_fd(const struct db_conn *conn);

void db_conn_close(struct db_conn *conn, struct io *io);

#endif
