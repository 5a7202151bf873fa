/* SPDX-License-Identifier: MIT */
/* The pool: places, idle connections, validation, retry and back-off; and what is told of its
 * failures. */
#include "server/upstream/db.h"
#include "base/alloc.h"
#include "base/escape.h"
#include "base/log.h"
#include "net/idle_pool.h"
#include "server/limits.h"
#include "server/upstream/db_cancels.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

struct pooled {
    struct idle idle;
    struct db_conn *conn;
    bool reused;    /* has run a statement before */
    nsec_t ends_at; /* the end of the lifetime */
};

struct db {
    struct db_config config;
    struct db_conn_config conn_config;
    struct db_names names;
    nsec_t probe_span; /* longest connect while the server is down */
    struct io_fiber *fiber_io;
    struct semaphore *semaphore; /* the places of the pool */
    struct semaphore
        *probe_semaphore;  /* a single place: for whoever connects while the server is down */
    struct idle_pool idle; /* holds pooled */
    atomic_uint held;      /* connections that have transactions */
    struct {
        pthread_mutex_t lock;         /* guards all below, when threads share it; free otherwise */
        nsec_t suspect_at;            /* connections that became idle until then may be dead */
        nsec_t backoff, closed_until; /* no connect before that; 0: the server is not down */
        nsec_t failed_at;             /* the last failed connect */
        nsec_t probed_at; /* the begin of the connect in progress to a server that is down, or 0 */
        struct db_failure last; /* the reason for being down; its detail stands apart: */
        char last_detail[SERVER_DB_DETAIL_BYTES_MAX + 1];
        int last_code;
        bool size_checked;
    } shared;
};

/* One db_run. */
struct db_call {
    struct db *db;
    struct io *io;
    struct arena *arena;
    const struct db_statement *statement;
    struct db_answer *answer;
    nsec_t deadline;
    struct pooled *pooled; /* the connection it has */
    bool holds;            /* the connection is kept after a statement that went well */
    enum db_step step;
    struct db_failure failure;
};

static void count(struct db *db, enum stats_value value, int amount) {
    stats_add(db->config.stats, value, amount);
}

/* --- what is told ----------------------------------------------------------------------------- */

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
    if (code == -EMSGSIZE)
        return (struct verdict){ 500, "the result of the statement is too large" };
    if (strcmp(sqlstate, "57014") ==
        0) /* the server's statement_timeout: we do not wait after ours */
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

    memcpy(report.sqlstate, failure->sqlstate, sizeof(report.sqlstate));
    escape_quoted(said, sizeof(said), slice_str(failure->detail));
    if (failure->sqlstate[0] != '\0')
        report.detail = arena_printf(arena, "sqlstate=%s error=\"%s\"", failure->sqlstate, said);
    else if (said[0] != '\0')
        report.detail = arena_printf(arena, "error=\"%s\"", said);
    return report;
}

/* --- idle connections ------------------------------------------------------------------------- */

/* For closing: that of the loop, which knows the descriptors, or any. */
static struct io *closing_io(struct db *db, struct io_block *block) {
    if (db->fiber_io != NULL)
        return io_fiber_io(db->fiber_io);
    io_block_init(block, -1);
    return &block->io;
}

static void discard(struct pooled *p, struct io *io) {
    db_conn_close(p->conn, io);
    mem_free(p);
}

static void discard_idle(struct idle_pool *pool, struct idle *idle) {
    struct db *db = CONTAINER_OF(pool, struct db, idle);
    struct io_block block;

    count(db, STATS_db_idle, -1);
    discard(CONTAINER_OF(idle, struct pooled, idle), closing_io(db, &block));
}

/* The last used, and whether the likes of it were found dead; or NULL. */
static struct pooled *pop(struct db *db, nsec_t now, bool *ret_suspect) {
    struct idle *idle = idle_pool_take(&db->idle, now);

