/* SPDX-License-Identifier: MIT */
/* The wait of a fiber: it parks until the descriptor's watch has news. */
#include "base/alloc.h"
#include "base/assert.h"
#include "fiber/io.h"
#include "net/socket.h"
#include "net/tls.h"
#include <errno.h>
#include <poll.h>
#include <string.h>

enum { TABLE_CAP_FIRST = 64 };

/* On the stack of the fiber that waits. */
struct io_waiter {
    struct io_waiter *next;
    struct fiber *fiber;
    unsigned what;
    bool closed; /* the descriptor was forgotten meanwhile, and `next` is void */
};

/* One registered descriptor. It has waiters, or it is idle, or neither. */
struct entry {
    struct watch watch;
    struct io_fiber *owner;
    struct io_waiter *waiters;
    void (*idle)(void *arg, int fd); /* NULL when not idle */
    void *idle_arg;
    struct deferred idle_news; /* calls back when data was there already */
    struct entry *next_spare;
};

struct io_fiber {
    struct io io;
    struct fibers *fibers;
    struct entry **by_fd; /* NULL where nothing is registered */
    int cap;
    struct entry *spare;
};

static struct io_fiber *fiber_of(struct io *io) {
    return CONTAINER_OF(io, struct io_fiber, io);
}

/* --- the table ------------------------------------------------------------------------------- */

static struct entry *lookup(const struct io_fiber *f, int fd) {
    return fd >= 0 && fd < f->cap ? f->by_fd[fd] : NULL;
}

static int grow_table(struct io_fiber *f, int fd) {
    int cap = f->cap > 0 ? f->cap : TABLE_CAP_FIRST;
    while (cap <= fd)
        cap *= 2;
    struct entry **by_fd = mem_realloc(f->by_fd, (size_t)cap * sizeof(struct entry *));
    if (by_fd == NULL)
        return -ENOMEM;

    for (int i = f->cap; i < cap; i++)
        by_fd[i] = NULL;
    f->by_fd = by_fd;
    f->cap = cap;
    return 0;
}

/* Any use of a descriptor makes it busy. */
static void end_idle(struct entry *e) {
    if (e->idle == NULL)
        return;

    e->idle = NULL;
    loop_undefer(e->owner->io.loop, &e->idle_news);
}

static void take_idle(struct entry *e) {
    void (*idle)(void *, int) = e->idle;

    end_idle(e);
    idle(e->idle_arg, e->watch.fd);
}

/* A reset looks like data (net/watch.c): who waits for the end of a connection needs to know. */
static void look_for_hangup(struct entry *e) {
    struct pollfd poll_fd = { .fd = e->watch.fd, .events = POLLRDHUP };

    if (poll(&poll_fd, 1, 0) > 0)
        e->watch.ready |= IO_HANGUP | IO_READ;
}

static void on_news(struct watch *w, unsigned what) {
    struct entry *e = CONTAINER_OF(w, struct entry, watch);
    struct io_fiber *f = e->owner;

    if (e->idle != NULL) {
        if ((what & (IO_READ | IO_HANGUP)) && (w->tls == NULL || watch_peek(w) != -EAGAIN))
            take_idle(e);
        return;
    }

    for (struct io_waiter *i = e->waiters; i != NULL; i = i->next) {
        if ((i->what & IO_HANGUP) && (what & IO_READ) && !(w->ready & IO_HANGUP))
            look_for_hangup(e);
        if (w->ready & i->what)
            fiber_wake_later(i->fiber);
    }
    fibers_run(f->fibers); /* from here on `e` may be gone */
}

static void on_idle_news(struct deferred *work) {
    take_idle(CONTAINER_OF(work, struct entry, idle_news));
}

