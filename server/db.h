/* SPDX-License-Identifier: MIT */
/* The database of a worker: a pool of connections, who waits for one, and what happens when they
 * fail.
 *
 *   wait for a place -> take an idle connection, or open one -> run -> put it back, or close it
 *
 * Connections are opened when they are needed and kept. At checkout a connection on which something
 * has arrived is dead (the server says goodbye): it is closed and the next one is tried. */
#ifndef SERVER_DB_H
#define SERVER_DB_H

#include "net/gate.h"
#include "server/db_report.h"
#include "server/stats.h"

enum db_mode { DB_COOPERATIVE, DB_BLOCKING };

struct db;

struct db_config {
    const char *conninfo; /* as of db_conn_config */
    enum db_mode mode;
    uint32_t pool;       /* connections of this worker, 1 at least */
    uint32_t workers;    /* that have such a pool, for the check against max_connections */
    bool per_request;    /* a new connection for each statement */
    nsec_t wait, run;    /* longest spans: for a place in the pool; for connecting and running */
    struct stats *stats; /* what happens is counted there */
};

/* Connects to nothing yet. `fiber_io` as for connpool_new. NULL when out of memory. */
NODISCARD struct db *db_new(const struct db_config *config, struct io_fiber *fiber_io);

/* Nobody may be inside. */
void db_free(struct db *db);

/* Runs one statement. It is run again, once and on a new connection, when a connection that had
 * been idle turns out to have been ended by the server in good order (db_says_goodbye): then
 * nothing of it was kept. 0 with an answer in the arena, or -errno with a report: -ETIMEDOUT,
 * -ECANCELED, -ENOMEM and those of db_conn.h. */
NODISCARD int db_run(struct db *db, struct io *io, struct arena *arena,
                     const struct db_statement *statement, nsec_t deadline, struct db_answer *ret,
                     struct db_report *report);

#endif