    if (idle == NULL)
        return NULL;
    count(db, STATS_db_idle, -1);
    pthread_mutex_lock(&db->shared.lock);
    *ret_suspect = idle->since <= db->shared.suspect_at;
    pthread_mutex_unlock(&db->shared.lock);
    return CONTAINER_OF(idle, struct pooled, idle);
}

/* An idle server has nothing to say but goodbye. A loop knows already when it did. */
static bool is_quiet(const struct db *db, const struct pooled *p, struct io *io) {
    bool watched = db->fiber_io != NULL && db->config.mode == DB_COOPERATIVE;

    if (watched && !io->ops->ready(io, db_conn_fd(p->conn), IO_READ))
        return true;
    return idle_socket_is_quiet(db_conn_fd(p->conn));
}

static int command(struct db_call *call, const char *sql, nsec_t deadline,
                   struct db_failure *failure) {
    return db_conn_command(call->pooled->conn, call->io, call->arena, sql,
                           nsec_min(deadline, deadline_after(clock_now(), SERVER_DB_COMMAND_NSEC)),
                           failure);
}

/* Whether the connection that it has lives: 0, or -ENOTCONN. One that was idle for long may have
 * been forgotten on the way: then nothing arrives any more, not even a refusal, and that goes for
 * its likes. -ECANCELED, -ETIMEDOUT: the request has no time to find out. */
static int check_alive(struct db_call *call, bool suspect) {
    struct pooled *p = call->pooled;
    int rc;

    if (!is_quiet(call->db, p, call->io))
        return -ENOTCONN;
    if (!suspect && io_now(call->io) - p->idle.since < SERVER_DB_TRUST_NSEC)
        return 0;
    call->step = DB_STEP_RUN;
    rc = command(call, "", call->deadline, &call->failure);
    if (rc == 0 && db_conn_usable(p->conn))
        return 0;
    if (rc == -ECANCELED || (rc == -ETIMEDOUT && clock_now() >= call->deadline))
        return rc;
    if (rc == -ETIMEDOUT)
        count(call->db, STATS_db_dead, (int)idle_pool_drop(&call->db->idle, p->idle.since));
    return -ENOTCONN;
}

/* 0 with a connection that lives, or with none; -ECANCELED, -ETIMEDOUT. */
static int take_idle(struct db_call *call) {
    struct db *db = call->db;
    bool suspect = false;
    int rc = -ENOTCONN;

    while (rc == -ENOTCONN && (call->pooled = pop(db, io_now(call->io), &suspect)) != NULL) {
        rc = check_alive(call, suspect);
        if (rc == 0)
            return 0;
        discard(call->pooled, call->io);
        call->pooled = NULL;
        count(db, STATS_db_dead, 1);
    }
    return rc == -ENOTCONN ? 0 : rc;
}

/* Whether it is as good as new: its transaction has ended, and --db-reset went well. */
static bool is_clean(struct db_call *call) {
    static struct log_rate rate = { .per_second = 1 };
    const char *reset = call->db->config.reset;
    struct db_failure failure;
    char why[512];
    int rc;

    if (!db_conn_usable(call->pooled->conn))
        return false;
    if (reset == NULL || reset[0] == '\0')
        return true;
    rc = command(call, reset, NSEC_NEVER, &failure);
    if (rc < 0 && rc != -ECANCELED) {
        escape_quoted(why, sizeof(why),
                      slice_str(failure.detail != NULL ? failure.detail : strerrordesc_np(-rc)));
        log_limited(&rate, LOG_LEVEL_WARN,
                    "--db-reset failed, the connection is closed error=\"%s\"", why);
    }
    return rc == 0 && db_conn_usable(call->pooled->conn);
}

