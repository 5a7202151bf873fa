/* SPDX-License-Identifier: MIT */
/* The only file that knows libpq: its non-blocking interface as straight code over `io`, and its
 * blocking calls beside it. */
#include "server/upstream/db_conn.h"
#include "base/alloc.h"
#include "base/escape.h"
#include "base/log.h"
#include "fiber/patch.h"
#include "server/limits.h"
#include "server/observe/stats.h"
#include "server/upstream/db_hosts.h"
#include <errno.h>
#include <libpq-fe.h>
#include <linux/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* A statement that the server knows by a name. */
struct prepared {
    char *sql;
    char name[48];
    enum { SIZE_UNKNOWN, SIZE_SMALL, SIZE_LARGE } size; /* small: results came in one read so far */
};

struct db_conn {
    const struct db_conn_config *config;
    PGconn *pg;
    struct prepared prepared[SERVER_DB_STATEMENTS_MAX];
    unsigned prepared_count;
    int fd;      /* kept, since libpq closes it by itself when the connection breaks */
    bool writes; /* target_session_attrs asks for a server that can be written to */
    bool bulky;  /* libpq's buffers have grown with a large row, for good */
    bool broken; /* must not be used again */
};

/* One statement on its way. */
struct db_run {
    struct db_conn *conn;
    struct io *io;
    struct arena *arena;
    nsec_t deadline;
    struct db_failure *failure;
    struct patch patch;         /* of what libpq waits for by itself */
    bool blocks;                /* libpq waits by itself */
    bool blank;                 /* there is nothing to cancel in it */
    bool stale;                 /* failed since its prepared plan does not fit any more */
    unsigned waits;             /* for what came, in this exchange */
    unsigned reads;             /* counted from the last result on */
    uint64_t waited, row_began; /* see is_flooded */
    struct rows {
        struct slice *values; /* malloc'ed while they grow, or: */
        struct slice few[8];
        size_t count, cap, rows, columns, bytes;
        uint64_t affected;
    } got;
};

int db_conninfo_check(const char *conninfo, struct error *err) {
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(conninfo, &message);
    bool good = options != NULL;

    PQconninfoFree(options);
    PQfreemem(message); /* the message may quote the password */
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

/* --- failures --------------------------------------------------------------------------------- */

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
    const char *line = arena_dup(arena, first_line(message));

    if (line != NULL && line[0] != '\0')
        failure->detail = line;
}

/* Keeps libpq's words about the connection, or else about the result. */
static int fail_broken(struct db_run *r, const PGresult *result) {
    r->conn->broken = true;
    r->failure->detail = "the connection ended without a word";
    keep_detail(r->failure, r->arena, PQresultErrorMessage(result));
    keep_detail(r->failure, r->arena, PQerrorMessage(r->conn->pg));
    return -ECONNRESET;
}

static int fail_memory(struct db_run *r) {
    r->conn->broken = true; /* something may be left on the way */
    r->failure->detail = "out of memory, or the request has used its share";
    return -ENOMEM;
}

/* Servers since version 14 tell what they have become, at the end of a statement. */
static bool became_read_only(PGconn *pg) {
    const char *standby = PQparameterStatus(pg, "in_hot_standby");
    const char *read_only = PQparameterStatus(pg, "default_transaction_read_only");

    return PQserverVersion(pg) < 140000 || (standby != NULL && strcmp(standby, "on") == 0) ||
           (read_only != NULL && strcmp(read_only, "on") == 0);
}

static int fail_result(struct db_run *r, const PGresult *result) {
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *source = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);

    if (state == NULL || !is_sqlstate(state)) /* libpq made it up: the connection is gone */
        return fail_broken(r, result);
    memcpy(r->failure->sqlstate, state, DB_SQLSTATE_BYTES - 1);
    r->failure->detail = "the server gave no reason";
    keep_detail(r->failure, r->arena, message != NULL ? message : PQresultErrorMessage(result));
    r->stale = strcmp(state, "0A000") == 0 && source != NULL &&
               strcmp(source, "RevalidateCachedQuery") == 0;
    if (memcmp(state, "57P", 3) == 0)
        r->conn->broken = true;
    return -EREMOTEIO;
}

/* --- cancelling ------------------------------------------------------------------------------- */

