/* SPDX-License-Identifier: MIT */
/* Clients between requests: accepted, read, refused, parked, timed out; all on loop callbacks. */
#include "server/front.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include <errno.h>
#include <signal.h>
#include <unistd.h>

static void client_readable(struct client *c);

static struct client *client_of(struct watch *w) {
    return CONTAINER_OF(w, struct client, watch);
}

/* --- life ---------------------------------------------------------------------- */

static void client_free(struct deferred *work) {
    mem_free(CONTAINER_OF(work, struct client, freeing));
}

/* Full: new connections are left to other workers, or to the backlog. */
static void front_balance(struct front *f) {
    bool full = f->busy + f->waiting + f->fresh >= f->slots;

    if (f->slots == 0 || f->stopping)
        return;
    for (size_t i = 0; i < f->worker->listen_count; i++) {
        if (full)
            acceptor_pause(&f->acceptors[i]);
        else
            acceptor_resume(&f->acceptors[i]);
    }
}

/* Until it has sent a request, or for a moment, a new connection counts as one more request. */
static void client_is_fresh(struct client *c) {
    struct front *f = c->front;

    if (timer_set(f->loop, &c->timer, deadline_after(loop_now(f->loop), SERVER_FRESH_NSEC)) < 0)
        return;
    c->fresh = true;
    f->fresh++;
    front_balance(f);
}

/* It has shown what it wants, or had its moment. */
static void client_settle(struct client *c) {
    if (!c->fresh)
        return;
    c->fresh = false;
    c->front->fresh--;
    front_balance(c->front);
}

static void dequeue(struct client *c) {
    TAILQ_REMOVE(&c->front->queue, c, queued);
    c->front->waiting--;
}

static void client_close(struct client *c) {
    struct front *f = c->front;

    ASSERT(c->state != CLIENT_BUSY && c->state != CLIENT_GONE);
    client_settle(c);
    if (c->state == CLIENT_QUEUED)
        dequeue(c);
    c->state = CLIENT_GONE;
    timer_cancel(f->loop, &c->timer);
    watch_close(&c->watch);
    close(c->session.fd);
    session_free(&c->session);
    TAILQ_REMOVE(&f->clients, c, link);
    f->count--;
    c->freeing.run = client_free;
    loop_defer(f->loop, &c->freeing);
    if (f->stopping && f->count == 0)
        loop_stop(f->loop);
}

/* Time-outs of one connection replace each other all the time, and nearly always by later ones: the
 * timer is left alone then, and looks again when it fires. */
static void client_expect(struct client *c, nsec_t deadline) {
    c->deadline = deadline;
    if (timer_armed(&c->timer) && c->timer.at <= deadline)
        return;
    if (timer_set(c->front->loop, &c->timer, deadline) < 0)
        log_write(LOG_LEVEL_ERROR, "out of memory for a timer; a time-out may be missed");
}

static void client_expect_span(struct client *c, nsec_t span) {
    client_expect(c, deadline_after(loop_now(c->front->loop), span));
}

/* --- lingering ------------------------------------------------------------------- */

/* The client may still be sending: closing at once would reset the connection and take our answer
 * with it (RFC 9112 section 9.6). */
static void client_linger(struct client *c) {
    c->state = CLIENT_LINGERING;
    session_free(&c->session);
    if (shutdown(c->session.fd, SHUT_WR) < 0) {
        client_close(c);
        return;
    }
    client_expect_span(c, SERVER_LINGER_NSEC);
    client_readable(c);
}

static void client_drop_input(struct client *c) {
    char scratch[1024];
    ssize_t n;

    do {
        n = watch_recv(&c->watch, scratch, sizeof(scratch));
        if (n > 0)
            c->lingered_bytes += (unsigned)n;
    } while (n > 0 && c->lingered_bytes < SERVER_LINGER_BYTES_MAX);
    if (n != -EAGAIN)
        client_close(c);
}