static void put_back(struct db_call *call) {
    struct db *db = call->db;
    struct pooled *p = call->pooled;
    bool keeps = !db->config.per_request && is_clean(call);

    call->pooled = NULL;
    p->reused = true;
    p->idle.since = io_now(call->io);
    if (!keeps) {
        discard(p, call->io);
        return;
    }
    count(db, STATS_db_idle, 1);
    idle_pool_put(&db->idle, &p->idle, p->idle.since, p->ends_at);
}

/* --- life ------------------------------------------------------------------------------------- */

/* Unlike those of any other process. */
static void names_init(struct db_names *names, bool off) {
    unsigned random = (unsigned)clock_now();
    ssize_t n = getrandom(&random, sizeof(random), GRND_NONBLOCK);

    (void)n; /* without it the clock has to do */
    snprintf(names->prefix, sizeof(names->prefix), "srv_%d_%08x_", (int)getpid(), random);
    atomic_init(&names->next, 0);
    atomic_init(&names->off, off);
}

struct db *db_new(const struct db_config *config, struct io_fiber *fiber_io) {
    struct db *db = mem_calloc(1, sizeof(*db));
    struct idle_pool_config idle = {
        .count_max = config->pool,
        .span_max = config->idle > 0 ? config->idle : NSEC_NEVER,
        .close = discard_idle,
        .loop = fiber_io != NULL ? io_fiber_loop(fiber_io) : NULL,
        .reaps = true,
    };
    nsec_t connect_span = db_conninfo_connect_span(config->conninfo);

    if (db == NULL)
        return NULL;
    db->config = *config;
    db->fiber_io = fiber_io;
    db->probe_span = connect_span != NSEC_NEVER && connect_span > SERVER_DB_PROBE_NSEC
                         ? connect_span
                         : SERVER_DB_PROBE_NSEC;
    idle_pool_init(&db->idle, &idle);
    pthread_mutex_init(&db->shared.lock, NULL);
    db->shared.suspect_at = -1;
    db->semaphore = semaphore_new(config->pool, fiber_io);
    db->probe_semaphore = semaphore_new(1, fiber_io);
    count(db, STATS_db_pool, (int)config->pool);
    names_init(&db->names, config->unprepared);
    db->conn_config = (struct db_conn_config){
        .conninfo = config->conninfo,
        .blocking = config->mode != DB_COOPERATIVE,
        .patches = config->mode == DB_PATCHED ? config->patches : NULL,
        .stats = config->stats,
        .result_bytes_max = config->result_bytes_max,
        .cancel = db_cancels_add,
        .cancel_arg = db_cancels_new(),
        .names = &db->names,
    };
    if (db->semaphore == NULL || db->probe_semaphore == NULL ||
        db->conn_config.cancel_arg == NULL) {
        db_free(db);
        return NULL;
    }
    return db;
}

void db_retire(struct db *db) {
    if (db != NULL)
        idle_pool_shut(&db->idle);
}

void db_free(struct db *db) {
    if (db == NULL)
        return;
    idle_pool_end(&db->idle);
    db_cancels_free(db->conn_config.cancel_arg, deadline_after(clock_now(), SERVER_DB_CLOSE_NSEC));
    semaphore_free(db->semaphore);
    semaphore_free(db->probe_semaphore);
    pthread_mutex_destroy(&db->shared.lock);
    mem_free(db);
}

/* --- connecting ------------------------------------------------------------------------------- */

/* Under the lock. */
static int fail_again(struct db_call *call) {
    const struct db *db = call->db;

    call->failure = db->shared.last;
    call->failure.detail = arena_dup(call->arena, slice_str(db->shared.last_detail));
    return db->shared.last_code;
}

/* 0: connect. 1: the server is down and to be asked again, by one at a time; wait for it until
 * *ret_until at most. -errno: not now, for the reason of the last failure. */
