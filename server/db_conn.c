/* SPDX-License-Identifier: MIT */
/* The only file that knows libpq: its non-blocking interface as straight code over `io`, and its
 * blocking calls beside it. */
#include "server/db_conn.h"
#include "base/alloc.h"
#include "base/escape.h"
#include "base/log.h"
#include "server/db_hosts.h"
#include "server/limits.h"
#include <errno.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct db_conn {
    const struct db_conn_config *config;
    PGconn *pg;
    char *prepared[SERVER_DB_STATEMENTS_MAX]; /* SQL texts; the index is part of the name there */
    unsigned prepared_count;
    int fd;      /* kept, since libpq closes it by itself when the connection breaks; -1 before */
    bool broken; /* it must not be used again */
};

/* One statement on its way. */
struct run {
    struct db_conn *conn;
    struct io *io;
    struct arena *arena;
    nsec_t deadline;
    struct db_failure *failure;
};

int db_conninfo_check(const char *conninfo, struct error *err) {
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(conninfo, &message);
    bool good = options != NULL;

    PQconninfoFree(options);
    PQfreemem(message); /* it may quote the password */
    if (good)
        return 0;
    return error_set(err, -EINVAL,
                     "libpq cannot read this connection string (it is not shown: it may hold a "
                     "password); 'host=... dbname=...' or postgresql://... is expected");
}

static bool is_given(const PQconninfoOption *o) {
    return o->val != NULL && o->val[0] != '\0';
}

static int check_exportable(const PQconninfoOption *options, struct error *err) {
    bool named = false;

    for (const PQconninfoOption *o = options; o->keyword != NULL; o++) {
        if (is_given(o) && (o->envvar == NULL || o->envvar[0] == '\0'))
            return error_set(err, -EINVAL, "libpq has no variable for '%s'", o->keyword);
        named |= is_given(o) &&
                 (strcmp(o->keyword, "host") == 0 || strcmp(o->keyword, "hostaddr") == 0 ||
                  strcmp(o->keyword, "service") == 0);
    }
    return named ? 0 : error_set(err, -EINVAL, "it names no server; host=... is expected");
}

int db_conninfo_export(const char *conninfo, struct error *err) {
    int rc = db_conninfo_check(conninfo, err);
    PQconninfoOption *options = rc == 0 ? PQconninfoParse(conninfo, NULL) : NULL;

    if (rc == 0)
        rc = options != NULL ? check_exportable(options, err)
                             : error_set(err, -ENOMEM, "out of memory");
    for (const PQconninfoOption *o = options; rc == 0 && o->keyword != NULL; o++)
        if (is_given(o) && setenv(o->envvar, o->val, 1) < 0)
            rc = error_set(err, -errno, "cannot set %s", o->envvar);
    PQconninfoFree(options);
    return rc;
}

int db_conninfo_forget(void) {
    PQconninfoOption *options = PQconndefaults();

    if (options == NULL)
        return -ENOMEM;
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++)
        if (o->envvar != NULL && o->envvar[0] != '\0')
            unsetenv(o->envvar);
    PQconninfoFree(options);
    return 0;
}

/* --- failures ----------------------------------------------------------------------------------
 */

static struct slice first_line(const char *message) {
    struct slice rest = slice_str(message);

    return slice_take(slice_cut(&rest, '\n'), SERVER_DB_DETAIL_BYTES_MAX);
}

