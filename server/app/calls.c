/* SPDX-License-Identifier: MIT */
/* The calls of <srv/app.h> that wait: for a time, for other servers, and for PostgreSQL. */
#include "base/escape.h"
#include "base/log.h"
#include "fiber/patch.h"
#include "fiber/semaphore.h"
#include "http/chars.h"
#include "server/app/request.h"
#include "server/limits.h"
#include "server/upstream/db.h"
#include "server/upstream/upstream.h"
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>

/* --- time ---------------------------------------------------------------- */

nsec_t request_span(double seconds) {
    if (!(seconds > 0))
        return 0;
    return seconds < 3e9 ? (nsec_t)(seconds * NSEC_PER_SEC) : 3000000000 * NSEC_PER_SEC;
}

int srv_sleep(struct srv_request *rq, double seconds) {
    nsec_t now = io_now(rq->io), until = deadline_after(now, request_span(seconds));
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
    rq->deadline = nsec_min(rq->deadline, deadline_after(io_now(rq->io), request_span(seconds)));
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

/* A response as it is handed out, and the fields behind it. */
struct call_response {
    struct srv_response response;
    struct slice fields; /* raw lines; see srv_response_header */
};

static const struct call_response no_memory = { .response = { -ENOMEM, 0, "", 0 } };

/* The failure that sticks. */
static const struct srv_response *refuse(struct srv_request *rq) {
    struct call_response *ret = request_alloc(rq, sizeof(*ret));

    if (ret == NULL)
        return &no_memory.response;
    *ret = (struct call_response){ .response = { rq->failed, 0, "", 0 } };
    return &ret->response;
}

/* A place among the calls in progress. */
static int enter_upstream(struct srv_request *rq, struct semaphore *semaphore) {
    int rc;

    if (semaphore == NULL)
        return 0;
    rc = semaphore_acquire(semaphore, rq->io, request_queues(rq));
    request_queued(rq, rc);
    return rc;
}

/* Adds to what the log says of the failure. */
static void add_detail(struct srv_request *rq, const char *key, struct slice text) {
    const char *before = rq->detail != NULL ? rq->detail : "", *detail;
    char quoted[300];

    escape_quoted(quoted, sizeof(quoted), text);
    detail = request_format(rq, "%s%s%s=\"%s\"", before, before[0] != '\0' ? " " : "", key, quoted);
    rq->detail = detail != NULL ? detail : rq->detail;
}

static int take_origin(struct srv_request *rq, struct slice url, struct origin **ret) {
    struct origins *origins = rq->session->worker->origins;
    struct error *err = request_alloc(rq, sizeof(*err));
    int rc = err != NULL ? origins_take(origins, url, io_now(rq->io), ret, err) : -ENOMEM;

    if (rc == -EINVAL) {
        rq->status = 500;
        rq->why = "the handler called a URL that is none";
        rq->detail = NULL;
        add_detail(rq, "error", slice_str(err->text));
    }
    return rc;
}

static void leave_origin(struct srv_request *rq, struct slice url, struct origin *origin, int rc) {
    origins_give_back(rq->session->worker->origins, origin, io_now(rq->io));
    if (rc < 0)
        add_detail(rq, "upstream", url);
}

static int ask_server(struct srv_request *rq, struct slice url,
                      const struct upstream_request *request, struct upstream_answer *ret) {
    const struct worker *worker = rq->session->worker;
    struct semaphore *semaphore = worker->upstream_semaphore;
    struct upstream *upstream = worker->upstream;
    struct origin *origin = NULL;
    const char *why = NULL;
    int rc = upstream != NULL ? 0 : -EDEADLK; /* model event begins calls, and nobody waits */

    if (rc == 0 && url.len > 0) {
        rc = take_origin(rq, url, &origin);
        upstream = rc == 0 ? origin->upstream : NULL;
        semaphore = rc == 0 ? origin->semaphore : NULL;
    }
    if (rc < 0)
        return rc;
    request_waits_for_upstream(rq);
    rc = enter_upstream(rq, semaphore);
    if (rc == 0) {
        request_asks(rq);
        rc = upstream_ask(upstream, rq->io, rq->arena, request, rq->deadline, ret, &why);
        request_asked(rq, rc, why);
        if (semaphore != NULL)
            semaphore_release(semaphore);
    }
    if (origin != NULL)
        leave_origin(rq, url, origin, rc);
    return rc;
}

static bool has_field(const struct upstream_request *request, struct slice name) {
    for (size_t i = 0; i < request->field_count; i++)
        if (slice_eq_nocase(request->fields[i].name, name))
            return true;
    return false;
}

/* Adds the id of the request to a call of --upstream; other servers need not know it. NULL without
 * memory. */
static const struct upstream_request *with_id(struct srv_request *rq, struct slice name,
                                              const struct upstream_request *request) {
    struct upstream_request *ret = request_alloc(rq, sizeof(*ret));
    struct http_field *fields = request_alloc(rq, (request->field_count + 1) * sizeof(*fields));
    const char *id = srv_request_id(rq);

    if (ret == NULL || fields == NULL || rq->failed < 0)
        return NULL;
    if (request->field_count > 0)
        memcpy(fields, request->fields, request->field_count * sizeof(*fields));
    fields[request->field_count] = (struct http_field){ .name = name, .value = slice_str(id) };
    *ret = *request;
    ret->fields = fields;
    ret->field_count++;
    return ret;
}

static const struct srv_response *ask(struct srv_request *rq, struct slice url,
                                      const struct upstream_request *request) {
    struct slice id_field = slice_str(rq->session->worker->config->request_id_header);
    struct upstream_answer answer;
    struct call_response *ret;

    if (id_field.len > 0 && rq->failed == 0 && url.len == 0 && !has_field(request, id_field))
        request = with_id(rq, id_field, request);
    if (rq->failed < 0 || request_stick(rq, ask_server(rq, url, request, &answer)) < 0)
        return refuse(rq);
    ret = request_alloc(rq, sizeof(*ret));
    if (ret == NULL)
        return &no_memory.response;
    ret->response.error = 0;
    ret->response.status = answer.status;
    ret->response.text = answer.body.ptr;
    ret->response.len = answer.body.len;
    ret->fields = answer.fields;
    return &ret->response;
}

const struct srv_response *call_none(void) {
    static const struct call_response none = { .response = { -ECANCELED, 0, "", 0 } };

    return &none.response;
}

/* --- texts for URLs ------------------------------------------------------ */

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

static inline struct slice encode_target(struct srv_request *rq, struct slice target) {
    if (http_span_target(target.ptr, target.len) == target.len)
        return target;
    return encode(rq, target, may_be_in_target);
}

/* The length of scheme and host, for a URL that begins with a scheme; 0 for what is appended to the
 * URL of --upstream. */
static size_t origin_len(struct slice url) {
    size_t scheme = 0, end;

    if (slice_starts_with(url, SLICE("unix:")))
        return 5 + slice_find(slice_drop(url, 5), ':');
    if (slice_starts_with(url, SLICE("http://")))
        scheme = 7;
    else if (slice_starts_with(url, SLICE("https://")))
        scheme = 8;
    if (scheme == 0)
        return 0;
    for (end = scheme; end < url.len && strchr("/?#", url.ptr[end]) == NULL; end++)
        continue;
    return end;
}

/* Cuts it into scheme and host, or "", and what is asked for there. */
static struct slice cut_origin(struct srv_request *rq, struct slice url, struct slice *ret_target) {
    size_t len = origin_len(url);
    struct slice origin = slice_take(url, len), target = slice_drop(url, len);

    if (len > 0 && slice_starts_with(origin, SLICE("unix:")))
        target = slice_drop(target, 1); /* the colon */
    target = encode_target(rq, target);
    if (len > 0 && (target.len == 0 || target.ptr[0] != '/'))
        target = slice_str(srv_format(rq, "/%s", target.len > 0 ? request_text(rq, target) : ""));
    *ret_target = target;
    return origin;
}

/* --- GET ----------------------------------------------------------------- */

/* Whether an argument may choose the host: it does not stand in the format itself, up to the '/' or
 * '?' behind it. */
static bool leaves_host_open(const char *format) {
    struct slice text = slice_str(format);
    size_t len = origin_len(text);

    return memchr(format, '%', len) != NULL || (len < text.len && text.ptr[len] == '%');
}

static bool begins_with_scheme(const char *format) {
    return (format[0] == 'h' || format[0] == 'u') && origin_len(slice_str(format)) > 0;
}

const struct srv_response *srv_get(struct srv_request *rq, const char *format, ...) {
    struct upstream_request request = { .method = HTTP_METHOD_GET };
    struct slice text, url = SLICE("");
    bool absolute = begins_with_scheme(format);
    va_list args;

    if (rq->failed < 0)
        return refuse(rq);
    if (absolute && leaves_host_open(format))
        srv_fail(rq, 500, "the handler leaves the host of a call to an argument");
    va_start(args, format);
    text = request_vformat(rq, format, args);
    va_end(args);
    if (absolute)
        url = cut_origin(rq, text, &request.suffix);
    else
        request.suffix = encode_target(rq, text);
    return ask(rq, url, &request);
}

/* --- any request --------------------------------------------------------- */

/* Fields that frame the message or are of one connection: RFC 9112 section 6, RFC 9110 sections 7.6
 * and 10.1.1. */
static bool is_framing(struct slice name) {
    static const struct slice framing[] = {
        SLICE_INIT("Content-Length"),
        SLICE_INIT("Transfer-Encoding"),
        SLICE_INIT("Connection"),
        SLICE_INIT("Keep-Alive"),
        SLICE_INIT("Proxy-Connection"),
        SLICE_INIT("Upgrade"),
        SLICE_INIT("TE"),
        SLICE_INIT("Trailer"),
        SLICE_INIT("Expect"),
    };

    for (size_t i = 0; i < ARRAY_LEN(framing); i++)
        if (slice_eq_nocase(name, framing[i]))
            return true;
    return false;
}

static int take_field(struct srv_request *rq, struct slice name, struct slice value,
                      struct upstream_request *request, struct http_field *fields) {
    bool good = name.len > 0 && http_span(name.ptr, name.len, HTTP_CHAR_TOKEN) == name.len &&
                http_span_value(value.ptr, value.len) == value.len && !is_framing(name);

    if (!good)
        return srv_fail(rq, 500, "the handler made a call with a field that it may not have");
    if (slice_eq_nocase(name, SLICE("Host"))) {
        request->host = value;
        return 0;
    }
    if (request->field_count == SERVER_CALL_FIELDS_MAX)
        return srv_fail(rq, 500, "the handler made a call with more fields than it may have");
    fields[request->field_count++] = (struct http_field){ .name = name, .value = value };
    return 0;
}

static int take_fields(struct srv_request *rq, const char *const *headers,
                       struct upstream_request *request) {
    struct http_field *fields = request_alloc(rq, SERVER_CALL_FIELDS_MAX * sizeof(*fields));

    if (fields == NULL)
        return rq->failed;
    request->fields = fields;
    for (; headers[0] != NULL; headers += 2) {
        struct slice value = slice_str(headers[1] != NULL ? headers[1] : "");

        if (take_field(rq, slice_str(headers[0]), slice_trim(value), request, fields) < 0)
            return rq->failed;
    }
    return 0;
}

static int take_method(struct srv_request *rq, const char *text, struct upstream_request *request) {
    struct slice method = slice_str(text != NULL ? text : "GET");

    if (method.len == 0 || http_span(method.ptr, method.len, HTTP_CHAR_TOKEN) < method.len)
        return srv_fail(rq, 500, "the handler made a call with a method that is none");
    request->method = http_method_of(method);
    if (request->method == HTTP_METHOD_CONNECT)
        return srv_fail(rq, 500, "the handler made a call with CONNECT");
    if (request->method == HTTP_METHOD_OTHER)
        request->method_text = method;
    return 0;
}

/* Methods that mean something by a body say its length even when there is none (RFC 9110 section
 * 8.6). */
static bool means_body(enum http_method method) {
    return method == HTTP_METHOD_POST || method == HTTP_METHOD_PUT || method == HTTP_METHOD_PATCH;
}

static int take_body(struct srv_request *rq, const struct srv_call *call,
                     struct upstream_request *request) {
    if (call->len > SERVER_CALL_BODY_BYTES_MAX) {
        rq->status = 500;
        rq->why = "the body of a call is too large";
        return request_stick(rq, -EMSGSIZE);
    }
    if (call->len > 0 && request->method == HTTP_METHOD_HEAD)
        return srv_fail(rq, 500, "the handler made a call of HEAD with a body");
    if (call->len > 0)
        request->body = slice_of(call->body, call->len);
    else if (means_body(request->method))
        request->body = SLICE("");
    return 0;
}

/* The members that the object knows of, and zeros for later ones; of members later than this srv
 * none may be set. */
static int read_call(struct srv_request *rq, const struct srv_call *given, struct srv_call *ret) {
    const char *bytes = (const char *)given;

    *ret = (struct srv_call){ .size = sizeof(*ret) };
    if (given->size < offsetof(struct srv_call, retry) + sizeof(ret->retry))
        return srv_fail(rq, 500, "the handler made a call without its size");
    for (size_t i = sizeof(*ret); i < given->size; i++)
        if (bytes[i] != 0)
            return srv_fail(rq, 500, "the handler's call needs a later srv");
    memcpy(ret, given, given->size < sizeof(*ret) ? given->size : sizeof(*ret));
    return 0;
}

/* The span for which a call may take; 0: the usual one. */
static nsec_t call_span(double seconds) {
    if (!(seconds > 0))
        return 0;
    return seconds < 3e9 ? (nsec_t)(seconds * NSEC_PER_SEC) + 1 : NSEC_NEVER;
}

const struct srv_response *srv_fetch(struct srv_request *rq, const struct srv_call *given) {
    struct upstream_request request = { .method = HTTP_METHOD_GET };
    struct srv_call call;
    struct slice url;
    int rc = rq->failed;

    if (rc == 0)
        rc = read_call(rq, given, &call);
    if (rc == 0)
        rc = take_method(rq, call.method, &request);
    if (rc == 0)
        rc = take_body(rq, &call, &request);
    if (rc == 0 && call.headers != NULL)
        rc = take_fields(rq, call.headers, &request);
    if (rc < 0)
        return refuse(rq);
    request.timeout = call_span(call.timeout);
    request.retries = call.retry;
    url = cut_origin(rq, slice_str(call.url != NULL ? call.url : ""), &request.suffix);
    return ask(rq, url, &request);
}

const struct srv_response *srv_post(struct srv_request *rq, const char *url, const char *type,
                                    const void *body, size_t len) {
    const char *headers[] = { "Content-Type", type, NULL };
    struct srv_call call = {
        .size = sizeof(call), .method = "POST", .url = url, .body = body, .len = len
    };

    if (type != NULL && type[0] != '\0')
        call.headers = headers;
    return srv_fetch(rq, &call);
}

/* --- responses ----------------------------------------------------------- */

/* Ends the value with NUL where its line ends, once and for all: a blank, or the line's CR. */
const char *srv_response_header(const struct srv_response *response, const char *name,
                                const char *otherwise) {
    const struct call_response *r = (const void *)response; /* response is its first member */
    struct slice rest = r->fields, wanted = slice_str(name);

    while (rest.len > 0) {
        struct slice line = slice_cut(&rest, '\n');
        size_t colon = slice_find(line, ':');
        const char *value = line.ptr + colon + 1, *end = line.ptr + line.len;

        if (colon == line.len || !slice_eq_nocase(slice_take(line, colon), wanted))
            continue;
        while (value < end && (*value == ' ' || *value == '\t'))
            value++;
        while (end > value &&
               (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r' || end[-1] == 0))
            end--;
        if (*end != '\0')
            *(char *)(uintptr_t)end = '\0';
        return value;
    }
    return otherwise;
}

/* --- PostgreSQL ---------------------------------------------------------- */

/* Rows as srv_query hands them out, and the values behind them. */
struct query_result {
    struct srv_rows rows;
    const struct slice *values;
    uint64_t affected;
};

/* Ends the wait for the database, with what it reports. */
static void has_queried(struct srv_request *rq, nsec_t began, const struct db_report *report) {
    nsec_t ended = request_now(rq);

    request_does(rq, STATS_CPU, ended);
    if (!rq->is_part)
        rq->session->spent.database += ended - began;
    rq->status = report->status;
    rq->why = report->why;
    rq->detail = report->detail;
    memcpy(rq->sqlstate, report->sqlstate, sizeof(rq->sqlstate));
}

/* 0, or -errno as db_run; for the answer of a failure, what became of it stands in the request. */
static int run_statement(struct srv_request *rq, const struct db_statement *statement,
                         struct db_answer *ret, struct db_report *report) {
    struct db *db = rq->session->worker->db;
    nsec_t began = request_now(rq);
    struct patch *paused; /* the driver waits in its own way */
    int rc;

    if (db == NULL)
        return -EDEADLK; /* the app has no database */
    request_does(rq, STATS_DATABASE, began);
    paused = patch_pause();
    if (rq->transaction != NULL)
        rc = db_run_inside(rq->transaction, rq->io, statement, rq->deadline, ret, report);
    else
        rc = db_run(db, rq->io, rq->arena, statement, rq->deadline, ret, report);
    patch_resume(paused);
    has_queried(rq, began, report);
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
    q->affected = answer.affected;
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

uint64_t srv_affected(const struct srv_rows *rows) {
    const struct query_result *q = (const void *)rows;

    return rows->error == 0 ? q->affected : 0;
}

const char *srv_sqlstate(const struct srv_request *rq) {
    return rq->sqlstate;
}

/* --- transactions -------------------------------------------------------- */

int srv_begin_transaction(struct srv_request *rq) {
    struct db *db = rq->session->worker->db;
    struct db_report report = { .why = NULL };
    nsec_t began = request_now(rq);
    struct patch *paused;
    int rc;

    if (rq->failed < 0)
        return rq->failed;
    if (db == NULL)
        return request_stick(rq, -EDEADLK);
    if (rq->transaction != NULL)
        return srv_fail(rq, 500, "the handler began a transaction inside another one");
    request_does(rq, STATS_DATABASE, began);
    paused = patch_pause();
    rc = db_begin(db, rq->io, rq->arena, rq->deadline, &rq->transaction, &report);
    patch_resume(paused);
    has_queried(rq, began, &report);
    return request_stick(rq, rc);
}

/* Rolls back what has not ended, for which there is a moment unless the request has ended. */
static void leave_transaction(struct srv_request *rq) {
    nsec_t now = io_now(rq->io);
    nsec_t until = nsec_min(rq->deadline, deadline_after(now, SERVER_DB_COMMAND_NSEC));
    struct patch *paused = patch_pause();

    db_leave(rq->transaction, rq->io, rq->failed == -ECANCELED ? 0 : until);
    patch_resume(paused);
    rq->transaction = NULL;
}

int srv_commit(struct srv_request *rq) {
    struct db_report report = { .why = NULL };
    nsec_t began = request_now(rq);
    struct patch *paused;
    int rc;

    if (rq->failed < 0)
        return rq->failed;
    if (rq->transaction == NULL)
        return srv_fail(rq, 500, "the handler committed without a transaction");
    request_does(rq, STATS_DATABASE, began);
    paused = patch_pause();
    rc = db_commit(rq->transaction, rq->io, rq->deadline, &report);
    patch_resume(paused);
    has_queried(rq, began, &report);
    request_stick(rq, rc);
    leave_transaction(rq);
    return rc;
}

void srv_rollback(struct srv_request *rq) {
    if (rq->transaction != NULL)
        leave_transaction(rq);
}

void request_end_transaction(struct srv_request *rq) {
    static struct log_rate rate = { .per_second = 10 };
    char target[256];

    if (rq->transaction == NULL)
        return;
    if (rq->failed == 0 && db_is_open(rq->transaction)) {
        escape_quoted(target, sizeof(target), rq->session->head.target);
        log_limited(&rate, LOG_LEVEL_WARN,
                    "the handler returned inside a transaction, which is rolled back target=%s",
                    target);
    }
    leave_transaction(rq);
}
