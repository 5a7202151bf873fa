/* SPDX-License-Identifier: MIT */
/* One wait. Code above this line is straight and written once; what waiting means is decided by
 * which `io` it was given: io_block answers with ppoll(2) (a thread), io_fiber parks the fiber on
 * its loop.
 *
 * All descriptors are non-blocking. Deadlines are absolute (base/clock.h). Every call here may fail
 * with -ETIMEDOUT and -ECANCELED (client gone, shutdown): unwind as for any error. */
#ifndef FIBER_IO_H
#define FIBER_IO_H

#include "fiber/fiber.h"
#include "net/address.h"
#include "net/watch.h"

struct io;

struct io_ops {
    /* Until fd is ready for one of `what`. IO_READ includes the end and errors; IO_HANGUP alone
     * waits for the peer to close its side, whatever it sends before. 0, -ETIMEDOUT, -ECANCELED, or
     * -errno (-EBADF: closed meanwhile). Readiness is remembered: a caller that makes its own
     * system calls says `drained` after EAGAIN and only then waits again, or uses io_wait_level. */
    int (*wait)(struct io *, int fd, unsigned what, nsec_t deadline);
    /* One recv(2) or send(2), skipped when it is known to fail: bytes, 0 at the end, or -errno;
     * -EAGAIN: wait. */
    ssize_t (*recv)(struct io *, int fd, void *data, size_t size);
    ssize_t (*send)(struct io *, int fd, const void *data, size_t size);
    /* Receives as recv, but what was received stays; it need not be all that there is. */
    ssize_t (*peek)(struct io *, int fd, void *data, size_t size);
    /* Whether a call is worth trying before waiting. */
    bool (*ready)(struct io *, int fd, unsigned what);
    /* A call said that fd is not ready for `what`: EAGAIN. */
    void (*drained)(struct io *, int fd, unsigned what);
    int (*sleep)(struct io *, nsec_t until); /* 0 at `until`, -ECANCELED */
    void (*forget)(struct io *, int fd);     /* fd is about to be closed or handed away */
    bool (*cancelled)(struct io *);          /* the next wait would fail with -ECANCELED */
    int (*secure)(struct io *, int fd, struct tls *tls);
    int (*handshake)(struct io *, int fd); /* one step: 0, -EAGAIN: wait for IO_READ, or -errno */
};

struct io {
    const struct io_ops *ops;
    struct loop *loop; /* tells the time; NULL: the clock does */
};

/* A peer that has closed its sending side is asked whether it is there; when it was there `probes`
 * times (from 1), again after 1, 2, 4 ... seconds; at last NSEC_NEVER. */
static inline nsec_t io_probe_again_at(nsec_t now, unsigned probes) {
    return probes < 8 ? deadline_after(now, NSEC_PER_SEC << (probes - 1)) : NSEC_NEVER;
}

/* Threads: ppoll. `cancel_fd` (an eventfd or -1) becoming readable cancels every wait.
 *
 * A connection whose other end wants the result of what is going on may be set as `client_fd`
 * (-1 otherwise): when it breaks, waits are cancelled, too. A client that closes its sending side
 * may still read; `half_closed` is called `probe_after` later (NSEC_NEVER: not at all),
 * and then as above, to find out by sending something. False: it is gone, which cancels at once. */
struct io_block {
    struct io io;
    int cancel_fd, client_fd;
    bool (*half_closed)(struct io_block *);
    nsec_t probe_after;
    bool client_half_closed; /* the client has closed its sending side */
    nsec_t probe_at;         /* next time for half_closed; NSEC_NEVER: none */
    unsigned probes;         /* calls of half_closed so far */
    struct tls *secured;     /* the first of those of io_secure */
    void (*beat)(void);      /* called at least every beat_every while it waits; or NULL */
    nsec_t beat_every;
};
void io_block_init(struct io_block *b, int cancel_fd);

/* Sets or, with -1, ends the watch over a client. */
void io_block_watch_client(struct io_block *b, int client_fd,
                           bool (*half_closed)(struct io_block *), nsec_t probe_after);

/* Fibers: one for all fibers of a loop. Descriptors are registered at the first wait and looked up
 * by number afterwards. Several fibers may wait on one descriptor. While a fiber waits here,
 * wake-ups by others (fiber_wake) are swallowed. */
struct io_fiber; /* owns the table fd -> watch */
NODISCARD struct io_fiber *io_fiber_new(struct loop *loop, struct fibers *fibers,
                                        struct error *err);

/* Forgets all descriptors; nobody may be waiting. Before the loop goes. */
void io_fiber_free(struct io_fiber *f);
struct io *io_fiber_io(struct io_fiber *f);
struct loop *io_fiber_loop(struct io_fiber *f);
struct fibers *io_fiber_fibers(struct io_fiber *f);

/* Watches an idle descriptor (parked keep-alive connection) on behalf of no fiber: `notify` is
 * called from the loop, once, when it becomes readable or hangs up; also when it is so already. Any
 * use through the io ends the watch. A reset that came in one piece with the last bytes read shows
 * at the next send only. 0 or -errno. */
NODISCARD int io_fiber_idle(struct io_fiber *f, int fd, void (*notify)(void *arg, int fd),
                            void *arg);

nsec_t io_now(const struct io *io);

/* The waits of io_ops. */
NODISCARD int io_wait(struct io *io, int fd, unsigned what, nsec_t deadline);
NODISCARD int io_sleep(struct io *io, nsec_t until);
bool io_is_cancelled(struct io *io);

/* Sockets. At least one byte: the count, 0 at end of file, or -errno. `size` is at least 1. */
NODISCARD ssize_t io_read(struct io *io, int fd, void *data, size_t size, nsec_t deadline);

/* Sockets. All bytes: 0 or -errno. SIGPIPE is never raised. */
NODISCARD int io_write_all(struct io *io, int fd, const void *data, size_t size, nsec_t deadline);

/* A connected, non-blocking, close-on-exec socket with TCP_NODELAY, or -errno. Close it with
 * io_close. */
NODISCARD int io_connect(struct io *io, const struct address *to, nsec_t deadline);

/* Connects as io_connect, from an IP address of this host (port 0); NULL leaves it to the
 * kernel. */
NODISCARD int io_connect_from(struct io *io, const struct address *to, const struct address *from,
                              nsec_t deadline);

/* From now on receiving and sending on `fd` is about what is within TLS, and a wait for IO_READ or
 * IO_WRITE waits for what `tls` needs for that. `tls` is the caller's, outlives this, and belongs
 * to no other io or watch. NULL ends it, and so does io_close. 0 or -errno (as a wait). */
NODISCARD int io_secure(struct io *io, int fd, struct tls *tls);

/* Completes the handshake, which reading and writing do, too. 0 or -errno (net/tls.h). */
NODISCARD int io_handshake(struct io *io, int fd, nsec_t deadline);

/* For descriptors that another library (libpq, libcurl) reads and writes behind our back, and never
 * for those of io_secure: asks the kernel instead of the memory of earlier events, one poll(2) more
 * per wait. As io_wait otherwise. */
NODISCARD int io_wait_level(struct io *io, int fd, unsigned what, nsec_t deadline);

void io_close(struct io *io, int fd);

#endif
