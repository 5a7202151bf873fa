/* SPDX-License-Identifier: MIT */
/* The calls of <srv/app.h> that wait: for a time, for other servers, and for PostgreSQL. */
#include "fiber/semaphore.h"
#include "http/chars.h"
#include "server/app/request.h"
#include "server/upstream/db.h"
#include "server/upstream/upstream.h"
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdarg.h>

/* --- time ---------------------------------------------------------------- */

/* Seconds as a span: 0 for less, and for what is no number; at most a century. */
static nsec_t span_of(double seconds) {
    if (!(seconds > 0))
        return 0;
    return seconds < 3e9 ? (nsec_t)(seconds * NSEC_PER_SEC) : 3000000000 * NSEC_PER_SEC;
}

int srv_sleep(struct srv_request *rq, double seconds) {
    nsec_t now = io_now(rq->io), until = deadline_after(now, span_of(seconds));
    int rc;

    if (rq->failed < 0)
        return rq->failed;
    request_does(rq, STATS_SLEEP, now);
    rc = io_sleep(rq->io, nsec_min(until, rq->deadline));
    request_does(rq, STATS_CPU, io_now(rq->io));
    if (rc == 0 && until > rq->deadline)
        rc = -ETIMEDOUT;
    return request_stick(rq, rc);
}

double srv_time_left(struct srv_request *rq) {
    nsec_t now = io_now(rq->io);

    if (rq->deadline == NSEC_NEVER)
        return HUGE_VAL;
    return rq->deadline > now ? (double)(rq->deadline - now) / NSEC_PER_SEC : 0;
}

void srv_set_deadline(struct srv_request *rq, double seconds) {
    rq->deadline = nsec_min(rq->deadline, deadline_after(io_now(rq->io), span_of(seconds)));
}

/* The client has closed its sending side, or more. */
static bool has_gone(struct srv_request *rq, nsec_t now) {
    struct session *s = rq->session;
    nsec_t doubt = session_probe_span(s);
    struct pollfd client = { .fd = s->fd, .events = POLLRDHUP };

    if (poll(&client, 1, 0) <= 0)
        return false;
    if (client.revents & (POLLERR | POLLHUP))
        return true;
    if (rq->probe_at == 0)
        rq->probe_at = deadline_after(now, doubt);
    if (now < rq->probe_at)
        return false;
    rq->probe_at = deadline_after(now, NSEC_PER_SEC);
    return !session_probe(s);
}

/* Whether the answer is still wanted, asked while nobody else looks at the client: 0, -ECANCELED,
 * -ETIMEDOUT. */
static int look(struct srv_request *rq) {
    nsec_t now = clock_now(); /* a loop's own clock stands still meanwhile */

    if (atomic_load(&rq->cancelled))
        return -ECANCELED;
    if (now >= rq->deadline)
        return -ETIMEDOUT;
    if (now - rq->looked_at < SERVER_WANTED_LOOK_NSEC)
        return 0;
    rq->looked_at = now;
    if (io_is_cancelled(rq->io))
        return -ECANCELED;
    return rq->session->fd >= 0 && has_gone(rq, now) ? -ECANCELED : 0;
}

bool srv_wanted(struct srv_request *rq) {
    int rc = rq->failed == -ECANCELED ? rq->failed : look(rq);

    request_stick(rq, rc);
    return rc == 0;
}

/* --- calls of other servers ---------------------------------------------- */

static const struct srv_response *respond(struct srv_request *rq, struct srv_response response) {
    static const struct srv_response empty = { -ENOMEM, 0, "", 0 };
    struct srv_response *ret = request_alloc(rq, sizeof(*ret));

    if (ret == NULL)
        return &empty;
    *ret = response;
    return ret;
}

static bool is_unreserved(char c) {
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

static bool may_be_in_target(char c) {
    return http_char_is(c, HTTP_CHAR_TARGET);
}

/* Percent-encodes the bytes that `stays` is not true of. */
static struct slice encode(struct srv_request *rq, struct slice text, bool (*stays)(char)) {
    static const char digits[] = "0123456789ABCDEF";
    size_t more = 0, len = 0;
    char *out;

    for (size_t i = 0; i < text.len; i++)
        more += stays(text.ptr[i]) ? 0 : 2;
    if (more == 0)
        return text;
    out = request_alloc(rq, text.len + more + 1);
    if (out == NULL)
        return SLICE("");
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];

        if (!stays(text.ptr[i])) {
            out[len++] = '%';
            out[len++] = digits[c >> 4];
            c = (unsigned char)digits[c & 15];
        }
        out[len++] = (char)c;
    }
    out[len] = '\0';
    return slice_of(out, len);
}

const char *srv_encode(struct srv_request *rq, const char *text) {
    struct slice plain = slice_str(text), encoded = encode(rq, plain, is_unreserved);

    return encoded.ptr == plain.ptr ? request_text(rq, plain) : encoded.ptr;
}

/* A place among the calls in progress. */
static int enter_upstream(struct srv_request *rq) {
    struct semaphore *semaphore = rq->session->worker->upstream_semaphore;
    int rc;

    if (semaphore == NULL)
        return 0;
    rc = semaphore_acquire(semaphore, rq->io, request_queues(rq));
    request_queued(rq, rc);
    return rc;
}

