/* SPDX-License-Identifier: MIT */
/* srv/app.h: what an application of `srv serve` is written with. It needs C11 or C++ and no other
 * file of srv.
 *
 *   #include <srv/app.h>
 *
 *   static int index_page(srv_request *rq) {
 *       const srv_response *api = srv_get(rq, "?delay=%s", srv_arg(rq, "delay", "1"));
 *       return srv_reply(rq, 200, "Hi there! %s", api->text);
 *   }
 *   SRV_APP(.handle = index_page)
 *
 *   cc -shared -fPIC -o app.so app.c && srv serve --model green ./app.so
 *
 * The same object runs under the models single, threaded, pool and green. A handler is straight
 * code: it waits in the calls marked [waits], and learns of deadlines and of clients that left from
 * what these return.
 *
 * FAILURE STICKS. A call that fails says so in its result, and the request remembers the first
 * failure. From then on calls marked [waits] do nothing and fail the same way, and srv_reply
 * answers what the failure means (400, 502, 503, 504, 500) instead of what it was given. Code that
 * checks nothing is right; code that wants to go on calls srv_forgive.
 *
 * MEMORY. A pointer that a call hands out lives until the handler returns, and a text ends with
 * NUL. A call that runs out of memory fails as any other: what it returns is "" or a zeroed object,
 * never NULL, unless its comment says so.
 *
 * WHAT MAY BLOCK. Under model green one thread runs all requests of a worker: other calls that
 * wait, and loops that compute for long, hold all of them up. Stacks are 256 KiB. Thread-local data
 * is shared by the requests of a thread: a lock of libc must not be held over a call that waits,
 * and C++ must not wait inside a catch block.
 *
 * WHAT ENDS MORE THAN THE REQUEST. A crash, exit, and an exception that leaves a handler end the
 * worker with all its requests; pthread_exit and longjmp out of a handler may not, and then hold
 * its slot for ever. Locals of more than a page can reach beyond the guard below a stack, into that
 * of another request, unless the object is compiled with -fstack-clash-protection.
 *
 * THE BINARY INTERFACE. Objects of this header never change their layout; functions are added and
 * never changed. Structs that an application fills in begin with their size. An object that needs a
 * later srv is refused at start, before anything is bound, with the name of what is missing. */
#ifndef SRV_APP_H
#define SRV_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SRV_ABI 1 /* grows when older objects no longer fit, not when functions are added */

#define SRV_PRINTF(at, first) __attribute__((format(printf, at, first)))
#define SRV_PUBLIC            __attribute__((visibility("default")))

typedef struct srv_request srv_request; /* one request */
typedef struct srv_worker srv_worker;   /* the process that serves it, or checks the application */

/* --- the application ------------------------------------------------------------------------- */

typedef int srv_handler(srv_request *);

/* A pattern is "METHOD /path", or "/path" for every method. A segment "*" of the path matches one
 * segment that is not empty, and a last segment "**" all that is left, which may be empty; 8 in all
 * at most. GET matches HEAD, too. The first pattern that matches decides; paths that match none are
 * answered with 404, and those that match with other methods only with 405 and Allow. */
typedef struct srv_route {
    const char *pattern;
    srv_handler *handle;
} srv_route;

struct srv_app {
    uint32_t abi, size; /* SRV_ABI and its size: SRV_APP sets both */

    /* Handles each request; or, when NULL, `routes` does. Returns what srv_reply returned. Another
     * negative number, in spite of an answer, too, and 0 without one are answered with 500. */
    srv_handler *handle;
    const srv_route *routes; /* ends with a NULL pattern */

    /* All three may be NULL. `check` runs before anything is bound, in a process of its own that
     * ends afterwards: NULL, or why not to start in one line. `start` and `stop` run in each worker
     * on the thread that accepts, before its first and after its last request. Not 0 from `start`:
     * the worker cannot start. */
    const char *(*check)(const srv_worker *);
    int (*start)(srv_worker *);
    void (*stop)(srv_worker *);

    const char *summary; /* a line for logs, or NULL */
    uint64_t flags;      /* SRV_STREAM_BODY | SRV_BLOCKS */
};

/* Requests reach their handler with their head, and it reads the body itself: srv_read. */
#define SRV_STREAM_BODY UINT64_C(1)

/* Handlers hold their thread up for long: they wait in calls that no model makes cooperative, or
 * compute. Model green, where one thread runs all requests, refuses the application. */
#define SRV_BLOCKS UINT64_C(2)

