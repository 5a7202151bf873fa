/* SPDX-License-Identifier: MIT */
/* Reads and writes a session's bytes with waits. */
#include "server/conn/session_thread.h"
#include "net/linger.h"

static nsec_t read_deadline(struct session *s, nsec_t now, nsec_t head_deadline) {
    return session_in_body(s) ? session_body_deadline(s, now) : head_deadline;
}

enum session_step session_read(struct session *s, struct io *idle, struct io *io) {
    const struct serve_config *config = s->worker->config;
    bool is_idle = !session_began(s), is_kept = is_idle && s->served > 0;
    nsec_t span = is_kept ? config->keep_alive : config->header_timeout;
    nsec_t head_deadline = deadline_after(io_now(io), span);
    enum session_step step;
    ssize_t n;

    while ((step = session_feed(s)) == SESSION_MORE) {
        if (session_reserve(s) < 0)
            return session_refuse(s, 503, "out of memory");
        n = io_read(is_idle ? idle : io, s->fd, buf_tail(&s->in), buf_room(&s->in),
                    read_deadline(s, io_now(io), head_deadline));
        if (n == -ETIMEDOUT && session_began(s))
            return session_refuse(s, 408, "the request did not arrive in time");
        if (n < 0)
            return SESSION_CLOSED;
        if (is_kept)
            head_deadline = deadline_after(io_now(io), config->header_timeout);
        is_idle = is_kept = false;
        s->eof = n == 0;
        buf_added(&s->in, (size_t)n);
    }
    if (step == SESSION_READY)
        session_ready(s, io_now(io));
    return step;
}

static int write_out(struct session *s, struct io *io) {
    struct slice out = buf_unread(&s->out);
    nsec_t deadline = deadline_after(io_now(io), s->worker->config->send_timeout);
    int rc = io_write_all(io, s->fd, out.ptr, out.len, deadline);

    buf_consume(&s->out, out.len);
    return rc;
}

enum session_end session_serve(struct session *s, struct io *io) {
    int rc = session_run(s, io);

    if (rc == 0)
        rc = write_out(s, io);
    return session_finish(s, rc, io_now(io));
}

enum session_end session_write_refusal(struct session *s, struct io *io) {
    return write_out(s, io) < 0 ? SESSION_CLOSE : SESSION_LINGER;
}

enum session_end session_write_health(struct session *s, struct io *io) {
    enum session_end end = session_tell_health(s);

    return write_out(s, io) < 0 ? SESSION_CLOSE : end;
}

struct session_reader {
    struct io *io;
    int fd;
    nsec_t deadline;
};

static ssize_t read_until(void *arg, void *data, size_t size) {
    const struct session_reader *r = arg;

    return io_read(r->io, r->fd, data, size, r->deadline);
}

void session_linger(struct session *s, struct io *io) {
    struct session_reader r = { io, s->fd, deadline_after(io_now(io), LINGER_NSEC) };

    linger_wait(s->fd, read_until, &r);
}
