/* SPDX-License-Identifier: MIT */
/* One client connection while no handler has its request: read, refused, parked, asked, written to,
 * timed out; all on loop callbacks. */
#include "server/conn/client.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "server/conn/front.h"
#include <errno.h>
#include <poll.h>
#include <unistd.h>

static void client_readable(struct client *c);

static struct client *client_of(struct watch *w) {
    return CONTAINER_OF(w, struct client, watch);
}

/* --- life ------------------------------------------------------------------ */

static void client_free(struct deferred *work) {
    mem_free(CONTAINER_OF(work, struct client, later));
}

/* It does not get its answer, or the rest of it. */
static void client_gives_up(struct client *c) {
    nsec_t now = loop_now(c->front->loop);
    enum session_end end = c->state == CLIENT_QUEUED ? session_drop(&c->session, now)
                                                     : session_finish(&c->session, -ECANCELED, now);

    ASSERT(end == SESSION_CLOSE);
}

void client_end(struct client *c) {
    struct front *f = c->front;

    ASSERT(c->state != CLIENT_BUSY && c->state != CLIENT_GONE);
    front_settle(c);
    if (c->state == CLIENT_QUEUED)
        front_dequeue(c);
    if (c->state == CLIENT_QUEUED || c->state == CLIENT_SENDING)
        client_gives_up(c);
    c->state = CLIENT_GONE;
    timer_cancel(f->loop, &c->timer);
    watch_close(&c->watch);
    close(c->session.fd);
    session_free(&c->session);
    c->later.run = client_free;
    loop_defer(f->loop, &c->later);
    front_forget(c);
}

/* Time-outs of one connection replace each other all the time, and nearly always by later ones: the
 * timer is left alone then, and looks again when it fires. */
static void client_wake_at(struct client *c, nsec_t at) {
    if (timer_armed(&c->timer) && c->timer.at <= at)
        return;
    if (timer_set(c->front->loop, &c->timer, at) < 0)
        log_write(LOG_LEVEL_ERROR, "out of memory for a timer; a time-out may be missed");
}

void client_expect(struct client *c, nsec_t deadline) {
    c->deadline = deadline;
    client_wake_at(c, deadline);
}

static void client_expect_span(struct client *c, nsec_t span) {
    client_expect(c, deadline_after(loop_now(c->front->loop), span));
}

/* --- lingering ------------------------------------------------------------- */

static void client_linger(struct client *c) {
    c->state = CLIENT_LINGERING;
    session_free(&c->session);
    if (!linger_begin(&c->linger, c->session.fd)) {
        client_end(c);
        return;
    }
    client_expect_span(c, LINGER_NSEC);
    client_readable(c);
}

void client_part(struct client *c) {
    if (session_close(&c->session) == SESSION_LINGER)
        client_linger(c);
    else
        client_end(c);
}

/* Nobody was accepted since its answer. */
static void client_read_later(struct deferred *work) {
    struct client *c = CONTAINER_OF(work, struct client, later);
    bool answered = c->state == CLIENT_READING;

    client_readable(c);
    if (answered)
        front_pass_on(c->front);
}

/* Not now: what is read may be answered at once, and leads here again. */
static void client_read_on(struct client *c) {
    c->later.run = client_read_later;
    loop_defer(c->front->loop, &c->later);
}

static void client_drop_input(struct client *c) {
    enum linger_step step = linger_read(&c->linger, &c->watch);

    if (step == LINGER_TIRED)
        client_read_on(c);
    else if (step == LINGER_OVER)
        client_end(c);
}

/* An error answer is short, and nothing of ours is in flight: the socket takes it whole, or the
 * client does not read. */
static void client_refuse(struct client *c) {
    struct slice out = buf_unread(&c->session.out);

    if (watch_send(&c->watch, out.ptr, out.len) < 0) {
        client_end(c);
        return;
    }
    client_linger(c);
}

/* --- clients that leave ---------------------------------------------------- */

/* Nobody wants this answer any more. */
void client_left(struct client *c) {
    if (c->state == CLIENT_QUEUED) {
        client_end(c);
    } else if (!c->abandoned) {
        c->abandoned = true;
        c->front->abandon(c);
    }
}