static bool is_sqlstate(const char *text) {
    return strspn(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == DB_SQLSTATE_BYTES - 1;
}

/* Before there are results, the code stands in the verbose message only: "FATAL:  53300: sorry".
 * The last one counts: of several hosts, libpq tells about each. */
static void find_sqlstate(const char *message, char *ret) {
    for (const char *at = message; (at = strstr(at, ":  ")) != NULL; at++)
        if (is_sqlstate(at + 3) && at[2 + DB_SQLSTATE_BYTES] == ':')
            memcpy(ret, at + 3, DB_SQLSTATE_BYTES - 1);
}

static void keep_detail(struct db_failure *failure, struct arena *arena, const char *message) {
    struct slice line = first_line(message);

    if (line.len > 0)
        failure->detail = arena_printf(arena, "%.*s", (int)line.len, line.ptr);
}

static int fail_broken(struct run *r) {
    r->conn->broken = true;
    keep_detail(r->failure, r->arena, PQerrorMessage(r->conn->pg));
    return -ECONNRESET;
}

/* The plan that was prepared here no longer fits, or is gone: a new connection prepares anew. */
static bool spoils_connection(const char *sqlstate) {
    return memcmp(sqlstate, "57P", 3) == 0 || strcmp(sqlstate, "0A000") == 0 ||
           strcmp(sqlstate, "26000") == 0;
}

static int fail_result(struct run *r, const PGresult *result) {
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    if (state == NULL || !is_sqlstate(state)) { /* libpq made it up: the connection is gone */
        r->conn->broken = true;
        keep_detail(r->failure, r->arena, PQresultErrorMessage(result));
        return -ECONNRESET;
    }
    memcpy(r->failure->sqlstate, state, DB_SQLSTATE_BYTES - 1);
    keep_detail(r->failure, r->arena, message != NULL ? message : "");
    if (spoils_connection(state))
        r->conn->broken = true;
    return -EREMOTEIO;
}

/* --- cancelling --------------------------------------------------------------------------------
 */

/* PQcancel opens a connection of its own, and blocks for as long as the server likes. */
static void cancel_run(void *arg) {
    char why[256];

    if (PQcancel(arg, why, sizeof(why)) == 0)
        log_write(LOG_LEVEL_DEBUG, "cannot cancel a statement error=\"%s\"", why);
    PQfreeCancel(arg);
}

static void cancel_drop(void *arg) {
    PQfreeCancel(arg);
}

/* The connection is given up with the statement: to get the server's answer to the cancellation
 * would be one more wait, and nobody is left who may wait. */
static void cancel(struct db_conn *conn) {
    PGcancel *request = PQgetCancel(conn->pg);

    conn->broken = true;
    if (request != NULL)
        errands_add(conn->config->errands, cancel_run, cancel_drop, request);
}

/* --- waiting for libpq -------------------------------------------------------------------------
 */

static int flush(struct run *r) {
    int rc = 0;

    while (rc == 0) {
        int left = PQflush(r->conn->pg);

        if (left < 0)
            return fail_broken(r);
        if (left == 0)
            return 0;
        rc = io_wait_level(r->io, r->conn->fd, IO_READ | IO_WRITE, r->deadline);
        if (rc == 0 && !PQconsumeInput(r->conn->pg)) /* it may talk before it listens */
            return fail_broken(r);
    }
    return rc;
}

/* The first result of the statement, and nothing left of it on the way. Before it was sent nothing
 * was readable (the caller said `drained`), so the first wait needs no look at the kernel. */
static int collect(struct run *r, PGresult **ret) {
    PGconn *pg = r->conn->pg;
    bool waited = false;
    PGresult *result;
    int rc;

    for (;;) {
        while (PQisBusy(pg)) {
            rc = waited ? io_wait_level(r->io, r->conn->fd, IO_READ, r->deadline)
                        : io_wait(r->io, r->conn->fd, IO_READ, r->deadline);
            if (rc < 0)
                return rc;
            waited = true;
            if (!PQconsumeInput(pg)) {
                r->conn->broken = true;
                return *ret != NULL ? 0 : fail_broken(r);
            }
        }
        result = PQgetResult(pg);
        if (result == NULL) { /* what comes from here on is a new event */
            r->io->ops->drained(r->io, r->conn->fd, IO_READ);
            return 0;
        }
        if (PQresultStatus(result) == PGRES_COPY_IN || PQresultStatus(result) == PGRES_COPY_OUT)
            r->conn->broken = true; /* nobody would feed it */
        if (*ret == NULL)
            *ret = result;
        else
            PQclear(result);
        if (r->conn->broken)
            return 0;
    }
}

/* --- one statement -----------------------------------------------------------------------------
 */

/* 0 with the result of what was `sent`, or -errno. */
static int exchange(struct run *r, int sent, PGresult **ret) {
    int rc;

    *ret = NULL;
    if (!sent)
        return fail_broken(r);
    rc = flush(r);
    if (rc == 0)
        rc = collect(r, ret);
    if (rc == -ETIMEDOUT || rc == -ECANCELED)
        cancel(r->conn);
    if (rc < 0)
        PQclear(*ret);
    return rc;
}

static int prepare(struct run *r, const char *name, const char *sql) {
    PGconn *pg = r->conn->pg;
    PGresult *result;
    int rc;

    if (r->conn->config->blocking)
        result = PQprepare(pg, name, sql, 0, NULL);
    else if ((rc = exchange(r, PQsendPrepare(pg, name, sql, 0, NULL), &result)) < 0)
        return rc;
    rc = PQresultStatus(result) == PGRES_COMMAND_OK ? 0 : fail_result(r, result);
    PQclear(result);
    return rc;
}

/* The name under which the connection knows the statement; empty when it has room for no more. */
static int find_prepared(struct run *r, const char *sql, char *name, size_t size) {
    struct db_conn *conn = r->conn;
    unsigned i = 0;
    int rc;

    while (i < conn->prepared_count && strcmp(conn->prepared[i], sql) != 0)
        i++;
    name[0] = '\0';
    if (i == SERVER_DB_STATEMENTS_MAX)
        return 0;
    snprintf(name, size, "srv%u", i);
    if (i < conn->prepared_count)
        return 0;
    rc = prepare(r, name, sql);
    if (rc < 0)
        return rc;
    conn->prepared[i] = slice_dup(slice_str(sql));
    if (conn->prepared[i] == NULL) {
        conn->broken = true;
        return -ENOMEM;
    }
    conn->prepared_count++;
    return 0;
}

static int execute(struct run *r, const struct db_statement *s, const char *name, PGresult **ret) {
    PGconn *pg = r->conn->pg;
    int count = (int)s->param_count;

    if (r->conn->config->blocking) {
        *ret = name[0] != '\0' ? PQexecPrepared(pg, name, count, s->params, NULL, NULL, 0)
                               : PQexecParams(pg, s->sql, count, NULL, s->params, NULL, NULL, 0);
        return *ret != NULL ? 0 : -ENOMEM;
    }
    r->io->ops->drained(r->io, r->conn->fd, IO_READ);
    return exchange(r,
                    name[0] != '\0'
                        ? PQsendQueryPrepared(pg, name, count, s->params, NULL, NULL, 0)
                        : PQsendQueryParams(pg, s->sql, count, NULL, s->params, NULL, NULL, 0),
                    ret);
}

static int keep_answer(struct arena *arena, const PGresult *result, struct db_answer *ret) {
    int rows = PQntuples(result), columns = PQnfields(result);
    size_t count = (size_t)rows * (size_t)columns, i = 0;

    *ret = (struct db_answer){ .rows = (size_t)rows, .columns = (size_t)columns };
    ret->values = arena_alloc(arena, (count > 0 ? count : 1) * sizeof(*ret->values));
    if (ret->values == NULL)
        return -ENOMEM;
    for (int row = 0; row < rows; row++)
        for (int column = 0; column < columns; column++, i++) {
            struct slice value = { PQgetvalue(result, row, column),
                                   (size_t)PQgetlength(result, row, column) };

            ret->values[i] = (struct slice){ NULL, 0 };
            if (PQgetisnull(result, row, column))
                continue;
            ret->values[i] = slice_of(arena_dup(arena, value), value.len);
            if (ret->values[i].ptr == NULL)
                return -ENOMEM;
        }
    return 0;
}

static int take_result(struct run *r, const PGresult *result, struct db_answer *ret) {
    ExecStatusType status = PQresultStatus(result);

    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY)
        return keep_answer(r->arena, result, ret);
    if (status == PGRES_FATAL_ERROR)
        return fail_result(r, result);
    r->conn->broken = true;
    keep_detail(r->failure, r->arena, "COPY is not for handlers");
    return -EREMOTEIO;
}