#ifndef SRV_APP_NAME
#define SRV_APP_NAME srv_app /* what srv looks for in an object */
#endif
#define SRV_APP(...)                                                              \
    SRV_PUBLIC extern const struct srv_app SRV_APP_NAME;                          \
    _Pragma("GCC diagnostic push")                                                \
        _Pragma("GCC diagnostic ignored \"-Wmissing-field-initializers\"")        \
            const struct srv_app SRV_APP_NAME = { .abi = SRV_ABI,                 \
                                                  .size = sizeof(struct srv_app), \
                                                  __VA_ARGS__ };                  \
    _Pragma("GCC diagnostic pop")

/* What the application was configured with: `srv serve ./app.so key=value`, or else SRV_APP_KEY of
 * the environment, or else `otherwise`. Lives as long as the worker. */
SRV_PUBLIC const char *srv_config(const srv_worker *, const char *key, const char *otherwise);

SRV_PUBLIC srv_worker *srv_worker_of(srv_request *);
SRV_PUBLIC unsigned srv_worker_number(const srv_worker *); /* from 1; 0 in `check` */

/* A pointer that the application keeps per worker; NULL at first. Requests of several threads read
 * it at the same time. */
SRV_PUBLIC void srv_set_data(srv_worker *, void *data);
SRV_PUBLIC void *srv_data(const srv_worker *);

/* --- the request ------------------------------------------------------------------------------ */

SRV_PUBLIC const char *srv_method(srv_request *); /* "GET" */

/* The path is decoded and has no dot segments: "/a/../b%20c" is "/b c". What encodes a slash or NUL
 * is left encoded. srv_target is path and query as they came. */
SRV_PUBLIC const char *srv_path(srv_request *);
SRV_PUBLIC const char *srv_target(srv_request *);

/* What the `index`th "*" or "**" of the route matched, decoded, from 0; "" when there is none.
 * "**" may begin with a slash ("/files//etc/passwd"): it is no name of a file yet. */
SRV_PUBLIC const char *srv_segment(srv_request *, unsigned index);

/* The client's address without its port ("192.0.2.7", "2001:db8::7", "unix"), and "http" or
 * "https": behind trusted proxies what they say. srv_host is what was asked for, with a port if it
 * has one; or "". */
SRV_PUBLIC const char *srv_client(srv_request *);
SRV_PUBLIC const char *srv_scheme(srv_request *);
SRV_PUBLIC const char *srv_host(srv_request *);

/* The subject of the certificate that the client has shown, as RFC 2253 writes it ("CN=a,O=b"), at
 * most 255 bytes; "" without one (--cert-reqs). */
SRV_PUBLIC const char *srv_client_subject(srv_request *);

/* 1 to 128 letters, digits and "-._~+/=:@", as log lines show it: made here, unless a trusted proxy
 * has sent one (--request-id-header). Calls of --upstream pass it on then. */
SRV_PUBLIC const char *srv_request_id(srv_request *);

/* The first value with that name, decoded; `otherwise`, which may be NULL, when there is none. Of
 * the query, of the form in the body (urlencoded or multipart), of the head (names are case-blind),
 * and of the Cookie fields. A value that is not decodable is handed out as it came. */
SRV_PUBLIC const char *srv_arg(srv_request *, const char *name, const char *otherwise);
SRV_PUBLIC const char *srv_form(srv_request *, const char *name, const char *otherwise);
SRV_PUBLIC const char *srv_header(srv_request *, const char *name, const char *otherwise);
SRV_PUBLIC const char *srv_cookie(srv_request *, const char *name, const char *otherwise);

/* A field of the form. Of a file, `file` is the last segment of what the client calls it, which
 * may be "": open no file by that name. `value` has `len` bytes and may hold NULs. */
typedef struct srv_field {
    const char *name, *value;
    size_t len;
    const char *file; /* NULL: not a file */
    const char *type; /* "text/csv", as the client says; "" or NULL: it says nothing */
} srv_field;

/* The first file of that name in the form, and the `index`th field or file, from 0; NULL: there is
 * none. Forms with more than 1000 fields and malformed ones (no boundary, no final one, a part
 * without a name) are a failure (400) with their first use; other bodies have no fields. */
SRV_PUBLIC const srv_field *srv_form_file(srv_request *, const char *name);
SRV_PUBLIC const srv_field *srv_form_field(srv_request *, size_t index);

/* The text as decimal seconds, like `delay` of the slow API: "0", "0.25", "30"; "" means 1. What is
 * none sticks as 400 with the reason, in which `what` names it: the result is 0 then. */
