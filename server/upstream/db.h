/* SPDX-License-Identifier: MIT */
/* The database of a worker: a pool of connections, who waits for one, and what happens when they
 * fail.
 *
 *   wait for a place -> take an idle connection, or open one -> run -> put it back, or close it
 *
 * Connections are opened when they are needed and kept, the last used on top. At checkout a
 * connection on which something has arrived is dead (the server says goodbye), and one that was
 * idle for a while must give a sign of life: when it does not, it is closed with all that were idle
 * for as long, and the next one is tried.
 *
 *   up --(a connect fails)--> down: fail at once, until --(back-off)--> one connects, others wait
 *    ^                          ^----------(it fails: twice the back-off)------/   for it, a moment
 *    \------------------------------------(it succeeds)----------------------/ */
#ifndef SERVER_DB_H
#define SERVER_DB_H

#include "fiber/semaphore.h"
#include "server/observe/stats.h"
#include "server/upstream/db_conn.h"

/* DB_PATCHED is DB_BLOCKING, whose waits are patched to park (fiber/patch.h). */
enum db_mode { DB_COOPERATIVE, DB_BLOCKING, DB_PATCHED };

struct db;

struct db_config {
    const char *conninfo; /* see db_conn_config */
    enum db_mode mode;
    uint32_t pool;           /* connections of this worker, 1 at least */
    uint32_t workers;        /* with such a pool each, for the check against max_connections */
    bool per_request;        /* a new connection for each statement */
    bool unprepared;         /* statements are not prepared */
    size_t result_bytes_max; /* see db_conn_config */
    const char *reset;       /* runs when a connection is given back; NULL or "": nothing does */
    nsec_t wait, run;        /* longest spans: for a place; for connecting and running */
    nsec_t idle, lifetime;   /* longest spans: unused, and since it was opened; 0: no limit */
    struct patches *patches; /* of the loop; for DB_PATCHED */
    struct stats *stats;     /* counts what happens */
};

struct db_report {
    uint16_t status;    /* for the answer: 500, 502, 503, 504 */
    const char *why;    /* one line for the client: what happened, and nothing the database said */
    const char *detail; /* more for the log: "sqlstate=... error=...", or NULL; in the arena */
    char sqlstate[DB_SQLSTATE_BYTES]; /* "" when the server did not say one */
};

/* The step in which it failed. */
enum db_step { DB_STEP_WAIT, DB_STEP_CONNECT, DB_STEP_RUN };

/* Connects to nothing yet. `fiber_io` as for semaphore_new. NULL when out of memory. */
NODISCARD struct db *db_new(const struct db_config *config, struct io_fiber *fiber_io);

/* Nobody may be inside. */
void db_free(struct db *db);

/* Others need the server's connections: idle ones are closed now, and the rest when they come back.
 * From any thread that is not inside, a loop's own if it has one. NULL-safe. */
void db_retire(struct db *db);

/* Runs one statement. It is run again, once and on a new connection, when a connection that had
 * been idle turns out to have been ended by the server in good order (db_says_goodbye), or to lead
 * to one that cannot be written to any more: then nothing of it was kept. 0 with an answer in the
 * arena, or -errno with a report: -ETIMEDOUT, -ECANCELED, -ENOMEM and those of db_conn.h. */
NODISCARD int db_run(struct db *db, struct io *io, struct arena *arena,
                     const struct db_statement *statement, nsec_t deadline, struct db_answer *ret,
                     struct db_report *report);

/* A transaction, on a connection of its own until it ends. */
struct db_transaction;

/* Waits for a connection and begins a transaction on it. As db_run otherwise; what is returned goes
 * to db_leave in any case. `arena` outlives it. */
NODISCARD int db_begin(struct db *db, struct io *io, struct arena *arena, nsec_t deadline,
                       struct db_transaction **ret, struct db_report *report);

/* One statement in it, never run twice. As db_run. */
NODISCARD int db_run_inside(struct db_transaction *t, struct io *io,
                            const struct db_statement *statement, nsec_t deadline,
                            struct db_answer *ret, struct db_report *report);

/* COMMIT. 0; -EREMOTEIO as db_run, also when an earlier statement has failed (25P02, and all is
 * rolled back) or none is open (25P01). */
NODISCARD int db_commit(struct db_transaction *t, struct io *io, nsec_t deadline,
                        struct db_report *report);

/* Rolls back what is open, if there is time until `deadline` (0: there is none), and gives the
 * connection back; one whose transaction has not ended is closed, which rolls back, too. */
void db_leave(struct db_transaction *t, struct io *io, nsec_t deadline);

/* Whether nobody has ended it. */
bool db_is_open(const struct db_transaction *t);

/* The report of a failure for a client and the log; `code` is the -errno of that step. */
struct db_report db_report_of(enum db_step step, int code, const struct db_failure *failure,
                              struct arena *arena);

/* Whether the server said that it shuts down or was told to end this connection: nothing of the
 * statement was kept (57P01 to 57P03, operator intervention). */
bool db_says_goodbye(const char *sqlstate);

/* Whether it has no connection left for us (53300). */
bool db_is_full(const char *sqlstate);

#endif