/* PQcancel opens a connection of its own, and blocks for as long as the server likes. */
void db_cancel_end(void *request, bool sends) {
    char why[256];

    if (sends && PQcancel(request, why, sizeof(why)) == 0)
        log_write(LOG_LEVEL_DEBUG, "cannot cancel a statement error=\"%s\"", why);
    PQfreeCancel(request);
}

/* The connection is given up with the statement: to get the server's answer to the cancellation
 * would be one more wait, and nobody is left who may wait. */
static void give_up(struct db_run *r) {
    PGcancel *request = r->blank ? NULL : PQgetCancel(r->conn->pg);

    r->conn->broken = true;
    if (request != NULL)
        r->conn->config->cancel(r->conn->config->cancel_arg, request);
}

/* --- patched calls ---------------------------------------------------------------------------- */

static void patch_ended(struct patch *patch, const struct db_conn_config *config) {
    patch_leave(patch);
    if (patch->waits > 0)
        stats_add(config->stats, STATS_patched_waits, (int)patch->waits);
    if (patch->refused > 0)
        stats_add(config->stats, STATS_patch_refused, (int)patch->refused);
}

static void run_begins(struct db_run *r) {
    patch_enter(&r->patch, r->conn->config->patches, &r->deadline, NULL);
}

static void run_ends(struct db_run *r) {
    patch_ended(&r->patch, r->conn->config);
}

/* --- waiting for libpq ------------------------------------------------------------------------ */

static int fail_too_large(struct db_run *r) {
    give_up(r);
    r->failure->detail = arena_printf(r->arena, "the result is larger than --db-result-max (%zu)",
                                      r->conn->config->result_bytes_max);
    return -EMSGSIZE;
}

static int flush(struct db_run *r) {
    int rc = 0;

    while (rc == 0) {
        int left = PQflush(r->conn->pg);

        if (left < 0)
            return fail_broken(r, NULL);
        if (left == 0)
            return 0;
        rc = io_wait_level(r->io, r->conn->fd, IO_READ | IO_WRITE, r->deadline);
        if (rc == 0 && !PQconsumeInput(r->conn->pg)) /* the server may talk before it listens */
            return fail_broken(r, NULL);
    }
    return rc;
}

/* Bytes that have arrived on the connection since it was opened: TCP counts them. Of a unix socket
 * only what waits is known, which is less than what libpq reads at once. */
