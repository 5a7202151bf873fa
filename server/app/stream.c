/* SPDX-License-Identifier: MIT */
/* Writes an answer while its handler makes it, and reads a body while it comes. Nothing is kept:
 * what the socket does not take is waited for by the handler, so that a client that does not read
 * costs one piece of memory. */
#include "server/app/stream.h"
#include "http/error.h"
#include "server/app/request.h"
#include "server/limits.h"
#include <errno.h>

/* --- the client ---------------------------------------------------------- */

/* Tells why the client's socket failed: nobody is there, or memory is short. */
static int client_failed(int rc) {
    return rc == -ENOMEM || rc == -ENOBUFS ? rc : -ECANCELED;
}

/* The loop has a watch of its own on this descriptor: the handler's ends with its wait. */
static int wait_client(struct srv_request *rq, unsigned what, nsec_t deadline) {
    int fd = rq->session->fd, rc;

    session_set_doing(rq->session, STATS_CLIENT, io_now(rq->io));
    what = channel_awaits(&rq->session->bytes, what);
    rc = what != 0 ? io_wait(rq->io, fd, what, nsec_min(deadline, rq->deadline)) : 0;
    rq->io->ops->forget(rq->io, fd);
    session_set_doing(rq->session, STATS_CPU, io_now(rq->io));
    return rc;
}

static bool is_late(struct srv_request *rq) {
    return io_now(rq->io) >= rq->deadline;
}

/* Waits for --send-timeout, again and again for a client that takes something each time. */
static int wait_writable(struct srv_request *rq) {
    nsec_t span = rq->session->worker->config->send_timeout;
    int rc = wait_client(rq, IO_WRITE, deadline_after(io_now(rq->io), span));

    return rc == -ETIMEDOUT && is_late(rq) ? rc : rc < 0 ? client_failed(rc) : 0;
}

static int send_all(struct srv_request *rq, struct slice data) {
    int rc = 0;

    while (rc == 0 && data.len > 0) {
        ssize_t n = channel_send(&rq->session->bytes, data.ptr, data.len);

        if (n >= 0)
            data = slice_drop(data, (size_t)n);
        else
            rc = n == -EAGAIN ? wait_writable(rq) : client_failed((int)n);
    }
    return rc;
}

/* Sends what stands in `out`, which owns no memory afterwards: streams wait for long between two
 * pieces. */
static int flush(struct srv_request *rq) {
    struct session *s = rq->session;
    int rc;

    session_answers(s, rq->io);
    rc = send_all(rq, buf_unread(&s->out));
    buf_free(&s->out);
    if (rc == 0 && !rq->is_mute)
        session_rests(s); /* a probe may follow neither half a chunk nor an answer without a body */
    session_set_doing(s, STATS_CPU, io_now(rq->io));
    return rc;
}

/* --- the stream ---------------------------------------------------------- */

static int begin(struct srv_request *rq, uint16_t status, struct slice type) {
    struct session *s = rq->session;
    bool sends_body;
    int rc;

    if (s->worker->upstream == NULL)
        return -EDEADLK; /* model event: nobody waits for the client there */
    rc = request_head(rq, status, rq->content_type.ptr != NULL ? rq->content_type : type, NULL,
                      &sends_body);
    if (rc < 0)
        return rc;
    s->stream = http_conn_chunks(&s->http) ? SESSION_CHUNKED : SESSION_UNTIL_CLOSE;
    rq->streams = true;
    rq->is_mute = !sends_body;
    return flush(rq);
}

int srv_begin(struct srv_request *rq, int status) {
    if (rq->failed < 0)
        return rq->failed;
    if (rq->session->http.answered)
        return -EALREADY;
    if (rq->is_part)
        return srv_fail(rq, 500, "a part of a request cannot answer");
    if (status < 200 || status > 599)
        return srv_fail(rq, 500, "the handler answered with status %d", status);
    return request_stick(rq, begin(rq, (uint16_t)status, SLICE("text/plain; charset=utf-8")));
}