int db_conn_run(struct db_conn *conn, struct io *io, struct arena *arena,
                const struct db_statement *statement, nsec_t deadline, struct db_answer *ret,
                struct db_failure *failure) {
    struct run r = { conn, io, arena, deadline, failure };
    PGresult *result;
    char name[16];
    int rc;

    *failure = (struct db_failure){ .detail = NULL };
    rc = find_prepared(&r, statement->sql, name, sizeof(name));
    if (rc == 0)
        rc = execute(&r, statement, name, &result);
    if (rc < 0)
        return rc;
    rc = take_result(&r, result, ret);
    PQclear(result);
    return rc;
}

/* --- opening and closing -----------------------------------------------------------------------
 */

/* The value of a keyword: of the connection string, or else of libpq's environment. */
static const char *option_value(const PQconninfoOption *given, const PQconninfoOption *defaults,
                                const char *keyword) {
    const PQconninfoOption *lists[] = { given, defaults };

    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        for (const PQconninfoOption *o = lists[i]; o != NULL && o->keyword != NULL; o++)
            if (strcmp(o->keyword, keyword) == 0 && o->val != NULL && o->val[0] != '\0')
                return o->val;
    return NULL;
}

static int find_hosts(const struct db_conn_config *config, struct io *io, struct arena *arena,
                      nsec_t deadline, struct db_hosts *ret, struct db_failure *failure) {
    PQconninfoOption *given = PQconninfoParse(config->conninfo, NULL);
    PQconninfoOption *defaults = PQconndefaults();
    int rc = 0;

    *ret = (struct db_hosts){ NULL, NULL, NULL };
    if (given == NULL || defaults == NULL)
        rc = -ENOMEM;
    else if (option_value(given, defaults, "hostaddr") == NULL)
        rc = db_hosts_find(option_value(given, defaults, "host"),
                           option_value(given, defaults, "port"), io, arena, deadline, ret,
                           &failure->detail);
    PQconninfoFree(given);
    PQconninfoFree(defaults);
    return rc;
}