static int ask_backoff(struct db_call *call, nsec_t *ret_until) {
    struct db *db = call->db;
    nsec_t now = io_now(call->io);
    int rc = 0;

    pthread_mutex_lock(&db->shared.lock);
    if (db->shared.backoff > 0) {
        nsec_t began = db->shared.probed_at > 0 ? db->shared.probed_at : now;

        *ret_until = deadline_after(began, SERVER_DB_PROBE_WAIT_NSEC);
        rc = now < db->shared.closed_until || now >= *ret_until ? fail_again(call) : 1;
    }
    pthread_mutex_unlock(&db->shared.lock);
    return rc;
}

/* A server that is full is not down, nor is one that had no time to answer. */
static bool is_down(const struct db_call *call, int rc, nsec_t took) {
    if (rc == -ECONNABORTED)
        return !db_is_full(call->failure.sqlstate);
    if (rc == -ETIMEDOUT)
        return took >= nsec_min(call->db->config.run, SERVER_DB_HOST_NSEC);
    return rc == -ECONNREFUSED || rc == -ENOENT;
}

static void note_connect(struct db_call *call, int rc, nsec_t began) {
    struct db *db = call->db;
    const char *detail = call->failure.detail;
    nsec_t now = clock_now(), backoff;

    pthread_mutex_lock(&db->shared.lock);
    if (rc == 0) {
        count(db, STATS_db_connects, 1);
        db->shared.backoff = 0;
    } else if (is_down(call, rc, now - began)) {
        backoff = db->shared.backoff;
        if (backoff == 0)
            backoff = SERVER_DB_BACKOFF_NSEC;
        else if (began >= db->shared.failed_at) /* not one of several at once */
            backoff = nsec_min(backoff * 2, SERVER_DB_BACKOFF_MAX_NSEC);
        db->shared.backoff = backoff;
        db->shared.closed_until = deadline_after(now, backoff);
        db->shared.failed_at = now;
        db->shared.last = call->failure;
        snprintf(db->shared.last_detail, sizeof(db->shared.last_detail), "%s",
                 detail != NULL ? detail : "");
        db->shared.last_code = rc;
    }
    pthread_mutex_unlock(&db->shared.lock);
}

static int connect_now(struct db_call *call, nsec_t deadline, struct db_conn **ret) {
    nsec_t began = clock_now();
    int rc =
        db_conn_open(&call->db->conn_config, call->io, call->arena, deadline, ret, &call->failure);

    note_connect(call, rc, began);
    return rc;
}

static void set_probed(struct db *db, nsec_t at) {
    pthread_mutex_lock(&db->shared.lock);
    db->shared.probed_at = at;
    pthread_mutex_unlock(&db->shared.lock);
}

/* The server is down: one asks it, and who waits for that follows when it is up again. */
static int connect_in_turn(struct db_call *call, nsec_t until, struct db_conn **ret) {
    struct db *db = call->db;
    nsec_t now;
    int rc = semaphore_acquire(db->probe_semaphore, call->io, nsec_min(until, call->deadline));

    if (rc == -ETIMEDOUT) {
        pthread_mutex_lock(&db->shared.lock);
        rc = fail_again(call);
        pthread_mutex_unlock(&db->shared.lock);
    }
    if (rc < 0)
        return rc;
    rc = ask_backoff(call, &until);
    if (rc > 0) {
        now = io_now(call->io);
        set_probed(db, now);
        rc = connect_now(call, nsec_min(call->deadline, deadline_after(now, db->probe_span)), ret);
        set_probed(db, 0);
        semaphore_release(db->probe_semaphore);
        return rc;
    }
    semaphore_release(db->probe_semaphore);
    return rc < 0 ? rc : connect_now(call, call->deadline, ret);
}

static void advise_when_full(struct db_call *call) {
    const struct db_config *config = &call->db->config;
    const char *said = call->failure.detail;

    if (db_is_full(call->failure.sqlstate))
        call->failure.detail = arena_printf(
            call->arena, "%s; --db-pool %u times %u worker(s) is more than max_connections leaves",
            said != NULL ? said : "", config->pool, config->workers);
}