/* When a half-closed client is asked, or whether to ask it is looked at again. */
static nsec_t client_ask_at(const struct client *c, nsec_t now) {
    if (front_is_short(c->front))
        return deadline_after(now, SERVER_DOUBT_SOON_NSEC);
    return nsec_min(c->patient_until, deadline_after(now, SERVER_DOUBT_GLANCE_NSEC));
}

static void client_begin_doubt(struct client *c) {
    nsec_t now = loop_now(c->front->loop), span = session_doubt(&c->session);

    if (span == 0) {
        client_left(c);
        return;
    }
    if (span == NSEC_NEVER)
        return;
    c->patient_until = deadline_after(now, span);
    c->ask_at = client_ask_at(c, now);
    if (c->state == CLIENT_QUEUED)
        c->front->doubted++;
    client_wake_at(c, c->ask_at);
}

/* A hang-up, or an error, while a request waits. A client that has closed its sending side is asked
 * after a while: naive clients take what asks for their answer. Dead ones must not keep slots from
 * others, though. */
void client_doubt(struct client *c) {
    struct pollfd poll_fd = { .fd = c->session.fd, .events = POLLRDHUP };

    if (poll(&poll_fd, 1, 0) <= 0)
        return;
    if (poll_fd.revents & (POLLERR | POLLHUP)) {
        client_left(c);
    } else if (c->asks == 0 && c->ask_at == NSEC_NEVER) {
        client_begin_doubt(c);
    }
}

static void client_ask(struct client *c) {
    nsec_t now = loop_now(c->front->loop);

    if (c->asks == 0 && now < c->patient_until && !front_is_short(c->front)) {
        c->ask_at = client_ask_at(c, now);
        client_wake_at(c, c->ask_at);
        return;
    }
    if (c->state == CLIENT_QUEUED && client_is_doubted(c))
        c->front->doubted--;
    c->ask_at = NSEC_NEVER;
    if (!session_ask(&c->session)) {
        client_left(c);
        return;
    }
    c->ask_at = io_ask_again_at(now, ++c->asks);
    if (c->ask_at != NSEC_NEVER)
        client_wake_at(c, c->ask_at);
}

/* --- sending --------------------------------------------------------------- */

/* Writes what the client takes of its answer; true when it is gone from here, answered or not. */
static bool client_send(struct client *c) {
    struct slice out = buf_unread(&c->session.out);
    ssize_t n = watch_send(&c->watch, out.ptr, out.len);

    if (n < 0 && n != -EAGAIN) {
        client_end(c);
        return true;
    }
    buf_consume(&c->session.out, n > 0 ? (size_t)n : 0);
    if (buf_unread(&c->session.out).len > 0)
        return false;
    c->state = CLIENT_READING;
    client_resume(c, session_finish(&c->session, 0, loop_now(c->front->loop)));
    return true;
}

/* --- reading --------------------------------------------------------------- */

/* The first request's header time-out runs since the connection was accepted. */
static void client_await(struct client *c) {
    const struct serve_config *config = c->front->worker->config;
    bool began = session_began(&c->session);

    if (session_in_body(&c->session))
        client_expect(c, session_body_deadline(&c->session, loop_now(c->front->loop)));
    else if (c->session.served > 0 || c->front->stopping)
        client_expect_span(c, began ? config->header_timeout : config->keep_alive);
}

/* Acts on what session_feed makes of the bytes at hand; true when it wants more of them. */
static bool client_advance(struct client *c) {
    switch (session_feed(&c->session)) {
    case SESSION_MORE:
        return true;
    case SESSION_READY:
        front_settle(c);
        front_enqueue(c);
        return false;
    case SESSION_CLOSED:
        client_end(c);
        return false;
    case SESSION_REFUSED:
        client_refuse(c);
        return false;
    }
    return false;
}

static void client_read(struct client *c) {
    struct session *s = &c->session;
    bool began;
    ssize_t n;

    do {
        if (session_reserve(s) < 0) {
            client_end(c);
            return;
        }
        n = watch_recv(&c->watch, buf_tail(&s->in), buf_room(&s->in));
        if (n == -EAGAIN) {
            if (session_began(s))
                front_settle(c); /* a slow one: no request soon */
            else
                session_go_idle(s);
            return;
        }
        if (n < 0) {
            client_end(c);
            return;
        }
        began = session_began(s);
        s->eof = n == 0;
        buf_added(&s->in, (size_t)n);
        if (!client_advance(c))
            return;
        if (!began || session_in_body(s))
            client_await(c);
    } while (!s->eof);
}