static void leave_upstream(struct srv_request *rq) {
    if (rq->session->worker->upstream_semaphore != NULL)
        semaphore_release(rq->session->worker->upstream_semaphore);
}

static int call_upstream(struct srv_request *rq, struct slice suffix, struct upstream_answer *ret) {
    const char *why = NULL;
    int rc;

    request_asks(rq);
    rc = upstream_get(rq->session->worker->upstream, rq->io, rq->arena, suffix, rq->deadline, ret,
                      &why);
    request_asked(rq, rc, why);
    return rc;
}

static int get_from_upstream(struct srv_request *rq, struct slice suffix,
                             struct upstream_answer *ret) {
    int rc;

    if (rq->session->worker->upstream == NULL)
        return -EDEADLK; /* under model event a call is begun, and nobody waits for it */
    request_waits_for_upstream(rq);
    rc = enter_upstream(rq);
    if (rc == 0) {
        rc = call_upstream(rq, suffix, ret);
        leave_upstream(rq);
    }
    return rc;
}

const struct srv_response *srv_get(struct srv_request *rq, const char *format, ...) {
    struct upstream_answer answer;
    struct slice suffix;
    va_list args;

    if (rq->failed == 0) {
        va_start(args, format);
        suffix = request_vformat(rq, format, args);
        va_end(args);
        if (http_span_target(suffix.ptr, suffix.len) < suffix.len)
            suffix = encode(rq, suffix, may_be_in_target);
    }
    if (rq->failed == 0)
        request_stick(rq, get_from_upstream(rq, suffix, &answer));
    if (rq->failed < 0)
        return respond(rq, (struct srv_response){ rq->failed, 0, "", 0 });
    return respond(rq, (struct srv_response){ .status = answer.status,
                                              .text = answer.body.ptr,
                                              .len = answer.body.len });
}

/* --- PostgreSQL ---------------------------------------------------------- */

/* Rows as srv_query hands them out, and the values behind them. */
struct query_result {
    struct srv_rows rows;
    const struct slice *values;
};

/* 0, or -errno as db_run; for the answer of a failure, what became of it stands in the request. */
static int run_statement(struct srv_request *rq, const struct db_statement *statement,
                         struct db_answer *ret, struct db_report *report) {
    struct db *db = rq->session->worker->db;
    nsec_t began = io_now(rq->io), ended;
    int rc;

    if (db == NULL)
        return -EDEADLK; /* the app has no database */
    request_does(rq, STATS_DATABASE, began);
    rc = db_run(db, rq->io, rq->arena, statement, rq->deadline, ret, report);
    ended = io_now(rq->io);
    request_does(rq, STATS_CPU, ended);
    if (!rq->is_part)
        rq->session->spent.database += ended - began;

    rq->status = report->status;
    rq->why = report->why;
    rq->detail = report->detail;
    return rc;
}

static const struct srv_rows *query(struct srv_request *rq, bool forgives, const char *sql,
                                    int count, va_list args) {
    static const struct query_result empty = { .rows = { .error = -ENOMEM, .sqlstate = "" } };
    size_t params_count = count > 0 ? (size_t)count : 0;
    struct query_result *q = request_alloc(rq, sizeof(*q));
    const char **params = request_alloc(rq, params_count * sizeof(*params));
    struct db_statement statement = { .sql = sql, .params = params, .param_count = params_count };
    struct db_answer answer = { .values = NULL };
    struct db_report report = { .why = NULL };

    if (q == NULL || params == NULL)
        return &empty.rows;
    *q = (struct query_result){ .rows = { .error = rq->failed, .sqlstate = "" } };
    if (rq->failed < 0)
        return &q->rows;
    for (size_t i = 0; i < params_count; i++)
        params[i] = va_arg(args, const char *);
    q->rows.error = run_statement(rq, &statement, &answer, &report);
    if (q->rows.error == -EREMOTEIO)
        q->rows.sqlstate = request_text(rq, slice_str(report.sqlstate));
    if (q->rows.error < 0 && !(forgives && q->rows.error == -EREMOTEIO))
        request_stick(rq, q->rows.error);
    if (q->rows.error < 0)
        return &q->rows;
    q->rows.rows = answer.rows;
    q->rows.columns = answer.columns;
    q->values = answer.values;
    return &q->rows;
}

const struct srv_rows *srv_query(struct srv_request *rq, const char *sql, int count, ...) {
    const struct srv_rows *rows;
    va_list args;

    va_start(args, count);
    rows = query(rq, false, sql, count, args);
    va_end(args);
    return rows;
}

const struct srv_rows *srv_try_query(struct srv_request *rq, const char *sql, int count, ...) {
    const struct srv_rows *rows;
    va_list args;

    va_start(args, count);
    rows = query(rq, true, sql, count, args);
    va_end(args);
    return rows;
}

static struct slice value_at(const struct srv_rows *rows, size_t row, size_t column) {
    const struct query_result *q = (const void *)rows; /* rows is its first member */

    return row < rows->rows && column < rows->columns ? q->values[row * rows->columns + column]
                                                      : slice_of(NULL, 0);
}

const char *srv_value(const struct srv_rows *rows, size_t row, size_t column) {
    struct slice value = value_at(rows, row, column);

    return value.ptr != NULL ? value.ptr : "";
}

bool srv_is_null(const struct srv_rows *rows, size_t row, size_t column) {
    return value_at(rows, row, column).ptr == NULL;
}
