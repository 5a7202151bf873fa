/* SPDX-License-Identifier: MIT */
/* Descriptors registered once, edge-triggered, whose readiness is remembered between system calls.
 */
#include "net/watch.h"
#include "net/socket.h"
#include "net/tls.h"
#include <errno.h>

/* Private bits of `ready`.
 *
 * libevent 2.1 reports EPOLLERR as plain EV_READ | EV_WRITE, which is also what an ordinary message
 * looks like. So an event with both bits may hide an error behind the last bytes: it is UNSURE
 * until a call has proven the socket alive. A short read on an UNSURE socket leaves READ set and
 * notes SHORT: the next read is tried, and says EAGAIN or the error. A send that works is as good a
 * proof, so that request and response traffic never pays for that extra call.
 *
 * A handshake that waits for its turn waits for TURN and for nothing else.
 *
 * REST: READ is set for bytes within TLS alone, and goes with them; all of the socket was read, so
 * that its next bytes and its end are news. */
enum { WATCH_UNSURE = 8, WATCH_SHORT = 16, WATCH_TURN = 32, WATCH_REST = 64 };

static void settle(struct watch *w) {
    if ((w->ready & WATCH_SHORT) && !(w->ready & IO_HANGUP))
        w->ready &= ~(unsigned)IO_READ;
    w->ready &= ~(unsigned)(WATCH_UNSURE | WATCH_SHORT);
}

static void read_fell_short(struct watch *w) {
    w->ready |= WATCH_SHORT;
    if (!(w->ready & WATCH_UNSURE))
        settle(w);
}

void watch_drained(struct watch *w, unsigned what) {
    if (what & IO_READ) {
        w->ready |= WATCH_SHORT;
        settle(w);
    }
    if (what & IO_WRITE)
        w->ready &= ~(unsigned)IO_WRITE;
}

bool watch_may_be_broken(const struct watch *w) {
    return (w->ready & (WATCH_UNSURE | IO_HANGUP)) != 0;
}

bool watch_may_have_data(const struct watch *w) {
    return (w->ready & (IO_READ | WATCH_SHORT)) == IO_READ;
}

void watch_proven(struct watch *w) {
    settle(w);
}

/* Translates news of the socket for those who send and receive through TLS. */
static unsigned told_within(const struct tls *t, unsigned news) {
    return (t->recv_awaits & news ? IO_READ : 0) | (t->send_awaits & news ? IO_WRITE : 0);
}

/* Epoll repeats every bit that holds in every event; only what the owner does not know yet is news.
 */
static void on_event(evutil_socket_t fd, short what, void *arg) {
    struct watch *w = arg;
    unsigned known = w->ready;
    unsigned bits = 0;
    (void)fd;

    if (known & (WATCH_SHORT | WATCH_REST))
        known &= ~(unsigned)IO_READ;
    if (what & EV_CLOSED)
        bits = IO_HANGUP | IO_READ;
    if (what & (EV_READ | EV_CLOSED))
        w->ready &= ~(unsigned)WATCH_REST;
    if (what & EV_READ) {
        bits |= IO_READ;
        w->ready &= ~(unsigned)WATCH_SHORT;
    }
    if (what & EV_WRITE)
        bits |= IO_WRITE;
    w->ready |= bits;
    if ((what & (EV_READ | EV_WRITE | EV_CLOSED)) == (EV_READ | EV_WRITE))
        w->ready |= WATCH_UNSURE;

    /* Once the peer has closed its side, every event says so but that of an error (above). */
    if ((known & IO_HANGUP) && !(what & EV_CLOSED)) {
        known &= ~(unsigned)IO_HANGUP;
        bits |= IO_HANGUP;
    }
    bits &= ~known;
    if (w->tls != NULL)
        bits |= told_within(w->tls, bits);
    if (bits != 0)
        w->notify(w, bits);
}

int watch_open(struct watch *w, struct loop *loop, int fd,
               void (*notify)(struct watch *, unsigned)) {
    w->loop = loop;
    w->fd = fd;
    w->tls = NULL;
    w->notify = notify;
    w->ready = IO_READ | IO_WRITE;

    short what = EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST;
    if (event_assign(&w->event, loop_base(loop), fd, what, on_event, w) < 0)
        return -EINVAL;

    errno = 0;
    if (event_add(&w->event, NULL) < 0)
        return errno != 0 ? -errno : -ENOMEM;
    return 0;
}

void watch_close(struct watch *w) {
    if (w->tls != NULL)
        watch_secure(w, NULL);
    event_del(&w->event);
    w->ready = 0;
}

static ssize_t bare_recv(struct watch *w, void *data, size_t size) {
    if (!(w->ready & IO_READ))
        return -EAGAIN;

    ssize_t n = socket_recv(w->fd, data, size);
    if (n == -EAGAIN)
        watch_drained(w, IO_READ);
    else if (n <= 0)
        w->ready |= IO_HANGUP;
    else if ((size_t)n < size)
        read_fell_short(w);
    return n;
}

