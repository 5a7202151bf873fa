/* SPDX-License-Identifier: MIT */
/* The pool: places, idle connections, validation, retry and back-off. */
#include "server/db.h"
#include "base/alloc.h"
#include "base/log.h"
#include "server/limits.h"
#include <errno.h>
#include <pthread.h>
#include <sys/queue.h>
#include <sys/socket.h>

struct pooled {
    struct db_conn *conn;
    bool reused; /* it has run a statement before */
    SLIST_ENTRY(pooled) link;
};

struct db {
    struct db_config config;
    struct db_conn_config conn_config;
    struct io_fiber *fiber_io;
    struct gate *gate;
    struct {
        pthread_mutex_t lock; /* of all below, when threads share it; free otherwise */
        SLIST_HEAD(, pooled) idle;
        nsec_t backoff, closed_until; /* no connect before that */
        struct db_failure last;       /* why; without its detail, which was in somebody's arena */
        int last_code;
        bool size_checked;
    } shared;
};

/* One db_run. */
struct call {
    struct db *db;
    struct io *io;
    struct arena *arena;
    const struct db_statement *statement;
    struct db_answer *answer;
    nsec_t deadline;
    struct pooled *pooled; /* the connection it has */
    enum db_step step;
    struct db_failure failure;
};

static void count(struct db *db, enum stats_value value, int amount) {
    stats_add(db->config.stats, value, amount);
}

struct db *db_new(const struct db_config *config, struct io_fiber *fiber_io) {
    struct db *db = mem_calloc(1, sizeof(*db));

    if (db == NULL)
        return NULL;
    db->config = *config;
    db->fiber_io = fiber_io;
    pthread_mutex_init(&db->shared.lock, NULL);
    SLIST_INIT(&db->shared.idle);
    db->gate = gate_new(config->pool, fiber_io);
    count(db, STATS_db_pool, (int)config->pool);
    db->conn_config = (struct db_conn_config){
        .conninfo = config->conninfo,
        .blocking = config->mode == DB_BLOCKING,
        .errands = errands_new(SERVER_DB_CANCELS_MAX),
    };
    if (db->gate == NULL || db->conn_config.errands == NULL) {
        db_free(db);
        return NULL;
    }
    return db;
}

/* --- idle connections --------------------------------------------------------------------------
 */

static struct pooled *pop(struct db *db) {
    struct pooled *p;

    pthread_mutex_lock(&db->shared.lock);
    p = SLIST_FIRST(&db->shared.idle);
    if (p != NULL) {
        SLIST_REMOVE_HEAD(&db->shared.idle, link);
        count(db, STATS_db_idle, -1);
    }
    pthread_mutex_unlock(&db->shared.lock);
    return p;
}

static void discard(struct pooled *p, struct io *io) {
    db_conn_close(p->conn, io);
    mem_free(p);
}