/* An error answer is short, and nothing of ours is in flight: the socket takes it whole, or the
 * client does not read. */
static void client_refuse(struct client *c) {
    struct slice out = buf_unread(&c->session.out);

    if (watch_send(&c->watch, out.ptr, out.len) < 0) {
        client_close(c);
        return;
    }
    client_linger(c);
}

/* --- reading ------------------------------------------------------------------------ */

/* Hands waiting requests to the model while it has slots. Not re-entrant: a model that serves or
 * fails at once comes back through front_return while this runs. */
static void front_pump(struct front *f) {
    struct client *c;

    if (f->pumping)
        return;
    f->pumping = true;
    while ((c = TAILQ_FIRST(&f->queue)) != NULL && (f->slots == 0 || f->busy < f->slots)) {
        dequeue(c);
        c->state = CLIENT_BUSY;
        c->session.last |= f->stopping;
        f->busy++;
        f->dispatch(c);
    }
    f->pumping = false;
    front_balance(f);
}

static void client_enqueue(struct client *c) {
    struct front *f = c->front;

    c->state = CLIENT_QUEUED;
    c->session.ready_at = loop_now(f->loop);
    c->deadline = NSEC_NEVER;
    TAILQ_INSERT_TAIL(&f->queue, c, queued);
    f->waiting++;
    client_settle(c);
    front_pump(f);
}

static void client_await(struct client *c) {
    const struct serve_config *config = c->front->worker->config;
    bool began = session_began(&c->session);

    if (session_in_body(&c->session))
        client_expect_span(c, config->body_timeout);
    else if (began && c->deadline != NSEC_NEVER && c->session.served == 0)
        return; /* the header time-out runs since the connection was accepted */
    else if (began || c->session.served == 0)
        client_expect_span(c, config->header_timeout);
    else
        client_expect_span(c, config->keep_alive);
}

