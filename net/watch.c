/* SPDX-License-Identifier: MIT */
/* Descriptors registered once, edge-triggered, whose readiness is remembered between system calls.
 */
#include "net/watch.h"
#include "net/socket.h"
#include <errno.h>

/* Private bits of `ready`.
 *
 * libevent 2.1 reports EPOLLERR as plain EV_READ | EV_WRITE, which is also what an ordinary message
 * looks like. So an event with both bits may hide an error behind the last bytes: it is UNSURE
 * until a call has proven the socket alive. A short read on an UNSURE socket leaves READ set and
 * notes SHORT: the next read is tried, and says EAGAIN or the error. A send that works is as good a
 * proof, so that request and response traffic never pays for that extra call. */
enum { WATCH_UNSURE = 8, WATCH_SHORT = 16 };

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

/* Epoll repeats every bit that holds in every event; only what the owner does not know yet is news.
 */
static void on_event(evutil_socket_t fd, short what, void *arg) {
    struct watch *w = arg;
    unsigned known = w->ready;
    unsigned bits = 0;
    (void)fd;

    if (known & WATCH_SHORT)
        known &= ~(unsigned)IO_READ;
    if (what & EV_CLOSED)
        bits = IO_HANGUP | IO_READ;
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
    if (bits & ~known)
        w->notify(w, bits & ~known);
}

int watch_open(struct watch *w, struct loop *loop, int fd,
               void (*notify)(struct watch *, unsigned)) {
    w->loop = loop;
    w->fd = fd;
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
    event_del(&w->event);
    w->ready = 0;
}

ssize_t watch_recv(struct watch *w, void *data, size_t size) {
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

ssize_t watch_send(struct watch *w, const void *data, size_t size) {
    if (!(w->ready & IO_WRITE))
        return -EAGAIN;

    ssize_t n = socket_send(w->fd, data, size);
    if (n >= 0)
        settle(w);
    else if (n != -EAGAIN)
        w->ready |= IO_HANGUP | IO_READ;
    if (n == -EAGAIN || (n >= 0 && (size_t)n < size))
        watch_drained(w, IO_WRITE);
    return n;
}