/* Says once, before it hurts, that all pools together may be refused. 0, or -errno when the
 * connection did not stand the question. */
static int check_size(struct db_call *call) {
    static const char sql[] = "SELECT current_setting('max_connections')::int - "
                              "current_setting('superuser_reserved_connections')::int";
    struct db *db = call->db;
    struct db_statement statement = { .sql = sql, .once = true };
    struct db_answer answer;
    uint64_t most, wanted = (uint64_t)db->config.pool * db->config.workers;
    bool first;
    int rc;

    pthread_mutex_lock(&db->shared.lock);
    first = !db->shared.size_checked;
    db->shared.size_checked = true;
    pthread_mutex_unlock(&db->shared.lock);
    if (!first)
        return 0;
    rc = db_conn_run(call->pooled->conn, call->io, call->arena, &statement, call->deadline, &answer,
                     &call->failure);
    if (rc == 0 && answer.rows == 1 && slice_parse_u64(answer.values[0], UINT32_MAX, &most) == 0 &&
        wanted > most)
        log_write(LOG_LEVEL_WARN,
                  "database pool may be refused: pool=%u workers=%u max_connections leaves %llu",
                  db->config.pool, db->config.workers, (unsigned long long)most);
    return rc == -EREMOTEIO && db_conn_usable(call->pooled->conn) ? 0 : rc;
}

/* Not all at once: up to a tenth earlier. */
static nsec_t end_of_life(nsec_t born, nsec_t lifetime) {
    return timeout_after(born, lifetime > 0 ? lifetime - born % (lifetime / 10 + 1) : 0);
}

static int open_new(struct db_call *call) {
    struct db *db = call->db;
    struct db_conn *conn;
    nsec_t until;
    int rc;

    call->step = DB_STEP_CONNECT;
    call->pooled = mem_calloc(1, sizeof(*call->pooled));
    if (call->pooled == NULL)
        return -ENOMEM;
    rc = ask_backoff(call, &until);
    if (rc == 0)
        rc = connect_now(call, call->deadline, &conn);
    else if (rc > 0)
        rc = connect_in_turn(call, until, &conn);
    if (rc < 0) {
        mem_free(call->pooled);
        call->pooled = NULL;
        return rc;
    }
    call->pooled->conn = conn;
    call->pooled->ends_at = end_of_life(clock_now(), db->config.lifetime);
    rc = check_size(call);
    if (rc < 0)
        put_back(call);
    return rc;
}

/* An idle connection, or a new one; `fresh`: a new one in any case. A server that is full may have
 * a place in a moment, or a connection of ours comes back. */
static int get_connection(struct db_call *call, bool fresh) {
    nsec_t until = deadline_after(io_now(call->io), SERVER_DB_FULL_NSEC);
    nsec_t now;
    int rc;

    for (;;) {
        rc = fresh ? 0 : take_idle(call);
        if (rc < 0 || call->pooled != NULL)
            return rc;
        rc = open_new(call);
        now = io_now(call->io);
        if (rc == 0 || !db_is_full(call->failure.sqlstate) ||
            now >= nsec_min(until, call->deadline))
            break;
        rc = io_sleep(call->io, deadline_after(now, SERVER_DB_FULL_PAUSE_NSEC));
        if (rc < 0)
            return rc;
    }
    if (rc < 0)
        advise_when_full(call);
    return rc;
}

/* --- running ---------------------------------------------------------------------------------- */

/* Whether a statement that failed on a connection that had been used before may run once more. */
static bool may_run_again(const struct db_call *call, int rc) {
    const char *state = call->failure.sqlstate;

    return rc == -EREMOTEIO && (db_says_goodbye(state) || (strcmp(state, "25006") == 0 &&
                                                           !db_conn_usable(call->pooled->conn)));
}