static uint64_t count_arrived(struct db_run *r) {
    struct tcp_info info = { .tcpi_bytes_received = 0 };
    socklen_t len = sizeof(info);
    int waiting = 0;

    if (getsockopt(r->conn->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0)
        return info.tcpi_bytes_received;
    if (ioctl(r->conn->fd, FIONREAD, &waiting) == 0)
        r->waited += (uint64_t)waiting;
    return r->waited;
}

/* Whether the row that is being received grows past all bounds: libpq makes room for all of it and
 * hands nothing over before. A row that fits into the first two reads cannot. */
static bool is_flooded(struct db_run *r) {
    uint64_t arrived;

    if (r->reads++ < 2)
        return false;
    arrived = count_arrived(r);
    if (r->reads == 3)
        r->row_began = arrived;
    return arrived - r->row_began > r->conn->config->result_bytes_max + SERVER_DB_UNPARSED_BYTES;
}

/* The next result, NULL after the last. Before a statement was sent nothing was readable (its
 * sender said `drained`), so the `first` wait needs no look at the kernel. */
static int next_result(struct db_run *r, bool first, PGresult **ret) {
    PGconn *pg = r->conn->pg;
    int rc;

    while (!r->blocks && PQisBusy(pg)) {
        rc = first ? io_wait(r->io, r->conn->fd, IO_READ, r->deadline)
                   : io_wait_level(r->io, r->conn->fd, IO_READ, r->deadline);
        if (rc < 0)
            return rc;
        r->waits++;
        if (is_flooded(r))
            return fail_too_large(r);
        if (!PQconsumeInput(pg))
            return fail_broken(r, NULL);
        first = false;
    }
    *ret = PQgetResult(pg);
    r->reads = 0;
    return 0;
}

/* --- results ---------------------------------------------------------------------------------- */

static void forget_prepared(struct db_conn *conn) {
    while (conn->prepared_count > 0)
        mem_free(conn->prepared[--conn->prepared_count].sql);
}

/* Makes room for `more` values. */
static int grow(struct rows *got, size_t more) {
    bool few = got->values == got->few;
    size_t cap = got->cap * 2 > got->count + more ? got->cap * 2 : got->count + more;
    struct slice *grown;

    if (got->count + more <= got->cap)
        return 0;
    grown = mem_realloc(few ? NULL : got->values, cap * sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    if (few)
        memcpy(grown, got->few, got->count * sizeof(*grown));
    got->values = grown;
    got->cap = cap;
    return 0;
}

static int keep_row(struct db_run *r, const PGresult *result, int row) {
    int columns = PQnfields(result);
    struct rows *got = &r->got;
    size_t bytes = 0;
    char *text;

    for (int i = 0; i < columns; i++)
        bytes += (size_t)PQgetlength(result, row, i) + 1;
    got->bytes += bytes + (size_t)columns * sizeof(*got->values);
    if (got->bytes > r->conn->config->result_bytes_max)
        return fail_too_large(r);
    if (bytes > SERVER_DB_BULK_BYTES)
        r->conn->bulky = true;
    text = arena_alloc(r->arena, bytes);
    if (text == NULL || grow(got, (size_t)columns) < 0)
        return fail_memory(r);
    for (int i = 0; i < columns; i++) {
        size_t len = (size_t)PQgetlength(result, row, i);
        bool null = PQgetisnull(result, row, i);

        got->values[got->count++] = null ? slice_of(NULL, 0) : slice_of(text, len);
        memcpy(text, PQgetvalue(result, row, i), len + 1); /* libpq ends values with a NUL */
        text += len + 1;
    }
    got->rows++;
    return 0;
}

static int take_result(struct db_run *r, PGresult *result) {
    ExecStatusType status = PQresultStatus(result);
    const char *tag = PQcmdStatus(result);
    int rc = 0;

    r->got.affected = strtoull(PQcmdTuples(result), NULL, 10); /* "" of others */

    if (status == PGRES_FATAL_ERROR)
        return fail_result(r, result);
    if (status == PGRES_SINGLE_TUPLE || status == PGRES_TUPLES_OK) {
        r->got.columns = (size_t)PQnfields(result);
        for (int row = 0; row < PQntuples(result) && rc == 0; row++)
            rc = keep_row(r, result, row);
        return rc;
    }
    if (status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY) {
        if (strcmp(tag, "DISCARD ALL") == 0 || strcmp(tag, "DEALLOCATE ALL") == 0)
            forget_prepared(r->conn);
        return 0;
    }
    r->conn->broken = true; /* nobody would feed it */
    r->failure->detail = "COPY is not for handlers";
    return -EREMOTEIO;
}

/* All results of what was sent; the first failure counts. */
static int collect(struct db_run *r) {
    PGresult *result = NULL;
    bool first = true;
    int rc = 0;

    while (!r->conn->broken) {
        int next = next_result(r, first, &result);

        if (next < 0)
            return rc < 0 ? rc : next;
        if (result == NULL) { /* bytes that come from here on are a new event */
            r->io->ops->drained(r->io, r->conn->fd, IO_READ);
            break;
        }
        if (rc == 0)
            rc = take_result(r, result);
        PQclear(result);
        first = false;
    }
    return rc;
}

/* --- one statement ---------------------------------------------------------------------------- */

static void forget_rows(struct db_run *r) {
    if (r->got.values != r->got.few)
        mem_free(r->got.values);
    r->got.values = r->got.few;
    r->got.cap = ARRAY_LEN(r->got.few);
    r->got.count = r->got.rows = r->got.columns = r->got.bytes = 0;
}

/* Brings what was `sent` to its end; the rows are in r->got. */
static int exchange(struct db_run *r, int sent) {
    int rc = 0;

    forget_rows(r);
    r->stale = false;
    if (!sent)
        rc = fail_broken(r, NULL);
    if (rc == 0 && !r->blocks)
        rc = flush(r);
    if (rc == 0)
        rc = collect(r);
    if (rc < 0 && r->patch.failed < 0) { /* libpq was told, and makes of it what it does */
        rc = r->patch.failed;
        *r->failure = (struct db_failure){ .detail = NULL };
    }
    if (rc == -ETIMEDOUT || rc == -ECANCELED)
        give_up(r);
    if (rc == -EREMOTEIO && r->conn->writes && strcmp(r->failure->sqlstate, "25006") == 0 &&
        became_read_only(r->conn->pg))
        r->conn->broken = true;
    return rc;
}

/* Makes the statement the last of those that the connection knows. */
static int prepare(struct db_run *r, const char *sql) {
    struct db_conn *conn = r->conn;
    struct prepared *p = &conn->prepared[conn->prepared_count];
    struct db_names *names = conn->config->names;
    int rc;

    snprintf(p->name, sizeof(p->name), "%s%u", names->prefix, atomic_fetch_add(&names->next, 1));
    rc = exchange(r, PQsendPrepare(conn->pg, p->name, sql, 0, NULL));
    if (rc < 0)
        return rc;
    p->sql = slice_dup(slice_str(sql));
    if (p->sql == NULL)
        return fail_memory(r);
    p->size = SIZE_UNKNOWN;
    conn->prepared_count++;
    return 0;
}

static unsigned find_prepared(const struct db_conn *conn, const char *sql) {
    unsigned i = 0;

    while (i < conn->prepared_count && strcmp(conn->prepared[i].sql, sql) != 0)
        i++;
    return i;
}

/* `named`: under its name, which it gets here if there is room for one more. */
static int execute(struct db_run *r, const struct db_statement *s, bool named) {
    struct db_conn *conn = r->conn;
    unsigned i = named ? find_prepared(conn, s->sql) : SERVER_DB_STATEMENTS_MAX;
    int n = (int)s->param_count, rc, sent;
    bool small;

    if (i == conn->prepared_count && i < SERVER_DB_STATEMENTS_MAX) {
        rc = prepare(r, s->sql);
        if (rc < 0)
            return rc;
    }
    r->io->ops->drained(r->io, conn->fd, IO_READ);
    if (i < SERVER_DB_STATEMENTS_MAX)
        sent = PQsendQueryPrepared(conn->pg, conn->prepared[i].name, n, s->params, NULL, NULL, 0);
    else
        sent = PQsendQueryParams(conn->pg, s->sql, n, NULL, s->params, NULL, NULL, 0);
    /* Row by row, which bounds the memory of large results, costs a tenth of a request's CPU. */
    small = i < conn->prepared_count && conn->prepared[i].size == SIZE_SMALL;
    r->waits = r->blocks ? 2 : 0;
    rc = exchange(r, sent && (small || PQsetSingleRowMode(conn->pg)));
    if (rc == 0 && i < conn->prepared_count && conn->prepared[i].size != SIZE_LARGE)
        conn->prepared[i].size = r->waits < 2 ? SIZE_SMALL : SIZE_LARGE;
    return rc;
}

/* 26000: nobody knows it; 42P05: somebody else has prepared under its name. */
static bool is_lost(const struct db_run *r) {
    return strcmp(r->failure->sqlstate, "26000") == 0 || strcmp(r->failure->sqlstate, "42P05") == 0;
}

/* A pooler gives each transaction another server connection: what was prepared on one is not there
 * on the next. Unless it is the statement that says so, which it does without a name, too. */
static int execute_lost(struct db_run *r, const struct db_statement *s) {
    struct db_conn *conn = r->conn;
    char state[DB_SQLSTATE_BYTES];
    int rc;

    memcpy(state, r->failure->sqlstate, sizeof(state));
    forget_prepared(conn);
    *r->failure = (struct db_failure){ .detail = NULL };
    rc = execute(r, s, false);
    if (rc == -EREMOTEIO && is_lost(r))
        return rc;
    if (!atomic_exchange(&conn->config->names->off, true))
        log_write(LOG_LEVEL_WARN,
                  "a prepared statement was lost, as behind a pooler: statements are not prepared "
                  "any more (--db-prepare off) sqlstate=%s",
                  state);
    return rc;
}

/* The plan of a prepared statement does not fit its tables any more: forgets it, here and there,
 * and prepares the statement anew. */
static int execute_stale(struct db_run *r, const struct db_statement *s) {
    struct db_conn *conn = r->conn;
    unsigned i = find_prepared(conn, s->sql);
    char text[64];
    int rc;

    snprintf(text, sizeof(text), "DEALLOCATE %s", conn->prepared[i].name);
    mem_free(conn->prepared[i].sql);
    conn->prepared[i] = conn->prepared[--conn->prepared_count];
    rc = exchange(r, PQsendQuery(conn->pg, text));
    *r->failure = (struct db_failure){ .detail = NULL };
    return rc < 0 && rc != -EREMOTEIO ? rc : execute(r, s, true);
}

static int keep_answer(struct db_run *r, struct db_answer *ret) {
    struct rows *got = &r->got;
    size_t room = got->count > got->columns ? got->count : got->columns;

    *ret =
        (struct db_answer){ .rows = got->rows, .columns = got->columns, .affected = got->affected };
    ret->values = arena_alloc(r->arena, (room > 0 ? room : 1) * sizeof(*ret->values));
    if (ret->values == NULL)
        return fail_memory(r);
    memset(ret->values, 0, (room > 0 ? room : 1) * sizeof(*ret->values));
    if (got->count > 0)
        memcpy(ret->values, got->values, got->count * sizeof(*ret->values));
    return 0;
}

int db_conn_run(struct db_conn *conn, struct io *io, struct arena *arena,
                const struct db_statement *statement, nsec_t deadline, struct db_answer *ret,
                struct db_failure *failure) {
    bool named = !statement->once && !atomic_load(&conn->config->names->off);
    struct db_run r = { conn, io, arena, deadline, failure, .blocks = conn->config->blocking };
    int rc;

    *failure = (struct db_failure){ .detail = NULL };
    run_begins(&r);
    rc = execute(&r, statement, named);
    if (rc == -EREMOTEIO && named && db_conn_usable(conn)) {
        if (is_lost(&r))
            rc = execute_lost(&r, statement);
        else if (r.stale)
            rc = execute_stale(&r, statement);
    }
    run_ends(&r);
    if (rc == 0)
        rc = keep_answer(&r, ret);
    forget_rows(&r);
    return rc;
}

int db_conn_command(struct db_conn *conn, struct io *io, struct arena *arena, const char *sql,
                    nsec_t deadline, struct db_failure *failure) {
    struct io_block block;
    struct db_run r = { conn, io, arena, deadline, failure, .blank = sql[0] == '\0' };
    int rc;

    *failure = (struct db_failure){ .detail = NULL };
    if (conn->config->blocking) {
        io_block_init(&block, -1);
        r.io = &block.io;
    }
    run_begins(&r);
    r.io->ops->drained(r.io, conn->fd, IO_READ);
    rc = exchange(&r, PQsendQuery(conn->pg, sql));
    run_ends(&r);
    forget_rows(&r);
    return rc;
}

/* --- opening and closing ---------------------------------------------------------------------- */

/* A connection in the making, for db_hosts. */
struct dial {
    const struct db_conn_config *config;
    struct arena *arena;
    struct db_failure *failure;
    const char *attrs; /* target_session_attrs, if not as the connection string says */
};

struct dialled {
    PGconn *pg;
    PostgresPollingStatusType wants;
};

static void log_notice(void *arg UNUSED, const char *message) {
    char text[512];

    escape_quoted(text, sizeof(text), first_line(message));
    log_write(LOG_LEVEL_DEBUG, "database says text=\"%s\"", text);
}

/* The reasons of several servers stand one after the other. */
static void dial_say(void *arg, const char *why) {
    struct dial *d = arg;
    const char *before = d->failure->detail;
    struct slice line = first_line(why);
    const char *all = arena_printf(d->arena, "%s%s%.*s", before != NULL ? before : "",
                                   before != NULL ? "; " : "", (int)line.len, line.ptr);

    if (all != NULL)
        d->failure->detail = all;
}

/* The last code counts. A server that starts or stops (57P03) is passed over, as in libpq. */
static int dial_refused(struct dial *d, PGconn *pg) {
    char state[DB_SQLSTATE_BYTES] = "";

    dial_say(d, PQerrorMessage(pg));
    find_sqlstate(PQerrorMessage(pg), state);
    if (state[0] == '\0')
        return -ECONNREFUSED;
    memcpy(d->failure->sqlstate, state, sizeof(state));
    return strcmp(state, "57P03") == 0 ? -ECONNREFUSED : -ECONNABORTED;
}

static void dial_end(void *arg UNUSED, void *conn) {
    PQfinish(((struct dialled *)conn)->pg);
}

/* Settings before dbname give way to the user's: a peer that is gone without a word is noticed
 * within a minute. */
static PGconn *start_pg(const struct dial *d, const struct db_host *host) {
    const char *keywords[] = { "keepalives_idle",
                               "keepalives_interval",
                               "keepalives_count",
                               "tcp_user_timeout",
                               "dbname",
                               "host",
                               "hostaddr",
                               "port",
                               "target_session_attrs",
                               "fallback_application_name",
                               NULL };
    const char *values[] = { "30",       "10",           "3",        "30000",  d->config->conninfo,
                             host->host, host->hostaddr, host->port, d->attrs, "srv",
                             NULL };

    return PQconnectStartParams(keywords, values, 1);
}

static int dial_begin(void *arg, const struct db_host *host, void **ret) {
    struct dial *d = arg;
    struct dialled *c = arena_alloc(d->arena, sizeof(*c));
    PGconn *pg = c != NULL ? start_pg(d, host) : NULL;
    int rc;

    if (pg == NULL)
        return -ENOMEM;
    if (PQstatus(pg) == CONNECTION_BAD) {
        rc = dial_refused(d, pg);
        PQfinish(pg);
        return rc;
    }
    PQsetErrorVerbosity(pg, PQERRORS_VERBOSE); /* for find_sqlstate */
    PQsetNoticeProcessor(pg, log_notice, NULL);
    *c = (struct dialled){ .pg = pg, .wants = PGRES_POLLING_WRITING };
    *ret = c;
    return 0;
}

static unsigned dial_wants(void *arg UNUSED, void *conn, int *ret_fd) {
    struct dialled *c = conn;

    *ret_fd = PQsocket(c->pg);
    return c->wants == PGRES_POLLING_READING ? IO_READ : IO_WRITE;
}

static int dial_step(void *arg, void *conn) {
    struct dialled *c = conn;

    c->wants = PQconnectPoll(c->pg);
    if (c->wants == PGRES_POLLING_OK)
        return 1;
    if (c->wants == PGRES_POLLING_FAILED || PQsocket(c->pg) < 0)
        return dial_refused(arg, c->pg);
    return 0;
}

/* The settings of the connection string and of libpq's environment. */
struct settings {
    PQconninfoOption *given, *defaults;
};

static int settings_read(const char *conninfo, struct settings *ret) {
    ret->given = PQconninfoParse(conninfo, NULL);
    ret->defaults = PQconndefaults();
    return ret->given == NULL || ret->defaults == NULL ? -ENOMEM : 0;
}

static void settings_free(struct settings *s) {
    PQconninfoFree(s->given);
    PQconninfoFree(s->defaults);
}

static const char *find_value(const PQconninfoOption *options, const char *keyword) {
    for (const PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++)
        if (strcmp(o->keyword, keyword) == 0 && is_given(o))
            return o->val;
    return NULL;
}

static const char *find_setting(const struct settings *s, const char *keyword) {
    const char *given = find_value(s->given, keyword);

    return given != NULL ? given : find_value(s->defaults, keyword);
}

/* Reads as libpq does: seconds, 2 at least; 0, less, and what is no number mean for ever. */
static nsec_t connect_span(const struct settings *s) {
    const char *text = find_setting(s, "connect_timeout");
    long seconds = text != NULL ? strtol(text, NULL, 10) : 0;

    if (seconds <= 0 || seconds > INT32_MAX)
        return NSEC_NEVER;
    return (seconds < 2 ? 2 : seconds) * NSEC_PER_SEC;
}

nsec_t db_conninfo_connect_span(const char *conninfo) {
    struct settings s;
    nsec_t span = settings_read(conninfo, &s) == 0 ? connect_span(&s) : NSEC_NEVER;

    settings_free(&s);
    return span;
}

/* A service in the connection string is libpq's to read, with the servers in it. */
static int list_hosts(const struct settings *s, struct dial *d, struct db_hosts *ret) {
    bool hidden = find_value(s->given, "service") != NULL && find_value(s->given, "host") == NULL &&
                  find_value(s->given, "hostaddr") == NULL;
    int rc = hidden ? db_hosts_parse(NULL, NULL, NULL, d->arena, ret)
                    : db_hosts_parse(find_setting(s, "host"), find_setting(s, "hostaddr"),
                                     find_setting(s, "port"), d->arena, ret);

    if (rc == -EINVAL)
        d->failure->detail = "its hosts, addresses and ports are not equally many, or too many";
    return rc;
}

/* prefer-standby means a standby, and if there is none any server. */
static int dial_all(struct dial *d, const struct settings *s, struct io *io, nsec_t deadline,
                    void **ret) {
    struct db_dial dial = { dial_begin, dial_wants, dial_step, dial_end, dial_say, d };
    const char *attrs = find_setting(s, "target_session_attrs");
    bool prefers = attrs != NULL && strcmp(attrs, "prefer-standby") == 0;
    struct db_hosts hosts;
    int rc;

    d->attrs = prefers ? "standby" : NULL;
    for (;;) {
        rc = list_hosts(s, d, &hosts);
        if (rc == 0)
            rc = db_hosts_dial(&hosts, &dial, io, d->arena, connect_span(s), deadline, ret);
        if (!prefers || (rc != -ECONNREFUSED && rc != -ETIMEDOUT) || clock_now() >= deadline)
            return rc == -ECONNREFUSED && d->failure->sqlstate[0] != '\0' ? -ECONNABORTED : rc;
        prefers = false;
        d->attrs = "any";
    }
}

static int conn_new(const struct db_conn_config *config, PGconn *pg, const struct settings *s,
                    struct db_conn **ret) {
    const char *attrs = find_setting(s, "target_session_attrs");
    struct db_conn *conn = mem_calloc(1, sizeof(*conn));

    if (conn == NULL || (!config->blocking && PQsetnonblocking(pg, 1) != 0)) {
        mem_free(conn);
        PQfinish(pg);
        return -ENOMEM;
    }
    conn->config = config;
    conn->pg = pg;
    conn->fd = PQsocket(pg);
    conn->writes =
        attrs != NULL && (strcmp(attrs, "read-write") == 0 || strcmp(attrs, "primary") == 0);
    *ret = conn;
    return 0;
}

int db_conn_open(const struct db_conn_config *config, struct io *io, struct arena *arena,
                 nsec_t deadline, struct db_conn **ret, struct db_failure *failure) {
    struct dial d = { .config = config, .arena = arena, .failure = failure };
    struct settings s;
    struct io_block block;
    struct patch patch;
    void *won = NULL;
    int rc = settings_read(config->conninfo, &s);

    *failure = (struct db_failure){ .detail = NULL };
    if (config->blocking) { /* the io that stops a loop, which is what PQconnectdb does */
        io_block_init(&block, -1);
        io = &block.io;
    }
    patch_enter(&patch, config->patches, &deadline, NULL);
    if (rc == 0)
        rc = dial_all(&d, &s, io, deadline, &won);
    patch_ended(&patch, config);
    if (rc < 0 && patch.failed < 0)
        rc = patch.failed;
    if (rc == 0)
        rc = conn_new(config, ((struct dialled *)won)->pg, &s, ret);
    settings_free(&s);
    return rc;
}

bool db_conn_usable(const struct db_conn *conn) {
    return !conn->broken && !conn->bulky && PQstatus(conn->pg) == CONNECTION_OK &&
           PQtransactionStatus(conn->pg) == PQTRANS_IDLE;
}

enum db_state db_conn_state(const struct db_conn *conn) {
    PGTransactionStatusType status = PQtransactionStatus(conn->pg);

    if (conn->broken || PQstatus(conn->pg) != CONNECTION_OK)
        return DB_STATE_LOST;
    return status == PQTRANS_IDLE      ? DB_STATE_NONE
           : status == PQTRANS_INTRANS ? DB_STATE_OPEN
           : status == PQTRANS_INERROR ? DB_STATE_FAILED
                                       : DB_STATE_LOST;
}

int db_conn_fd(const struct db_conn *conn) {
    return conn->fd;
}

void db_conn_close(struct db_conn *conn, struct io *io) {
    io->ops->forget(io, conn->fd);
    PQfinish(conn->pg);
    forget_prepared(conn);
    mem_free(conn);
}