static int entry_open(struct io_fiber *f, int fd, struct entry **ret) {
    if (fd < 0)
        return -EBADF;
    if (fd >= f->cap && grow_table(f, fd) < 0)
        return -ENOMEM;

    struct entry *e = f->spare;
    if (e != NULL)
        f->spare = e->next_spare;
    else
        e = mem_alloc(sizeof(*e));
    if (e == NULL)
        return -ENOMEM;

    *e = (struct entry){ .owner = f, .idle_news.run = on_idle_news };
    int rc = watch_open(&e->watch, f->io.loop, fd, on_news);
    if (rc < 0) {
        e->next_spare = f->spare;
        f->spare = e;
        return rc;
    }
    e->watch.ready = 0; /* the first event tells how things are */
    f->by_fd[fd] = e;
    *ret = e;
    return 0;
}

/* --- the operations -------------------------------------------------------------------------- */

static int park(struct fiber *self, struct entry *e, unsigned what, nsec_t deadline) {
    struct io_waiter me = { .next = e->waiters, .fiber = self, .what = what };
    struct fibers *fibers = e->owner->fibers;
    int rc;

    e->waiters = &me;
    do
        rc = fiber_park(fibers, deadline);
    while (rc == 0 && !me.closed && !(e->watch.ready & what));
    if (me.closed)
        return rc < 0 ? rc : -EBADF;

    struct io_waiter **link = &e->waiters;
    while (*link != &me)
        link = &(*link)->next;
    *link = me.next;
    return rc;
}

static int fiber_wait(struct io *io, int fd, unsigned what, nsec_t deadline) {
    struct io_fiber *f = fiber_of(io);
    struct fiber *self = fiber_self(f->fibers);
    struct entry *e = lookup(f, fd);

    ASSERT(self != NULL); /* the loop's own stack must not wait */
    if (e == NULL) {
        int rc = entry_open(f, fd, &e);
        if (rc < 0)
            return rc;
    }
    end_idle(e);
    if (e->watch.tls != NULL)
        what = tls_awaits(e->watch.tls, what);
    if (what == 0 || (e->watch.ready & what))
        return fiber_cancelled(self) ? -ECANCELED : 0;
    return park(self, e, what, deadline); /* not for one that is cancelled */
}

static ssize_t fiber_recv(struct io *io, int fd, void *data, size_t size) {
    struct entry *e = lookup(fiber_of(io), fd);
    if (e == NULL)
        return socket_recv(fd, data, size);

    end_idle(e);
    return watch_recv(&e->watch, data, size);
}

static ssize_t fiber_send(struct io *io, int fd, const void *data, size_t size) {
    struct entry *e = lookup(fiber_of(io), fd);
    if (e == NULL)
        return socket_send(fd, data, size);

    end_idle(e);
    return watch_send(&e->watch, data, size);
}

static ssize_t fiber_peek(struct io *io, int fd, void *data, size_t size) {
    struct entry *e = lookup(fiber_of(io), fd);
    if (e != NULL && e->watch.tls != NULL)
        return watch_peek_at(&e->watch, data, size);

    ssize_t n = socket_peek(fd, data, size);
    if (n == -EAGAIN && e != NULL)
        watch_drained(&e->watch, IO_READ);
    return n;
}

static bool fiber_ready(struct io *io, int fd, unsigned what) {
    struct entry *e = lookup(fiber_of(io), fd);
    if (e == NULL)
        return true;

    end_idle(e);
    return (e->watch.ready & what) != 0;
}

static void fiber_drained(struct io *io, int fd, unsigned what) {
    struct entry *e = lookup(fiber_of(io), fd);
    if (e == NULL)
        return;

    end_idle(e);
    watch_drained(&e->watch, what);
}

static int fiber_sleep(struct io *io, nsec_t until) {
    struct io_fiber *f = fiber_of(io);
    int rc;

    do
        rc = fiber_park(f->fibers, until);
    while (rc == 0);
    return rc == -ETIMEDOUT ? 0 : rc;
}