SRV_PUBLIC double srv_seconds(srv_request *, const char *what, const char *text);

/* Calls `each` for every field of the head, in their order, until it returns other than 0, and
 * returns that. */
SRV_PUBLIC int srv_headers(srv_request *,
                           int (*each)(void *arg, const char *name, const char *value), void *arg);

/* The whole body, decoded. `len`, which may be NULL, gets its bytes: it may hold NULs. With
 * SRV_STREAM_BODY: [waits] for all of it that srv_read has not handed out. */
SRV_PUBLIC const char *srv_body(srv_request *, size_t *len);

/* [waits] Puts the next bytes of the body, decoded, into `data`, at most `size`, which is not 0.
 * Their number; 0 at the end; or a negative errno, which sticks: -ETIMEDOUT (408: --body-timeout or
 * --body-rate, and only the time in which the handler waits here counts; or the deadline of the
 * request), -EBADMSG (400 or 413: --limit-request-body), -ECANCELED. With SRV_STREAM_BODY the body
 * comes while the handler reads: memory does not grow with it, Expect: 100-continue is answered by
 * the first call, and a client that is answered before all is read may find its connection closed.
 * Without that flag the body is there already. */
SRV_PUBLIC long srv_read(srv_request *, void *data, size_t size);

/* --- the answer ------------------------------------------------------------------------------- */

/* Sets a field of the answer, before it is given: a field of that name is replaced; srv_add leaves
 * it and adds one (Set-Cookie). Both copy. A name or value that no field may have, and more than
 * 32, stick as 500. Content-Length, Transfer-Encoding, Connection and Date are the server's own. */
SRV_PUBLIC void srv_set(srv_request *, const char *name, const char *value);
SRV_PUBLIC void srv_add(srv_request *, const char *name, const char *value);

/* Answer, once: 0, or a negative errno (-EALREADY: there is an answer). Content-Type is text/plain
 * (srv_reply) or application/octet-stream (srv_reply_bytes) unless it is set. What they are given
 * is copied: 64 MiB with the head, at most. `status` is 200 to 599. */
SRV_PUBLIC int srv_reply(srv_request *, int status, const char *format, ...) SRV_PRINTF(3, 4);
SRV_PUBLIC int srv_reply_bytes(srv_request *, int status, const void *body, size_t len);

/* Adds to a text, which srv_reply_printed answers with, as srv_reply would. */
SRV_PUBLIC void srv_print(srv_request *, const char *format, ...) SRV_PRINTF(2, 3);
SRV_PUBLIC int srv_reply_printed(srv_request *, int status);

/* Answers with a regular file: its length, Content-Type by its suffix unless that is set, and with
 * status 200 Last-Modified and ETag, by which If-Match, If-None-Match, If-Modified-Since and
 * If-Unmodified-Since are kept (304, 412), and one range of bytes (206, 416). The file is sent
 * without being copied, after the handler has returned, at the client's speed: it must not become
 * shorter meanwhile, or the connection is cut. What is no regular file, or not there, sticks as
 * 404; what may not be read as 403. */
SRV_PUBLIC int srv_reply_file(srv_request *, int status, const char *path);

/* The same with status 200 for `path` below `folder`, which it does not leave: "..", an absolute
 * link and a link that leads out are 404. For paths of clients. openat2(2): Linux 5.6. */
SRV_PUBLIC int srv_reply_below(srv_request *, const char *folder, const char *path);

/* Answers `status` (301, 302, 303, 307 or 308) and Location. */
SRV_PUBLIC int srv_redirect(srv_request *, int status, const char *location);

/* --- an answer piece by piece ----------------------------------------------------------------- */

/* An answer whose end is not known when it begins:
 *
 *   srv_set(rq, "Content-Type", "text/csv");
 *   srv_begin(rq, 200);
 *   while (next_row(line, sizeof(line)) && srv_write(rq, line, strlen(line)) == 0)
 *       continue;
 *   return srv_end(rq);
 *
 * The answer is sent in chunks, to HTTP/1.0 and over uwsgi until the connection closes. Nothing is
 * kept back: a client that reads slowly holds up its handler, and only that. A failure that sticks,
 * or that the handler returns, cuts the connection, so that the client does not take what it has
 * for the whole. A HEAD, and a status without a body, is over with its head: the first write says
 * -ECANCELED, so that handlers that write for ever end. */

/* [waits] Sends the head with the fields that were set; Content-Type is text/plain unless it is
 * set. `status` is 200 to 599. 0 or a negative errno (-EALREADY: there is an answer). */
