/* SPDX-License-Identifier: MIT */
/* Sleeps in PostgreSQL, through libpq's blocking calls. Nothing here knows of green threads: what
 * waits is libpq's poll(2), and --patch makes that park.
 *
 *   cc -I include -I "$(pg_config --includedir)" -shared -fPIC -o libpq.so examples/libpq.c -lpq
 *   srv serve --model green ./libpq.so 'db=host=/run/postgresql user=app'
 *
 * srv_query does more for less: it keeps connections, and cancels the statement of a request that
 * is over, which goes on in the server here (client_connection_check_interval is PostgreSQL's own
 * cure). This is for code that is there already. */
#include <libpq-fe.h>
#include <srv/app.h>
#include <string.h>

/* libpq's words may name the server and the user: they are for the log. */
static int fail(srv_request *rq, int status, const char *what, const PGconn *db) {
    const char *why = PQerrorMessage(db);

    srv_log(rq, 'w', "%s: %.*s", what, (int)strcspn(why, "\n"), why);
    return srv_fail(rq, status, "%s", what);
}

static int sleep_in(srv_request *rq, PGconn *db, const char *delay) {
    static const char statement[] = "SELECT NOW(), pg_sleep($1)";
    PGresult *result;
    int rc;

    if (PQstatus(db) != CONNECTION_OK)
        return fail(rq, 502, "the database cannot be reached", db);
    result = PQexecParams(db, statement, 1, NULL, &delay, NULL, NULL, 0);
    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        rc = srv_reply(rq, 200, "slept until %s", PQgetvalue(result, 0, 0));
    else
        rc = fail(rq, 502, "the database could not run the statement", db);
    PQclear(result);
    return rc;
}

/* A connection for each request: one that two requests share would be used by the second while the
 * first is parked in the middle of its statement. */
static int index_page(srv_request *rq) {
    const char *delay = srv_arg(rq, "delay", "1");
    PGconn *db;
    int rc;

    srv_seconds(rq, "delay", delay); /* what is none is answered with 400 */
    if (srv_error(rq) < 0)
        return srv_error(rq);
    db = PQconnectdb(srv_config(srv_worker_of(rq), "db", ""));
    rc = sleep_in(rq, db, delay);
    PQfinish(db);
    return rc;
}

SRV_APP(.handle = index_page, .summary = "libpq, a connection a request")
