/* SPDX-License-Identifier: MIT */
/* Sleeps in MariaDB, through libmariadb's blocking calls. Nothing here knows of green threads: what
 * waits is libmariadb's poll(2), and --patch makes that park.
 *
 *   cc -I include $(pkg-config --cflags libmariadb) -shared -fPIC -o mariadb.so \
 *       examples/mariadb.c $(pkg-config --libs libmariadb)
 *   srv serve --model green ./mariadb.so host=127.0.0.1 port=3306 user=app
 *   srv serve --model green ./mariadb.so socket=/run/mysqld/mysqld.sock */
#include <mysql.h>
#include <srv/app.h>
#include <stdlib.h>

static const char *check(const srv_worker *worker) {
    int port = atoi(srv_config(worker, "port", "3306"));

    return port > 0 && port < 65536 ? NULL : "port= is not a port";
}

/* libmariadb asks for this once for the process, before there are threads. */
static int start(srv_worker *worker) {
    (void)worker;
    return mysql_library_init(0, NULL, NULL) == 0 ? 0 : -1;
}

/* Its words may name the server and the user: they are for the log. */
static int fail(srv_request *rq, const char *what, MYSQL *db) {
    srv_log(rq, 'w', "%s: %s", what, mysql_error(db));
    return srv_fail(rq, 502, "%s", what);
}

/* The password stands in the environment (SRV_APP_PASSWORD), where others cannot read it. */
static MYSQL *dial(const srv_worker *worker, MYSQL *db) {
    const char *path = srv_config(worker, "socket", NULL);

    return mysql_real_connect(db, path != NULL ? NULL : srv_config(worker, "host", "127.0.0.1"),
                              srv_config(worker, "user", NULL),
                              srv_config(worker, "password", NULL), NULL,
                              (unsigned)atoi(srv_config(worker, "port", "3306")), path, 0);
}

static int sleep_in(srv_request *rq, MYSQL *db, double delay) {
    const char *statement = srv_format(rq, "SELECT NOW(6), SLEEP(%.6f)", delay);
    MYSQL_RES *result;
    MYSQL_ROW row;
    int rc;

    if (dial(srv_worker_of(rq), db) == NULL)
        return fail(rq, "the database cannot be reached", db);
    if (mysql_query(db, statement) != 0)
        return fail(rq, "the database could not run the statement", db);
    result = mysql_store_result(db);
    row = result != NULL ? mysql_fetch_row(result) : NULL;
    rc = row != NULL ? srv_reply(rq, 200, "slept from %s", row[0])
                     : fail(rq, "the database gave no row", db);
    mysql_free_result(result);
    return rc;
}

/* A connection for each request: one that two requests share would be used by the second while the
 * first is parked in the middle of its statement. */
static int index_page(srv_request *rq) {
    double delay = srv_seconds(rq, "delay", srv_arg(rq, "delay", "1"));
    MYSQL *db;
    int rc;

    if (srv_error(rq) < 0)
        return srv_error(rq);
    db = mysql_init(NULL);
    if (db == NULL)
        return srv_fail(rq, 500, "out of memory");
    rc = sleep_in(rq, db, delay);
    mysql_close(db);
    return rc;
}

SRV_APP(.handle = index_page, .check = check, .start = start,
        .summary = "libmariadb, a connection a request")