SRV_PUBLIC int srv_begin(srv_request *, int status);

/* [waits] Sends the next `len` bytes, which may be 0; begins with status 200 if nothing has. 0 when
 * the kernel has them all; -ECANCELED: the client has left, or has taken nothing for
 * --send-timeout; -ETIMEDOUT: the deadline of the request; -EALREADY, which does not stick: the
 * answer is over. */
SRV_PUBLIC int srv_write(srv_request *, const void *data, size_t len);

/* [waits] Ends the answer, which returning 0 does, too. The connection is kept as after any other.
 * As srv_write. */
SRV_PUBLIC int srv_end(srv_request *);

/* [waits] Sends a server-sent event (HTML Living Standard section 9.2): `name`, which may be NULL
 * and is one line, and `data`, which may have several. Begins the stream by itself, as
 * text/event-stream that nobody caches or buffers. As srv_write. */
SRV_PUBLIC int srv_event(srv_request *, const char *name, const char *data);

/* --- failures --------------------------------------------------------------------------------- */

/* Makes a failure stick, unless one does: answers `status` (400 to 599) with that line, and logs it
 * from 500 on. Returns what to return: `return srv_fail(rq, 404, "no user %s", id);` */
SRV_PUBLIC int srv_fail(srv_request *, int status, const char *format, ...) SRV_PRINTF(3, 4);

/* The failure that sticks: 0 or a negative errno; and its reason in one line, "" without one. */
SRV_PUBLIC int srv_error(const srv_request *);
SRV_PUBLIC const char *srv_error_text(const srv_request *);

/* Forgets it. A client that left and the deadline of the request cannot be forgotten. */
SRV_PUBLIC void srv_forgive(srv_request *);

/* --- waiting ---------------------------------------------------------------------------------- */

/* [waits] 0, -ETIMEDOUT (the deadline of the request), -ECANCELED (nobody wants the answer). */
SRV_PUBLIC int srv_sleep(srv_request *, double seconds);

/* Seconds until the deadline, 0 or more; HUGE_VAL (math.h) without one. */
SRV_PUBLIC double srv_time_left(srv_request *);

/* For loops that compute: false once the client has left, or the deadline has passed; the failure
 * sticks then. Asks the system by itself, every few milliseconds at most: call it as often as you
 * like. A client that closes its sending side and says no more is asked, and found out within
 * seconds. */
SRV_PUBLIC bool srv_wanted(srv_request *);

/* Ends the request that many seconds from now, unless it ends earlier anyway. */
SRV_PUBLIC void srv_set_deadline(srv_request *, double seconds);

/* --- calls of other servers ------------------------------------------------------------------- */

typedef struct srv_response {
    int error;  /* 0, or -ECONNREFUSED, -ECONNRESET, -EPROTO, -ETIMEDOUT, -ECANCELED, ... */
    int status; /* 200 to 599, which is no failure whatever it is; 0 with an error */
    const char *text;
    size_t len;
} srv_response;

/* [waits] GET of --upstream with the formatted text appended to its URL; or of a whole URL, when
 * the format itself begins with a scheme and holds all of the host: "http://users:8000/%s",
 * "https://api.example/%s", "unix:/run/users.sock:/%s". An argument never chooses the host: one
 * that begins with a scheme is appended as any other, and a '%' before the end of the host is a
 * failure (500). Bytes that no URL may hold (spaces, controls, other than ASCII) are
 * percent-encoded; what else is special is srv_encode's. Redirects are not followed. A response has
 * 8 MiB at most (-EMSGSIZE). Connections are kept and shared by the worker, for each host by
 * itself; --upstream-max holds for each host by itself, too, and --upstream-timeout for each call.
 */
SRV_PUBLIC const srv_response *srv_get(srv_request *, const char *format, ...) SRV_PRINTF(2, 3);

/* Any other request: srv_call call = { .size = sizeof(call), .method = "PUT", .url = url }; */
typedef struct srv_call {
    uint32_t size;      /* sizeof(srv_call) */
    const char *method; /* "GET" when NULL */

    /* As the text of srv_get, and as it is: let no client choose how it begins. NULL: "". */
    const char *url;

    /* Name, value, name, value, ..., NULL; or NULL for none. At most 64, and 64 KiB with the URL.
     * Host replaces the URL's. What no field may be, and those that frame the message or are of one
     * connection (Content-Length, Transfer-Encoding, Connection, Expect, TE, Trailer, Upgrade), are
     * a failure (500). */
    const char *const *headers;

    const void *body; /* `len` bytes, 8 MiB at most (-EMSGSIZE) */
    size_t len;
    double timeout; /* seconds, from connecting to the last byte; 0: --upstream-timeout */

    /* A kept connection may turn out to have been closed by its server. GET, HEAD, PUT, DELETE and
     * OPTIONS are sent again then, once, on a new one; others only if this is set: when it does no
     * harm to do them twice. */
    bool retry;
} srv_call;