static void client_readable(struct client *c) {
    if (c->state == CLIENT_READING)
        client_read(c);
    else if (c->state == CLIENT_LINGERING)
        client_drop_input(c);
}

/* While a request waits, what is readable can wait, too, unless it may be an error. */
static void client_notify(struct watch *w, unsigned what) {
    struct client *c = client_of(w);

    if (c->state == CLIENT_QUEUED || c->state == CLIENT_BUSY) {
        if ((what & IO_HANGUP) || ((what & IO_READ) && watch_may_be_broken(w)))
            client_doubt(c);
    } else if (c->state == CLIENT_SENDING) {
        (void)client_send(c);
    } else if (what & (IO_READ | IO_HANGUP)) {
        client_readable(c);
    }
}

void client_resume(struct client *c, enum session_end end) {
    if (end == SESSION_SEND) {
        c->state = CLIENT_SENDING;
        c->deadline = NSEC_NEVER;
        if (client_send(c))
            return;
        session_keep_answer(&c->session);
        client_expect_span(c, c->front->worker->config->send_timeout);
        return;
    }
    if (end == SESSION_LINGER) {
        client_linger(c);
        return;
    }
    if (end == SESSION_CLOSE) {
        client_end(c);
        return;
    }
    watch_proven(&c->watch); /* its answer was written */
    if (c->session.served == 1)
        front_keep(c->front);
    if (session_began(&c->session) && !client_advance(c))
        return;
    if (!session_began(&c->session))
        session_go_idle(&c->session);
    client_await(c);
    if (c->watch.ready & IO_READ)
        client_read_on(c); /* edge-triggered: what came meanwhile is not announced again */
}

/* An answer from the front itself, to a whole request that no slot has seen: short, as in
 * client_refuse. */
static void client_answer(struct client *c, enum session_end end) {
    struct slice out = buf_unread(&c->session.out);

    if (out.len == 0 || watch_send(&c->watch, out.ptr, out.len) != (ssize_t)out.len)
        end = SESSION_CLOSE;
    buf_consume(&c->session.out, out.len);
    c->state = CLIENT_READING;
    client_resume(c, end);
}

void client_turn_down(struct client *c, uint16_t status, const char *why) {
    client_answer(c, session_turn_down(&c->session, status, why));
}

void client_tell_health(struct client *c) {
    client_answer(c, session_tell_health(&c->session));
}

/* --- time-outs ------------------------------------------------------------- */

static void client_late(struct timer *timer) {
    struct client *c = CONTAINER_OF(timer, struct client, timer);
    nsec_t now = loop_now(c->front->loop);
    bool waits = c->state == CLIENT_QUEUED || c->state == CLIENT_BUSY;

    front_settle(c);
    if (waits && now >= c->ask_at)
        client_ask(c);
    if (c->state == CLIENT_GONE)
        return;
    if (now < c->deadline) {
        client_wake_at(c, waits ? nsec_min(c->deadline, c->ask_at) : c->deadline);
        return;
    }
    if (c->state == CLIENT_QUEUED) {
        front_expire(c);
        return;
    }
    if (c->state == CLIENT_READING && session_began(&c->session)) {
        session_refuse(&c->session, 408, "the request did not arrive in time");
        client_refuse(c);
        return;
    }
    if (c->state == CLIENT_READING)
        client_part(c);
    else
        client_end(c);
}

/* --- accepting ------------------------------------------------------------- */

void client_open(struct front *f, const struct accepted *accepted) {
    struct client *c = mem_calloc(1, sizeof(*c));
    int rc, fd = accepted->fd;

    if (c == NULL) {
        close(fd);
        return;
    }
    c->front = f;
    c->state = CLIENT_READING;
    c->timer.fire = client_late;
    session_init(&c->session, f->worker, fd);
    session_accept(&c->session, accepted);
    c->session.last = f->worker->config->keep_alive == 0;
    rc = watch_open(&c->watch, f->loop, fd, client_notify);
    if (rc < 0) {
        static struct log_rate rate = { .per_second = 1 };
        log_limited(&rate, LOG_LEVEL_ERROR, "cannot watch a connection error=\"%s\"",
                    strerrordesc_np(-rc));
        close(fd);
        mem_free(c);
        return;
    }
    front_remember(c);
    client_expect_span(c, f->worker->config->header_timeout);
    front_expect_request(c);
    client_read(c);
}