static void fiber_forget(struct io *io, int fd) {
    struct io_fiber *f = fiber_of(io);
    struct entry *e = lookup(f, fd);
    if (e == NULL)
        return;

    f->by_fd[fd] = NULL;
    watch_close(&e->watch);
    end_idle(e);
    e->next_spare = f->spare;
    f->spare = e;

    for (struct io_waiter *i = e->waiters; i != NULL; i = i->next) {
        i->closed = true;
        fiber_wake_later(i->fiber);
    }
    e->waiters = NULL;
    fibers_run(f->fibers);
}

static int fiber_secure(struct io *io, int fd, struct tls *tls) {
    struct io_fiber *f = fiber_of(io);
    struct entry *e = lookup(f, fd);
    if (e == NULL) {
        int rc = tls != NULL ? entry_open(f, fd, &e) : 0;
        if (rc < 0 || tls == NULL)
            return rc;
    }

    end_idle(e);
    watch_secure(&e->watch, tls);
    return 0;
}

static int fiber_handshake(struct io *io, int fd) {
    return watch_handshake(&lookup(fiber_of(io), fd)->watch);
}

static bool fiber_is_cancelled(struct io *io) {
    return fiber_cancelled(fiber_self(fiber_of(io)->fibers));
}

static const struct io_ops fiber_ops = {
    .wait = fiber_wait,
    .recv = fiber_recv,
    .send = fiber_send,
    .peek = fiber_peek,
    .ready = fiber_ready,
    .drained = fiber_drained,
    .sleep = fiber_sleep,
    .forget = fiber_forget,
    .cancelled = fiber_is_cancelled,
    .secure = fiber_secure,
    .handshake = fiber_handshake,
};

/* --- public ---------------------------------------------------------------------------------- */

/* Sticky READ may be a leftover of a read that exactly filled its buffer: only the kernel knows. */
static bool is_readable(struct watch *w) {
    struct pollfd poll_fd = { .fd = w->fd, .events = POLLIN | POLLRDHUP };

    if (w->ready & IO_HANGUP)
        return true;
    if (w->tls != NULL)
        return watch_peek(w) != -EAGAIN;
    if (!watch_may_have_data(w))
        return false;
    if (poll(&poll_fd, 1, 0) != 0)
        return true;
    watch_drained(w, IO_READ);
    return false;
}

int io_fiber_idle(struct io_fiber *f, int fd, void (*notify)(void *, int), void *arg) {
    struct entry *e = lookup(f, fd);
    if (e == NULL) {
        int rc = entry_open(f, fd, &e);
        if (rc < 0)
            return rc;
    }

    ASSERT(e->waiters == NULL);
    e->idle = notify;
    e->idle_arg = arg;
    if (is_readable(&e->watch))
        loop_defer(f->io.loop, &e->idle_news);
    return 0;
}

struct io_fiber *io_fiber_new(struct loop *loop, struct fibers *fibers, struct error *err) {
    struct io_fiber *f = mem_calloc(1, sizeof(*f));
    if (f == NULL) {
        error_set(err, -ENOMEM, "cannot make a table of descriptors: out of memory");
        return NULL;
    }

    f->io.ops = &fiber_ops;
    f->io.loop = loop;
    f->fibers = fibers;
    return f;
}

void io_fiber_free(struct io_fiber *f) {
    if (f == NULL)
        return;

    for (int fd = 0; fd < f->cap; fd++)
        fiber_forget(&f->io, fd);
    for (struct entry *e = f->spare, *next; e != NULL; e = next) {
        next = e->next_spare;
        mem_free(e);
    }
    mem_free(f->by_fd);
    mem_free(f);
}

struct io *io_fiber_io(struct io_fiber *f) {
    return &f->io;
}

struct loop *io_fiber_loop(struct io_fiber *f) {
    return f->io.loop;
}

struct fibers *io_fiber_fibers(struct io_fiber *f) {
    return f->fibers;
}