/* An idle server has nothing to say but goodbye. A loop knows already when it did. */
static bool is_quiet(const struct db *db, const struct pooled *p, struct io *io) {
    bool watched = db->fiber_io != NULL && db->config.mode == DB_COOPERATIVE;
    char byte;

    if (watched && !io->ops->ready(io, db_conn_fd(p->conn), IO_READ))
        return true;
    return recv(db_conn_fd(p->conn), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static struct pooled *take_idle(struct db *db, struct io *io) {
    struct pooled *p;

    while ((p = pop(db)) != NULL && !is_quiet(db, p, io)) {
        discard(p, io);
        count(db, STATS_db_dead, 1);
    }
    return p;
}

static void put_back(struct call *call) {
    struct db *db = call->db;
    struct pooled *p = call->pooled;

    call->pooled = NULL;
    if (db->config.per_request || !db_conn_usable(p->conn)) {
        discard(p, call->io);
        return;
    }
    p->reused = true;
    pthread_mutex_lock(&db->shared.lock);
    SLIST_INSERT_HEAD(&db->shared.idle, p, link);
    count(db, STATS_db_idle, 1);
    pthread_mutex_unlock(&db->shared.lock);
}

void db_free(struct db *db) {
    struct io_block block;
    struct pooled *p;

    if (db == NULL)
        return;
    io_block_init(&block, -1);
    while ((p = pop(db)) != NULL)
        discard(p, db->fiber_io != NULL ? io_fiber_io(db->fiber_io) : &block.io);
    errands_free(db->conn_config.errands, deadline_after(clock_now(), SERVER_DB_CLOSE_NSEC));
    gate_free(db->gate);
    pthread_mutex_destroy(&db->shared.lock);
    mem_free(db);
}

/* --- connecting --------------------------------------------------------------------------------
 */

/* While the server is down only one of many requests asks it again. 0, or the last failure. */
static int ask_backoff(struct call *call) {
    struct db *db = call->db;
    int rc = 0;

    pthread_mutex_lock(&db->shared.lock);
    if (io_now(call->io) < db->shared.closed_until) {
        call->failure = db->shared.last;
        rc = db->shared.last_code;
    } else if (db->shared.backoff > 0) { /* the one that tries */
        db->shared.closed_until = deadline_after(io_now(call->io), db->shared.backoff);
    }
    pthread_mutex_unlock(&db->shared.lock);
    return rc;
}

/* A server that is full is asked again at once: a connection may have become free. */
static void note_connect(struct call *call, int rc) {
    struct db *db = call->db;
    bool down = rc == -ECONNREFUSED || (rc == -ECONNABORTED && !db_is_full(call->failure.sqlstate));

    pthread_mutex_lock(&db->shared.lock);
    if (rc == 0) {
        count(db, STATS_db_connects, 1);
        db->shared.backoff = 0;
        db->shared.closed_until = 0;
    } else if (down) {
        db->shared.backoff = db->shared.backoff == 0
                                 ? SERVER_DB_BACKOFF_NSEC
                                 : nsec_min(db->shared.backoff * 2, SERVER_DB_BACKOFF_MAX_NSEC);
        db->shared.closed_until = deadline_after(clock_now(), db->shared.backoff);
        db->shared.last = call->failure;
        db->shared.last.detail = NULL;
        db->shared.last_code = rc;
    }
    pthread_mutex_unlock(&db->shared.lock);
}

static void advise_when_full(struct call *call) {
    const struct db_config *config = &call->db->config;
    const char *said = call->failure.detail;

    if (db_is_full(call->failure.sqlstate))
        call->failure.detail = arena_printf(
            call->arena, "%s; --db-pool %u times %u worker(s) is more than max_connections leaves",
            said != NULL ? said : "", config->pool, config->workers);
}

/* Says once, before it hurts, that all pools together may be refused. 0, or -errno when the
 * connection did not stand the question. */
static int check_size(struct call *call) {
    static const char sql[] = "SELECT current_setting('max_connections')::int - "
                              "current_setting('superuser_reserved_connections')::int";
    struct db *db = call->db;
    struct db_statement statement = { .sql = sql };
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

static int open_new(struct call *call) {
    struct db *db = call->db;
    struct db_conn *conn;
    int rc = ask_backoff(call);

    call->step = DB_STEP_CONNECT;
    if (rc < 0)
        return rc;
    call->pooled = mem_calloc(1, sizeof(*call->pooled));
    if (call->pooled == NULL)
        return -ENOMEM;
    rc = db_conn_open(&db->conn_config, call->io, call->arena, call->deadline, &conn,
                      &call->failure);
    note_connect(call, rc);
    if (rc < 0) {
        advise_when_full(call);
        mem_free(call->pooled);
        call->pooled = NULL;
        return rc;
    }
    call->pooled->conn = conn;
    rc = check_size(call);
    if (rc < 0)
        put_back(call);
    return rc;
}

/* --- running -----------------------------------------------------------------------------------
 */

/* Runs it on the connection it has, and gives that away. */
static int run_once(struct call *call) {
    struct db *db = call->db;
    nsec_t begin = clock_now();
    int rc;

    call->step = DB_STEP_RUN;
    rc = db_conn_run(call->pooled->conn, call->io, call->arena, call->statement, call->deadline,
                     call->answer, &call->failure);
    put_back(call);
    stats_observe(&db->config.stats->db_run, clock_now() - begin);
    if (rc == 0)
        count(db, STATS_db_statements, 1);
    else if (rc == -ETIMEDOUT || rc == -ECANCELED)
        count(db, STATS_db_cancelled, 1);
    return rc;
}

static int run_inside(struct call *call) {
    bool reused;
    int rc = 0;

    call->pooled = take_idle(call->db, call->io);
    reused = call->pooled != NULL && call->pooled->reused;
    if (call->pooled == NULL)
        rc = open_new(call);
    if (rc == 0)
        rc = run_once(call);
    if (rc != -EREMOTEIO || !reused || !db_says_goodbye(call->failure.sqlstate))
        return rc;
    count(call->db, STATS_db_retried, 1);
    rc = open_new(call);
    return rc < 0 ? rc : run_once(call);
}

static int wait_for_place(struct call *call) {
    struct db *db = call->db;
    nsec_t begin = clock_now();
    int rc;

    count(db, STATS_db_waiting, 1);
    rc = gate_enter(db->gate, call->io,
                    nsec_min(call->deadline, deadline_after(begin, db->config.wait)));
    count(db, STATS_db_waiting, -1);
    stats_observe(&db->config.stats->db_wait, clock_now() - begin);
    return rc;
}

int db_run(struct db *db, struct io *io, struct arena *arena, const struct db_statement *statement,
           nsec_t deadline, struct db_answer *ret, struct db_report *report) {
    struct call call = {
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
        gate_leave(db->gate);
    }
    if (rc == 0)
        return 0;
    count(db, STATS_db_failed, 1);
    *report = db_report_of(call.step, rc, &call.failure, arena);
    return rc;
}