/* Acts on what session_feed makes of the bytes at hand; true when it wants more of them. */
static bool client_advance(struct client *c) {
    switch (session_feed(&c->session)) {
    case SESSION_MORE:
        return true;
    case SESSION_READY:
        client_enqueue(c);
        return false;
    case SESSION_CLOSED:
        client_close(c);
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
            client_close(c);
            return;
        }
        n = watch_recv(&c->watch, buf_tail(&s->in), buf_room(&s->in));
        if (n == -EAGAIN) {
            if (!session_began(s))
                session_idle(s);
            return;
        }
        if (n < 0) {
            client_close(c);
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

static void client_notify(struct watch *w, unsigned what) {
    if (what & (IO_READ | IO_HANGUP))
        client_readable(client_of(w));
}

static void client_resume(struct client *c, enum session_end end) {
    if (end == SESSION_LINGER) {
        client_linger(c);
        return;
    }
    if (end == SESSION_CLOSE || (c->front->stopping && !session_began(&c->session))) {
        client_close(c);
        return;
    }
    watch_proven(&c->watch); /* its answer was written */
    if (session_began(&c->session) && !client_advance(c))
        return;
    if (!session_began(&c->session))
        session_idle(&c->session);
    client_await(c);
    if (c->watch.ready & IO_READ)
        client_read(c); /* edge-triggered: what came meanwhile is not announced again */
}

void front_return(struct client *c, enum session_end end) {
    struct front *f = c->front;

    ASSERT(c->state == CLIENT_BUSY);
    f->busy--;
    c->state = CLIENT_READING;
    client_resume(c, end);
    front_pump(f);
}

/* The request was read to its end: nothing is lost by closing after the answer. */
void front_refuse(struct client *c, uint16_t status, const char *why) {
    struct slice out;

    session_refuse(&c->session, status, why);
    out = buf_unread(&c->session.out);
    if (watch_send(&c->watch, out.ptr, out.len) < 0)
        log_write(LOG_LEVEL_DEBUG, "client did not take its refusal");
    c->session.head_used = 0;
    front_return(c, SESSION_LINGER);
}

/* --- time-outs -------------------------------------------------------------------------- */

static void client_late(struct timer *timer) {
    struct client *c = CONTAINER_OF(timer, struct client, timer);

    client_settle(c);
    if (loop_now(c->front->loop) < c->deadline) {
        if (c->deadline != NSEC_NEVER)
            client_expect(c, c->deadline);
        return;
    }
    if (c->state == CLIENT_READING && session_began(&c->session)) {
        session_refuse(&c->session, 408, "the request did not arrive in time");
        client_refuse(c);
        return;
    }
    client_close(c);
}

/* --- accepting ----------------------------------------------------------------------------- */

static void client_accepted(struct acceptor *a, int fd, const struct address *peer UNUSED) {
    struct front *f = a->arg;
    struct client *c = mem_calloc(1, sizeof(*c));
    int rc;

    if (c == NULL) {
        close(fd);
        return;
    }
    c->front = f;
    c->state = CLIENT_READING;
    c->timer.fire = client_late;
    session_init(&c->session, f->worker, fd);
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
    TAILQ_INSERT_TAIL(&f->clients, c, link);
    f->count++;
    client_await(c);
    if (f->slots > 0)
        client_is_fresh(c);
    client_read(c);
}

int front_open(struct front *f, struct error *err) {
    /* Alone, take all that is there; among others, one at a time, so that each gets a share. */
    unsigned burst = f->worker->config->workers > 1 ? 1 : SERVER_ACCEPT_BURST;

    TAILQ_INIT(&f->clients);
    TAILQ_INIT(&f->queue);
    for (size_t i = 0; i < f->worker->listen_count; i++) {
        int rc = acceptor_open(&f->acceptors[i], f->loop, f->worker->listen_fds[i], burst,
                               client_accepted, f);
        if (rc < 0)
            return error_set(err, rc, "cannot accept connections: %s", strerrordesc_np(-rc));
    }
    return 0;
}

/* --- stopping ----------------------------------------------------------------------------------
 */

static void abandon_all(struct front *f) {
    struct client *c, *next;

    for (c = TAILQ_FIRST(&f->clients); c != NULL; c = next) {
        next = TAILQ_NEXT(c, link);
        if (c->state == CLIENT_BUSY)
            f->abandon(c);
        else
            client_close(c);
    }
}

static void out_of_patience(struct timer *timer) {
    struct front *f = CONTAINER_OF(timer, struct front, patience);

    log_write(LOG_LEVEL_WARN, "graceful stop takes too long, cancelling requests=%u", f->busy);
    abandon_all(f);
}

static void close_idle(struct front *f) {
    struct client *c, *next;

    for (c = TAILQ_FIRST(&f->clients); c != NULL; c = next) {
        next = TAILQ_NEXT(c, link);
        if (c->state == CLIENT_READING && !session_began(&c->session))
            client_close(c);
        else
            c->session.last = true;
    }
}

void front_stop(struct front *f, nsec_t patience) {
    nsec_t until = deadline_after(loop_now(f->loop), patience);

    for (size_t i = 0; !f->stopping && i < f->worker->listen_count; i++)
        acceptor_close(&f->acceptors[i]);
    f->stopping = true;
    close_idle(f);
    f->patience.fire = out_of_patience;
    if (f->count == 0)
        loop_stop(f->loop);
    else if (patience == 0 || timer_set(f->loop, &f->patience, until) < 0)
        abandon_all(f);
}

void front_signal(struct front *f, int signo) {
    if (signo == SIGTERM && !f->stopping)
        front_stop(f, f->worker->config->graceful_timeout);
    else if (signo == SIGTERM || signo == SIGINT || signo == SIGQUIT)
        front_stop(f, 0);
}

void front_close(struct front *f) {
    timer_cancel(f->loop, &f->patience);
    ASSERT(f->count == 0);
}