static inline ssize_t send_by(ssize_t (*send)(int fd, const void *data, size_t size),
                              struct watch *w, const void *data, size_t size) {
    if (!(w->ready & IO_WRITE))
        return -EAGAIN;

    ssize_t n = send(w->fd, data, size);
    if (n >= 0)
        settle(w);
    else if (n != -EAGAIN)
        w->ready |= IO_HANGUP | IO_READ;
    if (n == -EAGAIN || (n >= 0 && (size_t)n < size))
        watch_drained(w, IO_WRITE);
    return n;
}

static ssize_t bare_send(struct watch *w, const void *data, size_t size) {
    return send_by(socket_send, w, data, size);
}

/* --- through TLS ------------------------------------------------------------------------------ */

static ssize_t wire_recv(void *arg, void *data, size_t size) {
    return bare_recv(arg, data, size);
}

static ssize_t wire_send(void *arg, const void *data, size_t size) {
    return bare_send(arg, data, size);
}

static const struct tls_wire_ops watch_wire = { wire_recv, wire_send };

static void on_turn(struct deferred *work) {
    struct tls *t = CONTAINER_OF(work, struct tls, turn);
    struct watch *w = t->wire.arg;

    t->may_go_on = true;
    w->ready |= WATCH_TURN;
    w->notify(w, w->ready & (IO_READ | IO_WRITE | IO_HANGUP));
}

static void on_late_news(struct deferred *work) {
    struct tls *t = CONTAINER_OF(work, struct tls, news);
    struct watch *w = t->wire.arg;

    w->notify(w, IO_READ | IO_HANGUP);
}

/* Bytes that stay within give no event, nor does an end that was read behind the last bytes. */
static void settle_within(struct watch *w, ssize_t n) {
    struct tls *t = w->tls;

    if (t->has_rest) {
        if (!watch_may_have_data(w))
            w->ready |= WATCH_REST;
        w->ready = (w->ready | IO_READ) & ~(unsigned)WATCH_SHORT;
    } else if (w->ready & WATCH_REST) {
        w->ready &= ~(unsigned)WATCH_REST;
        read_fell_short(w); /* an error may hide behind these bytes, too */
    }
    if (!t->ended && t->failure == 0)
        return;
    if (n > 0 && !(w->ready & IO_HANGUP))
        loop_defer(w->loop, &t->news);
    w->ready |= IO_READ | IO_HANGUP;
}

void watch_secure(struct watch *w, struct tls *tls) {
    if (w->tls != NULL) {
        loop_drop_heavy(w->loop, &w->tls->turn);
        loop_undefer(w->loop, &w->tls->news);
        tls_attach(w->tls, NULL, NULL);
    }
    w->tls = tls;
    if (tls != NULL) {
        tls_attach(tls, &watch_wire, w);
        tls->turn.run = on_turn;
        tls->news.run = on_late_news;
        settle_within(w, 0); /* as another owner has left it */
    }
}

/* Whether a step that waits for `awaits` may be made: it may be known to come to nothing, and one
 * of a handshake may have to wait for its turn. */
static bool may_step(struct watch *w, unsigned awaits) {
    struct tls *t = w->tls;

    if (LIKELY(t->state == TLS_OPEN))
        return (w->ready & awaits) != 0;
    if (t->state != TLS_HANDSHAKING)
        return true;
    w->ready &= ~(unsigned)WATCH_TURN;
    if (t->may_go_on || loop_may_do_heavy(w->loop, &t->turn)) {
        t->may_go_on = false;
        return true;
    }
    t->recv_awaits = t->send_awaits = WATCH_TURN;
    return false;
}

int watch_handshake(struct watch *w) {
    if (!tls_is_open(w->tls) && !may_step(w, 0))
        return -EAGAIN;

    int rc = tls_handshake(w->tls);
    settle_within(w, 0);
    return rc;
}

ssize_t watch_peek_at(struct watch *w, void *data, size_t size) {
    if (!may_step(w, w->tls->recv_awaits))
        return -EAGAIN;

    ssize_t n = tls_peek_at(w->tls, data, size);
    settle_within(w, 0);
    return n;
}

int watch_peek(struct watch *w) {
    char byte;

    return (int)watch_peek_at(w, &byte, 1);
}

static NOINLINE ssize_t recv_within(struct watch *w, void *data, size_t size) {
    if (!may_step(w, w->tls->recv_awaits))
        return -EAGAIN;

    ssize_t n = tls_recv(w->tls, data, size);
    settle_within(w, n);
    return n;
}

static NOINLINE ssize_t send_within(struct watch *w, const void *data, size_t size) {
    if (!may_step(w, w->tls->send_awaits))
        return -EAGAIN;

    ssize_t n = tls_send(w->tls, data, size);
    settle_within(w, n);
    return n;
}

/* --- either way ------------------------------------------------------------------------------- */

ssize_t watch_recv(struct watch *w, void *data, size_t size) {
    return LIKELY(w->tls == NULL) ? bare_recv(w, data, size) : recv_within(w, data, size);
}

ssize_t watch_send(struct watch *w, const void *data, size_t size) {
    return LIKELY(w->tls == NULL) ? bare_send(w, data, size) : send_within(w, data, size);
}

ssize_t watch_send_last(struct watch *w, const void *data, size_t size) {
    return w->tls == NULL ? send_by(socket_send_last, w, data, size) : send_within(w, data, size);
}