/* [waits] Makes the call. */
SRV_PUBLIC const srv_response *srv_fetch(srv_request *, const srv_call *);

/* [waits] POST of `len` bytes with that Content-Type (none when NULL); `url` as in srv_call. */
SRV_PUBLIC const srv_response *srv_post(srv_request *, const char *url, const char *type,
                                        const void *body, size_t len);

/* The first field of that name in the response (case-blind); `otherwise`, which may be NULL, when
 * there is none, and for a call that failed. */
SRV_PUBLIC const char *srv_response_header(const srv_response *, const char *name,
                                           const char *otherwise);

/* --- at the same time ------------------------------------------------------------------------- */

/* A part of a request runs beside its handler, under every model: as a fiber or on a thread, as the
 * handler does. It is given a request of its own, with the same head, body and deadline, but cannot
 * answer; and its failure is its own until it is joined. What still runs when the handler returns
 * is cancelled, and waited for. */
typedef struct srv_task srv_task;

/* Begins a part, which uses its own request only, as others use only theirs. NULL, and a failure
 * that sticks, when 64 are not joined yet, or without memory or a thread for it. `arg` has to live
 * until the part is joined or, if it never is, as long as the request: a local needs a join. */
SRV_PUBLIC srv_task *srv_start(srv_request *, int (*part)(srv_request *, void *arg), void *arg);

/* [waits] Until the part has ended, and no shorter: it is cancelled first when the request has
 * failed or fails meanwhile. What it returned, or the failure; a failure that stuck to the part
 * sticks to the caller. Each once, by the request that began it: another fails with 500. NULL: the
 * failure that sticks. */
SRV_PUBLIC int srv_join(srv_request *, srv_task *);

/* Cancels it, by the request that began it: what it waits for fails with -ECANCELED. It has to be
 * joined, or ends with the handler. NULL-safe. */
SRV_PUBLIC void srv_cancel(srv_task *);

/* [waits] `count` calls as srv_get, each with a text of `suffixes`, all at the same time but at
 * most 64 with the parts that run; the answers are put into `ret` in that order. The number that
 * failed; their failures do not stick. */
SRV_PUBLIC size_t srv_get_all(srv_request *, const char *const *suffixes, size_t count,
                              const srv_response **ret);

/* [waits] As srv_get_all, with calls as srv_fetch. */
SRV_PUBLIC size_t srv_fetch_all(srv_request *, const srv_call *calls, size_t count,
                                const srv_response **ret);

/* [waits] Runs `work` on a thread beside the loop and waits for its end, whatever becomes of the
 * request meanwhile: for what blocks or computes. It must not use the request. Where each handler
 * has a thread already, on that. What it returned, or -EAGAIN, which sticks, without a thread. */
SRV_PUBLIC int srv_offload(srv_request *, int (*work)(void *arg), void *arg);

/* --- beside requests ----------------------------------------------------- */

/* Begins a task that outlives requests, from `start` on: a fiber, or a thread. It begins when the
 * worker can make calls, and its request has no client: what is asked of that is "" or NULL, no
 * answer can be given, all else works. When the worker stops, after its last request, the task is
 * cancelled and waited for, 5 s at most. What it returns below 0 is logged. 0; -EAGAIN: there are
 * 64 tasks, or no thread; -ENOMEM; -ECANCELED: the worker stops; -EPERM in `check`. Not for
 * srv_offload. */
SRV_PUBLIC int srv_background(srv_worker *, int (*run)(srv_request *, void *arg), void *arg);

/* [waits] The end of a turn of a task in the background: forgets failures, frees all that its calls
 * have handed out, and sleeps, 1 ms at least. False: the task is to return. False at once in
 * handlers.
 *
 *   do {
 *       const srv_response *rates = srv_get(rq, "/rates");
 *       ...
 *   } while (srv_again(rq, 60)); */
SRV_PUBLIC bool srv_again(srv_request *, double seconds);

