/* SPDX-License-Identifier: MIT */
/* What a handler may call. It is written once, as straight code, and runs unchanged under every
 * model but `event`, which shows what the same work looks like as callbacks.
 *
 * A handler gets one complete request, waits as it likes through the calls below, and answers once:
 *
 *   static int hello(struct srv_request *rq) {
 *       struct srv_answer up;
 *       int rc = srv_upstream_get(rq, SLICE("?delay=1"), &up);
 *       if (rc < 0)
 *           return rc;                     the server answers 502 or 504 with the reason
 *       return srv_reply(rq, 200, SLICE("text/plain"), up.body);
 *   }
 *
 * It may assume that
 *   - memory from srv_alloc and every slice handed to it live until it returns;
 *   - every wait ends: by its result, at a deadline (-ETIMEDOUT), or because nobody wants the
 *     answer any more (-ECANCELED: the client left, or the server stops). Release what you hold
 *     and return the code; there is no other way out of a wait.
 *
 * It must not assume
 *   - which thread it runs on, or that thread-local data and locks survive a wait: under the green
 *     model other requests run on this thread meanwhile;
 *   - that something else that blocks (sleep(3), a C library's own socket) stays its own affair:
 *     under the green model it stops every request of the worker;
 *   - more than 256 KiB of stack, on a fiber and on a thread: large locals belong into srv_alloc.
 */
#ifndef SRV_HANDLER_H
#define SRV_HANDLER_H

#include "base/clock.h"
#include "base/slice.h"
#include <stdint.h>

struct srv_request;

/* An application: `srv serve NAME`. */
struct srv_app {
    const char *name;
    const char *summary;                   /* one sentence for --help */
    int (*handle)(struct srv_request *rq); /* 0 after srv_reply, or the -errno of a call below */
};

/* --- the request ---------------------------------------------------------------------------- */

struct slice srv_method(const struct srv_request *rq);
struct slice srv_target(const struct srv_request *rq); /* as sent: path and query, still encoded */
struct slice srv_path(const struct srv_request *rq);   /* still encoded */
struct slice srv_body(const struct srv_request *rq);   /* decoded, complete */

/* The value of a query parameter, decoded, in memory of the request. False when it is absent.
 * A value that cannot be decoded is handed over as it was sent. */
bool srv_query(struct srv_request *rq, struct slice name, struct slice *ret);

/* The first header field with that name, case-blind. A target in absolute-form (GET http://a/b)
 * decides what Host is, here and in srv_next_header, whatever the client sent as Host. */
bool srv_header(const struct srv_request *rq, struct slice name, struct slice *ret);

/* Walks all header fields: start with a zeroed cursor; false at the end. */
struct srv_cursor {
    struct slice rest;
    bool started;
};
bool srv_next_header(const struct srv_request *rq, struct srv_cursor *at, struct slice *ret_name,
                     struct slice *ret_value);

/* The client's address without its port: "192.0.2.7", "2001:db8::7", "unix"; and "http" or "https".
 * Behind proxies it is what they say, if they are trusted. Found anew with each call. */
struct slice srv_client_address(struct srv_request *rq);
struct slice srv_scheme(const struct srv_request *rq);

/* --- waiting -------------------------------------------------------------------------------- */

/* 0 after `span` nanoseconds, or -ETIMEDOUT, -ECANCELED. */
NODISCARD int srv_sleep(struct srv_request *rq, nsec_t span);

struct srv_answer {
    uint16_t status;   /* 200 to 599, whatever the upstream said */
    struct slice body; /* decoded */
};

/* GET of the configured upstream URL with `suffix` ("?delay=1", "users/7") appended to it.
 * -ECONNREFUSED, -ECONNRESET, -EPROTO (malformed or too large) and other -errno: the upstream could
 * not answer; -ETIMEDOUT; -ECANCELED; -ENOMEM. */
NODISCARD int srv_upstream_get(struct srv_request *rq, struct slice suffix, struct srv_answer *ret);

struct srv_rows {
    const struct slice *values; /* as text, row by row; ptr NULL is SQL's NULL */
    size_t rows, columns;
};

/* The value in that row and column, both from 0. SQL's NULL (ptr NULL) where there is none: a query
 * may answer no row at all. */
static inline struct slice srv_value(const struct srv_rows *rows, size_t row, size_t column) {
    return row < rows->rows && column < rows->columns ? rows->values[row * rows->columns + column]
                                                      : (struct slice){ NULL, 0 };
}

/* Runs one SQL statement on a connection of the pool. $1, $2, ... in it stand for `params`: text,
 * NUL-terminated, NULL for SQL's NULL. It is prepared once per connection, so let its text be a
 * constant. Each statement is a transaction of its own.
 * -EREMOTEIO (the database reported an error) and other -errno: the server answers 500, 502, 503 or
 * 504, and what the database said stands in the log only; -ETIMEDOUT and -ECANCELED: the statement
 * is cancelled in the database, too; -ENOMEM. */
NODISCARD int srv_db_query(struct srv_request *rq, const char *sql, const char *const *params,
                           size_t param_count, struct srv_rows *ret);

/* --- the answer ----------------------------------------------------------------------------- */

/* Answers; `content_type` and `body` are copied. -EALREADY when there is an answer already,
 * -ENOMEM. */
NODISCARD int srv_reply(struct srv_request *rq, uint16_t status, struct slice content_type,
                        struct slice body);

/* Adds a field to the answer; before srv_reply. Both slices must live until then.
 * -ENOSPC above 16 fields. */
NODISCARD int srv_reply_field(struct srv_request *rq, struct slice name, struct slice value);

/* Memory until the handler returns: not zeroed; NULL when the request has used its share. */
NODISCARD void *srv_alloc(struct srv_request *rq, size_t size_bytes);
NODISCARD char *srv_format(struct srv_request *rq, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
