/* SPDX-License-Identifier: MIT */
/* A request as the application has it: what stands behind <srv/app.h>. */
#ifndef SERVER_REQUEST_H
#define SERVER_REQUEST_H

#include "server/conn/session.h"
#include "server/limits.h"
#include "srv/app.h"
#include <stdarg.h>

struct db_transaction;
struct form;

struct srv_request {
    struct session *session;
    struct arena *arena;
    struct io *io;
    struct slice path, query; /* still encoded */
    nsec_t deadline;
    nsec_t looked_at;          /* time of srv_wanted's last look at the client; 0: none yet */
    nsec_t probe_at;           /* time to ask a client that has closed its side; 0: it has not */
    nsec_t asked_at;           /* begin of the wait for the upstream */
    const char *why;           /* failure, for the error answer and the log */
    const char *detail;        /* more about it, for the log only */
    const char *decoded_path;  /* srv_path's, made on first use */
    struct slice content_type; /* set by the application; ptr NULL: not yet */
    struct http_field *fields; /* in the arena, made on first use */
    struct slice segments[SERVER_ROUTE_SEGMENTS_MAX]; /* parts of decoded_path */
    struct {
        char *text; /* in the arena */
        size_t len, cap;
    } printed;
    struct form *form;                  /* read with the first use; or NULL */
    struct db_transaction *transaction; /* open; NULL: none */
    struct srv_task *parts;             /* started and not freed, newest first */
    int failed;                         /* the first failure of a call: it decides the answer */
    uint16_t status;                    /* for the failure; 0: what its -errno suggests */
    uint8_t field_count, segment_count;
    uint8_t part_count;    /* of those not yet joined */
    atomic_bool cancelled; /* a part: it is to end */
    char sqlstate[6];      /* the last statement's, or "" */
    bool is_part;          /* one of another request */
    bool is_task;          /* in the background; is_part, too */
    bool streams;          /* the head of its answer was sent, the end was not */
    bool is_mute;          /* streams an answer without a body: HEAD, 204, 304 */
    struct lock *held;     /* the last one that it has locked */
    nsec_t body_left_at;   /* end of the handler's last wait for its body; 0: none */
    size_t body_read;      /* bytes of the body in memory that srv_read has handed out */
};

/* Begins the session's current request. `io` tells the time and waits. */
void request_init(struct srv_request *rq, struct session *s, struct io *io);

/* Whether the application is to be asked: 0; 1 when that was answered here (the method,
 * OPTIONS *); -ETIMEDOUT when the request has waited too long. Both go to request_answer. */
NODISCARD int request_admit(struct srv_request *rq);

/* The application is done: 0 or more after request_reply, or the -errno it gives up with. 0 with an
 * answer in `out`, an error answer included; -ECANCELED, -ENOMEM: close without one. */
NODISCARD int request_answer(struct srv_request *rq, int rc);

/* Remembers the failure unless there is one already; returns the one that sticks, or 0. */
int request_stick(struct srv_request *rq, int rc);

/* The id of the request: request_id_text. */
struct slice request_id_of(const struct srv_request *rq, char text[REQUEST_ID_BYTES]);

/* --- what <srv/app.h> is made of ----------------------------------------- */

/* The decoded value of the first query parameter with that name; false when there is none. A value
 * that is not decodable is handed over as it was sent. */
bool request_arg(struct srv_request *rq, struct slice name, struct slice *ret);

/* Memory until the request ends: not zeroed; NULL when it has used its share, which sticks. */
NODISCARD void *request_alloc(struct srv_request *rq, size_t size_bytes);

/* A copy that ends with NUL, and a text by a format; "" without memory, which sticks. */
const char *request_text(struct srv_request *rq, struct slice s);
struct slice request_vformat(struct srv_request *rq, const char *format, va_list args)
    PRINTF_LIKE(2, 0);

/* Appends to what srv_reply_printed is going to answer. Nothing, and a failure that sticks, without
 * memory. */
void request_vprint(struct srv_request *rq, const char *format, va_list args) PRINTF_LIKE(2, 0);

/* NULL without memory. */
NODISCARD char *request_format(struct srv_request *rq, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The handler, or the part, has ended: rolls back what it has left open. */
void request_end_transaction(struct srv_request *rq);

/* The response to a call that was not made: -ECANCELED. */
const struct srv_response *call_none(void);

/* Takes at most `size` (1 or more) decoded bytes of a body that comes while its handler runs
 * (SRV_STREAM_BODY), out of what was received; NULL throws them away. Their number; 0 at the end of
 * the body; -EAGAIN: more has to be received; -ECANCELED: the client has closed its side in the
 * middle; -EBADMSG with the parser's reason. */
NODISCARD ssize_t request_body_take(struct session *s, void *data, size_t size,
                                    const char **ret_why);

/* Adds a field to the answer; before request_reply. Both slices must live until then. -ENOSPC above
 * SERVER_REPLY_FIELDS_MAX, -ENOMEM. */
NODISCARD int request_add_field(struct srv_request *rq, struct slice name, struct slice value);

/* Answers; `content_type` and `body` are copied. -EALREADY when there is an answer already,
 * -ENOMEM. */
NODISCARD int request_reply(struct srv_request *rq, uint16_t status, struct slice content_type,
                            struct slice body);

/* The head of an answer alone, into `out`: `length` of its body, or NULL when nobody knows it.
 * *ret_sends_body: whether body bytes are to follow. Errors as request_reply. */
NODISCARD int request_head(struct srv_request *rq, uint16_t status, struct slice content_type,
                           const uint64_t *length, bool *ret_sends_body);

/* The request as a whole is listed as what its handler does; parts run beside that. */
void request_does(struct srv_request *rq, enum stats_doing doing, nsec_t now);

/* Seconds as a span: 0 for less, and for what is no number; at most a century. */
nsec_t request_span(double seconds);

/* The time, to measure waits: the loop's; with --server-timing that of the clock, since others may
 * compute within a turn of the loop. */
static inline nsec_t request_now(const struct srv_request *rq) {
    return UNLIKELY(rq->session->worker->config->server_timing) ? clock_now() : io_now(rq->io);
}

/* Begins the wait for the upstream, a place among the calls in progress included. */
void request_waits_for_upstream(struct srv_request *rq);

/* Ends it. */
void request_has_waited(struct srv_request *rq);

/* Around the wait for that place (--upstream-max): until when, at most, and what came of it, 0 or
 * -errno, which ends the wait for the upstream. */
nsec_t request_queues(struct srv_request *rq);
void request_queued(struct srv_request *rq, int rc);

/* Around the call itself: it begins; it has ended with 0, or with -errno and a reason, and the wait
 * for the upstream with it. */
void request_asks(struct srv_request *rq);
void request_asked(struct srv_request *rq, int rc, const char *why);

#endif