/* A lock between the requests of a worker, that is held over calls that wait: whoever waits for it
 * parks. Zeroed it is free. It has to live as long as the worker: static, or in its data. */
typedef struct srv_mutex {
    void *opaque[4];
} srv_mutex;

/* [waits] 0: this request, or part, holds the lock. -ETIMEDOUT, -ECANCELED, which stick, and other
 * failures: it does not. First come, first served. Locking twice sticks as 500. */
SRV_PUBLIC int srv_lock(srv_request *, srv_mutex *);

/* Nothing, unless this request holds the lock; what is held at the end of the handler is released
 * then, with a warning. */
SRV_PUBLIC void srv_unlock(srv_request *, srv_mutex *);

/* --- texts for URLs --------------------------------------------------------------------------- */

/* Percent-encodes all but letters, digits, "-", ".", "_" and "~" (RFC 3986 section 2.3). */
SRV_PUBLIC const char *srv_encode(srv_request *, const char *text);

/* --- PostgreSQL (--db) ------------------------------------------------------------------------ */

typedef struct srv_rows {
    int error; /* 0; -EREMOTEIO: the server refused the statement, see sqlstate; or other */
    const char *sqlstate; /* five characters, "23505", or "" */
    size_t rows, columns;
} srv_rows;

/* [waits] Runs a statement, in which $1, $2 ... stand for `count` texts (const char *; NULL is
 * SQL's NULL):
 *
 *   const srv_rows *r = srv_query(rq, "SELECT name FROM users WHERE id = $1", 1, id);
 *
 *   if (r->rows == 0)
 *       return srv_fail(rq, 404, "no such user");
 *   return srv_reply(rq, 200, "%s", srv_value(r, 0, 0));
 *
 * It is prepared once per connection: let its text be a constant. Each is a transaction. An error
 * of the server (-EREMOTEIO) sticks with srv_query, and does not with srv_try_query. */
SRV_PUBLIC const srv_rows *srv_query(srv_request *, const char *sql, int count, ...);
SRV_PUBLIC const srv_rows *srv_try_query(srv_request *, const char *sql, int count, ...);

/* As text; "" for SQL's NULL, and for a row or column that is not there. */
SRV_PUBLIC const char *srv_value(const srv_rows *, size_t row, size_t column);
SRV_PUBLIC bool srv_is_null(const srv_rows *, size_t row, size_t column);

/* Rows that INSERT, UPDATE, DELETE or MERGE changed, or SELECT gave; 0 of other statements, and of
 * one that failed. */
SRV_PUBLIC uint64_t srv_affected(const srv_rows *);

/* What the server said of the last statement of this request, commits included: five characters,
 * "40001"; or "". */
SRV_PUBLIC const char *srv_sqlstate(const srv_request *);

/* [waits] Statements between these run on one connection, in one transaction; its place in the pool
 * (--db-pool) is held meanwhile. A handler that returns inside, or fails, or is cancelled, rolls
 * back. A part has transactions of its own, and may wait in vain for a place that its handler
 * holds: that ends with 503 after --queue-timeout. Beginning twice is a failure (500), and so is
 * committing without a transaction. A statement that has failed, and was forgiven or tried, makes
 * the commit fail, too (25P02). 0 or a negative errno, which sticks. */
SRV_PUBLIC int srv_begin_transaction(srv_request *);
SRV_PUBLIC int srv_commit(srv_request *);

/* [waits] Ends the transaction, if there is one, whatever has failed: nothing of it stays. */
SRV_PUBLIC void srv_rollback(srv_request *);

/* --- memory, log and counters ----------------------------------------------------------------- */

/* Zeroed, until the handler returns; NULL when the request has used its share. */
SRV_PUBLIC void *srv_alloc(srv_request *, size_t size_bytes);
SRV_PUBLIC const char *srv_format(srv_request *, const char *format, ...) SRV_PRINTF(2, 3);

/* One line to stderr, beside the request's path and id. `level` is 'e', 'w', 'i' or 'd'. */
SRV_PUBLIC void srv_log(srv_request *, char level, const char *format, ...) SRV_PRINTF(3, 4);

/* Adds to the counter that /metrics shows as srv_app_NAME_total, for each worker, and /stats under
 * "app". `name` is 1 to 63 letters, digits and underscores, the first no digit; a worker has 64
 * counters. More of them, and other names, are logged and not counted. Costs a look at the names
 * that were counted before it; any thread. */
SRV_PUBLIC void srv_count(srv_request *, const char *name, uint64_t amount);

#ifdef __cplusplus
}
#endif

#endif