/* Sends a piece, as a chunk of its own in a chunked stream. */
static int write_piece(struct srv_request *rq, struct slice piece) {
    struct session *s = rq->session;
    int rc;

    rc = s->stream == SESSION_CHUNKED ? http_encode_chunk(&s->out, piece)
                                      : buf_append(&s->out, piece);
    if (rc == 0)
        rc = flush(rq);
    if (rc == 0)
        s->body_bytes += piece.len;
    return rc;
}

static int write_all(struct srv_request *rq, struct slice data) {
    int rc = rq->is_mute ? -ECANCELED : 0; /* the answer of a HEAD is over */

    while (rc == 0 && data.len > 0) {
        struct slice piece = slice_take(data, SERVER_STREAM_BYTES);

        data = slice_drop(data, piece.len);
        rc = write_piece(rq, piece);
    }
    return request_stick(rq, rc);
}

/* Begins the stream if nothing has. 0 when it may be written, or -errno. */
static int enter(struct srv_request *rq) {
    int rc = rq->failed;

    if (rc == 0 && rq->is_part)
        return srv_fail(rq, 500, "a part of a request cannot answer");
    if (rc == 0 && !rq->streams)
        rc = srv_begin(rq, 200);
    return rc;
}

int srv_write(struct srv_request *rq, const void *data, size_t len) {
    int rc = enter(rq);

    return rc < 0 || len == 0 ? rc : write_all(rq, slice_of(data, len));
}

int srv_end(struct srv_request *rq) {
    struct session *s = rq->session;
    int rc = enter(rq);

    if (rc == 0 && !rq->is_mute && s->stream == SESSION_CHUNKED)
        rc = http_encode_chunk(&s->out, SLICE(""));
    if (rc == 0)
        rc = flush(rq);
    if (rc < 0)
        return rc == -EALREADY ? rc : request_stick(rq, rc);
    session_answers(s, rq->io); /* nothing may follow, probes included */
    rq->streams = false;
    return 0;
}

/* A handler that writes for ever has learned by -ECANCELED that a HEAD wants no body. */
int stream_settle(struct srv_request *rq, int rc) {
    if (rq->is_mute && rq->failed == -ECANCELED)
        rq->failed = rc = 0;
    if (rc >= 0 && rq->failed == 0)
        rc = srv_end(rq);
    if (rq->streams)
        session_cut(rq->session);
    return rc;
}

/* --- server-sent events -------------------------------------------------- */

static bool has_field(const struct srv_request *rq, struct slice name) {
    for (unsigned i = 0; i < rq->field_count; i++)
        if (slice_eq_nocase(rq->fields[i].name, name))
            return true;
    return false;
}

/* Caches and buffers between here and the client would keep events back. */
static int begin_events(struct srv_request *rq) {
    if (rq->content_type.ptr == NULL)
        rq->content_type = SLICE("text/event-stream");
    if (!has_field(rq, SLICE("Cache-Control")))
        srv_set(rq, "Cache-Control", "no-cache");
    if (!has_field(rq, SLICE("X-Accel-Buffering")))
        srv_set(rq, "X-Accel-Buffering", "no");
    return srv_begin(rq, 200);
}

/* Puts a line of its own for each line of `data`: they end with LF, CR or both. */
static int put_event(struct buf *out, const char *name, const char *data) {
    int rc = name != NULL ? buf_printf(out, "event: %s\n", name) : 0;

    while (rc == 0) {
        size_t len = strcspn(data, "\r\n");

        rc = buf_append(out, SLICE("data: "));
        if (rc == 0)
            rc = buf_append(out, slice_of(data, len));
        if (rc == 0)
            rc = buf_append(out, SLICE("\n"));
        data += len;
        if (*data == '\0')
            break;
        data += data[0] == '\r' && data[1] == '\n' ? 2 : 1;
    }
    return rc == 0 ? buf_append(out, SLICE("\n")) : rc;
}

