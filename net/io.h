/* SPDX-License-Identifier: MIT */
/* One wait. Code above this line is straight and written once; what waiting means is decided by which `io` it was given:
 * io_block answers with ppoll(2) (a thread), io_fiber parks the fiber on its loop.
 *
 * All descriptors are non-blocking. Deadlines are absolute (base/clock.h). Every call here may fail with -ETIMEDOUT and -ECANCELED
 * (client gone, shutdown): unwind as for any error. */
#ifndef NET_IO_H
#define NET_IO_H

#include "net/address.h"
#include "net/fiber.h"
#include "net/watch.h"

struct io;

struct io_ops {
    /* Until fd is ready for one of `what` (IO_READ | IO_WRITE), or has hung up. 0, -ETIMEDOUT, -ECANCELED, -errno. */
    int (*wait)(struct io *, int fd, unsigned what, nsec_t deadline);
    /* Whether a call is worth trying before waiting: false saves the system call that would say EAGAIN. */
    bool (*ready)(struct io *, int fd, unsigned what);
    /* A call said that fd is not ready for `what` (EAGAIN, or a short read). */
    void (*drained)(struct io *, int fd, unsigned what);
    int (*sleep)(struct io *, nsec_t until); /* 0 at `until`, -ECANCELED */
    void (*forget)(struct io *, int fd);     /* fd is about to be closed or handed away */
    nsec_t (*now)(struct io *);
};

struct io {
    const struct io_ops *ops;
};

/* Threads: ppoll. `cancel_fd` (an eventfd or -1) becoming readable cancels every wait. */
struct io_block {
    struct io io;
    int cancel_fd;
};
void io_block_init(struct io_block *b, int cancel_fd);

/* Fibers: one for all fibers of a loop. Descriptors are registered at the first wait and looked up by number afterwards. */
struct io_fiber; /* owns the table fd -> watch */
NODISCARD struct io_fiber *io_fiber_new(struct loop *loop, struct fibers *fibers, struct error *err);
void io_fiber_free(struct io_fiber *f);
struct io *io_fiber_io(struct io_fiber *f);
struct loop *io_fiber_loop(struct io_fiber *f);

/* Watches an idle descriptor (parked keep-alive connection) on behalf of no fiber: `notify` is called from the loop, once,
 * when it becomes readable or hangs up; the next wait on it or io_close ends the watch. 0 or -errno. */
NODISCARD int io_fiber_idle(struct io_fiber *f, int fd, void (*notify)(void *arg, int fd), void *arg);

static inline int io_wait(struct io *io, int fd, unsigned what, nsec_t deadline) {
    return io->ops->wait(io, fd, what, deadline);
}
static inline int io_sleep(struct io *io, nsec_t until) {
    return io->ops->sleep(io, until);
}
static inline nsec_t io_now(struct io *io) {
    return io->ops->now(io);
}

/* At least one byte: the count, 0 at end of file, or -errno. */
NODISCARD ssize_t io_read(struct io *io, int fd, void *data, size_t size, nsec_t deadline);

/* All bytes: 0 or -errno. SIGPIPE is never raised. */
NODISCARD int io_write_all(struct io *io, int fd, const void *data, size_t size, nsec_t deadline);

/* A connected, non-blocking, close-on-exec socket with TCP_NODELAY, or -errno. Close it with io_close. */
NODISCARD int io_connect(struct io *io, const struct address *to, nsec_t deadline);

void io_close(struct io *io, int fd);

#endif
