/* SPDX-License-Identifier: MIT */
/* One connection to PostgreSQL, through libpq: open, run statements, cancel, close.
 *
 * Cooperative: every wait goes through `io`. Blocking: libpq waits for statements by itself, as it
 * does under any C extension; no deadline and no cancellation reaches it there, and a loop stands
 * still. Patched: the same calls, but their poll(2) parks the fiber (fiber/patch.h), and fails when
 * the request is over. */
#ifndef SERVER_DB_CONN_H
#define SERVER_DB_CONN_H

#include "base/arena.h"
#include "fiber/io.h"
#include <stdatomic.h>

struct db_conn;
struct patches;
struct stats;

/* Names of prepared statements, for all connections of a process: behind a pooler other processes
 * prepare on the same server connections. */
struct db_names {
    char prefix[32];
    atomic_uint next;
    atomic_bool off; /* prepare nothing (any more): every statement goes unnamed */
};

struct db_conn_config {
    const char *conninfo; /* keyword=value pairs or a URI, over the PG* variables; "" for none */
    bool blocking;
    struct patches *patches; /* for whom waits of blocking calls park; NULL: they block */
    struct stats *stats;     /* counts such waits */
    size_t result_bytes_max; /* for a result as it is kept in the arena */
    /* Takes a cancel request, which blocks, to make it on another thread. */
    void (*cancel)(void *arg, void *request);
    void *cancel_arg;
    struct db_names *names;
};

struct db_statement {
    const char *sql;           /* one statement with $1, $2, ... */
    const char *const *params; /* text; NULL is SQL's NULL */
    size_t param_count;
    bool once; /* not worth to be prepared */
};

/* The answer to a statement: `rows` times `columns` values, row by row, in the arena. Without rows
 * `values` still has `columns` of SQL's NULL, one at least. */
struct db_answer {
    struct slice *values; /* text; ptr NULL is SQL's NULL */
    size_t rows, columns;
    uint64_t affected; /* by INSERT, UPDATE, DELETE, MERGE; or as many as SELECT gave */
};

#define DB_SQLSTATE_BYTES 6

/* The words of the server or of libpq about a failure; for the log, never for clients. */
struct db_failure {
    char sqlstate[DB_SQLSTATE_BYTES]; /* empty when it did not come from the server */
    const char *detail; /* one line, in the arena; NULL when there is nothing to say */
};

/* Whether libpq can read it. The text may hold a password: nothing of it is in `err`. 0, -EINVAL.
 */
NODISCARD int db_conninfo_check(const char *conninfo, struct error *err);

/* The connect_timeout in it, or else in libpq's environment: a span for each server; NSEC_NEVER
 * when there is none. */
nsec_t db_conninfo_connect_span(const char *conninfo);

/* Sets the PG* variables of this process to what is in it, so that the programs it starts find the
 * same server, and no password stands in their arguments. 0; -EINVAL (nothing was set): as
 * db_conninfo_check, or it names no server, or has a setting without a variable. */
NODISCARD int db_conninfo_export(const char *conninfo, struct error *err);

/* Takes the PG* variables that libpq reads out of this process: the programs it starts connect as
 * their own conninfo says, whatever the user has set for another server. 0 or -ENOMEM. */
NODISCARD int db_conninfo_forget(void);

/* A connection that is ready. Servers are tried in their order, each for `connect_timeout` of the
 * connection string at most; while one is silent, the next is begun beside it after
 * SERVER_DB_HOST_NSEC, and the first that is ready wins (RFC 8305, section 5). One that refuses us
 * (a wrong password, no place left) ends the list, as in libpq. Blocking mode stops its thread
 * here, too, unless it is patched, but not for longer than the deadline. 0; -ECONNREFUSED and other
 * -errno of the network, -ENOENT (name), -ECONNABORTED: the server refused it (see `sqlstate`);
 * -ETIMEDOUT, -ECANCELED, -ENOMEM. */
NODISCARD int db_conn_open(const struct db_conn_config *config, struct io *io, struct arena *arena,
                           nsec_t deadline, struct db_conn **ret, struct db_failure *failure);

/* Runs one statement, prepared on its first use here. When the prepared one is lost (DISCARD ALL,
 * a pooler) or no longer fits its tables, which the server says before it runs anything, it runs
 * once more, unnamed or prepared anew. 0; -EREMOTEIO: the server reported an error, see `sqlstate`;
 * -EMSGSIZE: the result is larger than result_bytes_max, and the statement is being cancelled;
 * -ECONNRESET: the connection broke; -ETIMEDOUT, -ECANCELED: the statement is being cancelled on
 * the server; -ENOMEM. */
NODISCARD int db_conn_run(struct db_conn *conn, struct io *io, struct arena *arena,
                          const struct db_statement *statement, nsec_t deadline,
                          struct db_answer *ret, struct db_failure *failure);

/* Runs statements, divided by semicolons, whose results nobody wants; "" asks whether somebody is
 * there. Keeps the deadline in blocking mode, too. As db_conn_run otherwise. */
NODISCARD int db_conn_command(struct db_conn *conn, struct io *io, struct arena *arena,
                              const char *sql, nsec_t deadline, struct db_failure *failure);

/* Whether it can take another statement. False after -ECONNRESET, -ETIMEDOUT and the like, when a
 * transaction was left open, when a large value has left large buffers, and when the server cannot
 * be written to any more though target_session_attrs asks for one that can: then close it. */
bool db_conn_usable(const struct db_conn *conn);

/* The state of a transaction: none is open; one is; one that has failed, and can only be rolled
 * back; nobody knows: then close the connection, which rolls back. */
enum db_state { DB_STATE_NONE, DB_STATE_OPEN, DB_STATE_FAILED, DB_STATE_LOST };
enum db_state db_conn_state(const struct db_conn *conn);

/* For watching while it is idle, when every byte that comes is a goodbye. */
int db_conn_fd(const struct db_conn *conn);

/* Releases a cancel request; `sends` makes it before, and blocks as long as the server likes. */
void db_cancel_end(void *request, bool sends);

void db_conn_close(struct db_conn *conn, struct io *io);

#endif