/* Connections that were idle for as long as the one that it has may be as dead. */
static void suspect(struct db_call *call) {
    struct db *db = call->db;

    pthread_mutex_lock(&db->shared.lock);
    if (call->pooled->idle.since > db->shared.suspect_at)
        db->shared.suspect_at = call->pooled->idle.since;
    pthread_mutex_unlock(&db->shared.lock);
}

/* Runs a statement on the connection that the call has. */
static int run_counted(struct db_call *call, const struct db_statement *statement, nsec_t deadline,
                       struct db_answer *ret) {
    struct db *db = call->db;
    nsec_t begin = clock_now();
    int rc;

    call->step = DB_STEP_RUN;
    rc = db_conn_run(call->pooled->conn, call->io, call->arena, statement, deadline, ret,
                     &call->failure);
    hist_shared_record(&db->config.stats->db_run, clock_now() - begin);
    if (rc == 0)
        count(db, STATS_db_statements, 1);
    else if (rc == -ETIMEDOUT || rc == -ECANCELED)
        count(db, STATS_db_cancelled, 1);
    return rc;
}

/* Runs it on the connection it has, and gives that away. */
static int run_once(struct db_call *call, bool *ret_again) {
    bool reused = call->pooled->reused;
    int rc = run_counted(call, call->statement, call->deadline, call->answer);

    *ret_again = reused && may_run_again(call, rc);
    if (reused && (rc == -ETIMEDOUT || rc == -ECONNRESET))
        suspect(call);
    if (!call->holds || rc < 0)
        put_back(call);
    return rc;
}

/* A server that cannot be written to any more is that for all connections. */
static int run_inside(struct db_call *call) {
    bool again = false;
    int rc = get_connection(call, false);

    if (rc == 0)
        rc = run_once(call, &again);
    if (!again)
        return rc;
    if (!db_says_goodbye(call->failure.sqlstate))
        idle_pool_drop(&call->db->idle, NSEC_NEVER);
    count(call->db, STATS_db_retried, 1);
    rc = get_connection(call, true);
    return rc < 0 ? rc : run_once(call, &again);
}

static int wait_for_place(struct db_call *call) {
    struct db *db = call->db;
    nsec_t begin = clock_now();
    int rc;

    count(db, STATS_db_waiting, 1);
    rc = semaphore_acquire(db->semaphore, call->io,
                           nsec_min(call->deadline, deadline_after(begin, db->config.wait)));
    count(db, STATS_db_waiting, -1);
    hist_shared_record(&db->config.stats->db_wait, clock_now() - begin);
    if (rc == -ETIMEDOUT && atomic_load(&db->held) > 0)
        call->failure.detail = arena_printf(call->arena, "%u of %u are held by transactions",
                                            atomic_load(&db->held), db->config.pool);
    return rc;
}

int db_run(struct db *db, struct io *io, struct arena *arena, const struct db_statement *statement,
           nsec_t deadline, struct db_answer *ret, struct db_report *report) {
    struct db_call call = {
        .db = db,
        .io = io,
        .arena = arena,
        .statement = statement,
        .answer = ret,
        .deadline = deadline,
        .step = DB_STEP_WAIT,
    };
    int rc = wait_for_place(&call);

    if (rc == 0) {
        call.deadline = nsec_min(deadline, deadline_after(clock_now(), db->config.run));
        count(db, STATS_db_in_use, 1);
        rc = run_inside(&call);
        count(db, STATS_db_in_use, -1);
        semaphore_release(db->semaphore);
    }
    if (rc == 0)
        return 0;
    count(db, STATS_db_failed, 1);
    *report = db_report_of(call.step, rc, &call.failure, arena);
    return rc;
}

/* --- transactions ----------------------------------------------------------------------------- */

struct db_transaction {
    struct db_call call;
};

static int report(struct db_call *call, int rc, struct db_report *ret) {
    if (rc == 0)
        return 0;
    count(call->db, STATS_db_failed, 1);
    *ret = db_report_of(call->step, rc, &call->failure, call->arena);
    return rc;
}