int srv_event(struct srv_request *rq, const char *name, const char *data) {
    struct buf text;
    int rc = rq->failed;

    if (rc == 0 && name != NULL && name[strcspn(name, "\r\n")] != '\0')
        return srv_fail(rq, 500, "the name of an event has more than one line");
    if (rc == 0 && !rq->streams && !rq->is_part)
        rc = begin_events(rq);
    if (rc == 0)
        rc = enter(rq);
    if (rc < 0)
        return rc;
    buf_init(&text, SERVER_REPLY_BYTES_MAX);
    rc = put_event(&text, name, data);
    rc = rc == 0 ? write_all(rq, buf_unread(&text)) : request_stick(rq, rc);
    buf_free(&text);
    return rc;
}

/* --- the body ------------------------------------------------------------ */

static int fail_reading(struct srv_request *rq, int rc, uint16_t status, const char *why) {
    rq->status = status;
    rq->why = why;
    rq->detail = NULL;
    return rc;
}

/* Waits for the client. The time in which the handler did not read is none of its. */
static int wait_readable(struct srv_request *rq) {
    struct session *s = rq->session;
    nsec_t now = io_now(rq->io);
    int rc;

    if (rq->body_left_at != 0)
        s->body_at += now - rq->body_left_at;
    rc = wait_client(rq, IO_READ, session_body_deadline(s, now));
    rq->body_left_at = io_now(rq->io);
    if (rc == -ETIMEDOUT && !is_late(rq))
        return fail_reading(rq, rc, 408, "the request did not arrive in time");
    return rc < 0 && rc != -ETIMEDOUT ? client_failed(rc) : rc;
}

/* Receives more, at least a byte or the end. 0 or -errno. */
static int receive(struct srv_request *rq) {
    struct session *s = rq->session;
    int rc = session_reserve(s);

    while (rc == 0) {
        ssize_t n = session_recv_body(s);

        if (n >= 0)
            return 0;
        rc = n == -EAGAIN ? wait_readable(rq) : client_failed((int)n);
    }
    return rc;
}

/* As srv_read, of what is not in memory. */
static ssize_t read_on(struct srv_request *rq, void *data, size_t size) {
    const char *why = NULL;
    ssize_t n;

    while ((n = request_body_take(rq->session, data, size, &why)) == -EAGAIN) {
        int rc = receive(rq);

        if (rc < 0)
            return request_stick(rq, rc);
    }
    if (n == -EBADMSG)
        fail_reading(rq, (int)n, http_err_status(why), why);
    return n < 0 ? request_stick(rq, (int)n) : n;
}

static bool is_broken(const struct session *s) {
    return s->http.phase == HTTP_PHASE_BROKEN;
}

long srv_read(struct srv_request *rq, void *data, size_t size) {
    struct session *s = rq->session;
    struct slice whole = slice_drop(buf_unread(&s->body), rq->body_read);

    if (rq->failed < 0)
        return rq->failed;
    if (rq->is_part || size == 0)
        return srv_fail(rq, 500,
                        rq->is_part ? "a part of a request cannot read its body"
                                    : "the handler has no room for the body");
    if (is_broken(s))
        return request_stick(rq, -EBADMSG);
    if (whole.len == 0)
        return session_in_body(s) ? read_on(rq, data, size) : 0;
    whole = slice_take(whole, size);
    memcpy(data, whole.ptr, whole.len);
    rq->body_read += whole.len;
    return (long)whole.len;
}

void stream_load_body(struct srv_request *rq) {
    struct buf *body = &rq->session->body;
    ssize_t n = 1;

    while (n > 0 && rq->failed == 0 && session_in_body(rq->session)) {
        n = buf_reserve(body, SERVER_BODY_RECV_BYTES);
        n = n < 0 ? request_stick(rq, (int)n) : read_on(rq, buf_tail(body), buf_room(body));
        buf_added(body, n > 0 ? (size_t)n : 0);
    }
}