/* While it connects, libpq may replace its socket behind our back: each wait is a new one. */
static int poll_connect(PGconn *pg, struct io *io, nsec_t deadline) {
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;

    while (state != PGRES_POLLING_OK) {
        int fd = PQsocket(pg), rc;

        if (state == PGRES_POLLING_FAILED || PQstatus(pg) == CONNECTION_BAD || fd < 0)
            return -ECONNREFUSED;
        rc = io_wait_level(io, fd, state == PGRES_POLLING_READING ? IO_READ : IO_WRITE, deadline);
        io->ops->forget(io, fd);
        if (rc < 0)
            return rc;
        state = PQconnectPoll(pg);
    }
    return 0;
}

static void log_notice(void *arg UNUSED, const char *message) {
    char text[512];

    escape_quoted(text, sizeof(text), first_line(message));
    log_write(LOG_LEVEL_DEBUG, "database says text=\"%s\"", text);
}

static int connect_pg(const struct db_conn_config *config, const struct db_hosts *hosts,
                      struct io *io, nsec_t deadline, PGconn **ret) {
    const char *keywords[] = { "dbname", "host", "hostaddr", "port", "fallback_application_name",
                               NULL };
    const char *values[] = { config->conninfo, hosts->host, hosts->hostaddr,
                             hosts->port,      "srv",       NULL };
    PGconn *pg = *ret = PQconnectStartParams(keywords, values, 1);
    int rc;

    if (pg == NULL)
        return -ENOMEM;
    PQsetErrorVerbosity(pg, PQERRORS_VERBOSE); /* for find_sqlstate */
    PQsetNoticeProcessor(pg, log_notice, NULL);
    rc = poll_connect(pg, io, deadline);
    if (rc == 0 && !config->blocking && PQsetnonblocking(pg, 1) != 0)
        rc = -ENOMEM;
    return rc;
}

int db_conn_open(const struct db_conn_config *config, struct io *io, struct arena *arena,
                 nsec_t deadline, struct db_conn **ret, struct db_failure *failure) {
    struct db_conn *conn = mem_calloc(1, sizeof(*conn));
    struct db_hosts hosts = { NULL, NULL, NULL };
    struct io_block block;
    int rc = conn == NULL ? -ENOMEM : 0;

    *failure = (struct db_failure){ .detail = NULL };
    if (config->blocking) { /* the io that stops a loop, which is what PQconnectdb does */
        io_block_init(&block, -1);
        io = &block.io;
        deadline = NSEC_NEVER;
    } else if (rc == 0) {
        rc = find_hosts(config, io, arena, deadline, &hosts, failure);
    }
    if (rc == 0) {
        conn->config = config;
        conn->fd = -1;
        rc = connect_pg(config, &hosts, io, deadline, &conn->pg);
    }
    if (rc == -ECONNREFUSED) {
        find_sqlstate(PQerrorMessage(conn->pg), failure->sqlstate);
        keep_detail(failure, arena, PQerrorMessage(conn->pg));
        rc = failure->sqlstate[0] != '\0' ? -ECONNABORTED : rc;
    }
    if (rc < 0) {
        db_conn_close(conn, io);
        return rc;
    }
    conn->fd = PQsocket(conn->pg);
    *ret = conn;
    return 0;
}

bool db_conn_usable(const struct db_conn *conn) {
    return !conn->broken && PQstatus(conn->pg) == CONNECTION_OK &&
           PQtransactionStatus(conn->pg) == PQTRANS_IDLE;
}

int db_conn_fd(const struct db_conn *conn) {
    return conn->fd;
}

void db_conn_close(struct db_conn *conn, struct io *io) {
    if (conn == NULL)
        return;
    if (conn->fd >= 0)
        io->ops->forget(io, conn->fd);
    PQfinish(conn->pg);
    for (unsigned i = 0; i < conn->prepared_count; i++)
        mem_free(conn->prepared[i]);
    mem_free(conn);
}