int db_begin(struct db *db, struct io *io, struct arena *arena, nsec_t deadline,
             struct db_transaction **ret, struct db_report *ret_report) {
    static const struct db_statement begin = { .sql = "BEGIN", .once = true };
    struct db_transaction *t = arena_alloc(arena, sizeof(*t));
    struct db_answer answer;
    int rc;

    if (t == NULL)
        return -ENOMEM;
    t->call = (struct db_call){ .db = db,
                                .io = io,
                                .arena = arena,
                                .statement = &begin,
                                .answer = &answer,
                                .deadline = deadline,
                                .holds = true,
                                .step = DB_STEP_WAIT };
    rc = wait_for_place(&t->call);
    if (rc < 0)
        return report(&t->call, rc, ret_report);
    t->call.deadline = nsec_min(deadline, deadline_after(clock_now(), db->config.run));
    count(db, STATS_db_in_use, 1);
    rc = run_inside(&t->call);
    if (rc < 0) {
        count(db, STATS_db_in_use, -1);
        semaphore_release(db->semaphore);
        return report(&t->call, rc, ret_report);
    }
    atomic_fetch_add(&db->held, 1);
    *ret = t;
    return 0;
}

static int refuse_state(struct db_call *call, const char *sqlstate, const char *detail) {
    memcpy(call->failure.sqlstate, sqlstate, DB_SQLSTATE_BYTES);
    call->failure.detail = detail;
    return -EREMOTEIO;
}

static int run_held(struct db_call *call, const struct db_statement *statement,
                    struct db_answer *ret) {
    nsec_t span = call->db->config.run;

    call->step = DB_STEP_RUN;
    call->failure = (struct db_failure){ .detail = NULL };
    if (db_conn_state(call->pooled->conn) == DB_STATE_LOST)
        return -ECONNRESET;
    return run_counted(call, statement, nsec_min(call->deadline, deadline_after(clock_now(), span)),
                       ret);
}

int db_run_inside(struct db_transaction *t, struct io *io, const struct db_statement *statement,
                  nsec_t deadline, struct db_answer *ret, struct db_report *ret_report) {
    t->call.io = io;
    t->call.deadline = deadline;
    return report(&t->call, run_held(&t->call, statement, ret), ret_report);
}

int db_commit(struct db_transaction *t, struct io *io, nsec_t deadline,
              struct db_report *ret_report) {
    static const struct db_statement commit = { .sql = "COMMIT", .once = true };
    struct db_answer answer;
    int rc;

    t->call.io = io;
    t->call.deadline = deadline;
    t->call.step = DB_STEP_RUN;
    switch (db_conn_state(t->call.pooled->conn)) {
    case DB_STATE_NONE:
        rc = refuse_state(&t->call, "25P01", "a statement of the handler ended the transaction");
        break;
    case DB_STATE_FAILED:
        rc = refuse_state(&t->call, "25P02", "a statement of the transaction has failed");
        break;
    case DB_STATE_OPEN:
    case DB_STATE_LOST:
    default:
        rc = run_held(&t->call, &commit, &answer);
        break;
    }
    return report(&t->call, rc, ret_report);
}

bool db_is_open(const struct db_transaction *t) {
    enum db_state state = db_conn_state(t->call.pooled->conn);

    return state == DB_STATE_OPEN || state == DB_STATE_FAILED;
}

void db_leave(struct db_transaction *t, struct io *io, nsec_t deadline) {
    struct db *db = t->call.db;
    struct db_failure failure;

    t->call.io = io;
    if (clock_now() < deadline && db_is_open(t) &&
        command(&t->call, "ROLLBACK", deadline, &failure) < 0)
        log_write(LOG_LEVEL_DEBUG, "a rollback failed, the connection is closed");
    put_back(&t->call);
    atomic_fetch_sub(&db->held, 1);
    count(db, STATS_db_in_use, -1);
    semaphore_release(db->semaphore);
}
