/* SPDX-License-Identifier: MIT */
/* The one wait, and reading, writing and connecting, written once over it. */
#include "fiber/io.h"
#include "net/socket.h"
#include <errno.h>
#include <poll.h>
#include <unistd.h>

/* A unix listener with a full backlog gives no event when there is room again. */
#define BACKLOG_PAUSE (2 * NSEC_PER_MSEC)

nsec_t io_now(const struct io *io) {
    return io->loop != NULL ? loop_now(io->loop) : clock_now();
}

int io_wait(struct io *io, int fd, unsigned what, nsec_t deadline) {
    return io->ops->wait(io, fd, what, deadline);
}

int io_sleep(struct io *io, nsec_t until) {
    return io->ops->sleep(io, until);
}

bool io_is_cancelled(struct io *io) {
    return io->ops->cancelled(io);
}

ssize_t io_read(struct io *io, int fd, void *data, size_t size, nsec_t deadline) {
    for (;;) {
        ssize_t n = io->ops->recv(io, fd, data, size);
        if (n != -EAGAIN)
            return n;

        int rc = io_wait(io, fd, IO_READ, deadline);
        if (rc < 0)
            return rc;
    }
}

int io_write_all(struct io *io, int fd, const void *data, size_t size, nsec_t deadline) {
    const char *at = data;

    while (size > 0) {
        ssize_t n = io->ops->send(io, fd, at, size);
        if (n == -EAGAIN)
            n = io_wait(io, fd, IO_WRITE, deadline);
        if (n < 0)
            return (int)n;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

static int connect_begin(struct io *io, const struct address *to, const struct address *from,
                         nsec_t deadline, bool *ret_pending) {
    for (;;) {
        int fd = socket_connect_from(to, from, ret_pending);
        if (fd != -EAGAIN || to->any.sa_family != AF_UNIX)
            return fd;

        nsec_t now = io_now(io);
        if (now >= deadline)
            return -ETIMEDOUT;
        int rc = io_sleep(io, nsec_min(deadline_after(now, BACKLOG_PAUSE), deadline));
        if (rc < 0)
            return rc;
    }
}

int io_connect(struct io *io, const struct address *to, nsec_t deadline) {
    return io_connect_from(io, to, NULL, deadline);
}

int io_connect_from(struct io *io, const struct address *to, const struct address *from,
                    nsec_t deadline) {
    bool pending = false;
    int fd = connect_begin(io, to, from, deadline, &pending);
    if (fd < 0 || !pending)
        return fd;

    int rc = io_wait(io, fd, IO_WRITE, deadline);
    if (rc == 0)
        rc = socket_error(fd);
    if (rc == 0)
        return fd;
    io_close(io, fd);
    return rc;
}

int io_secure(struct io *io, int fd, struct tls *tls) {
    return io->ops->secure(io, fd, tls);
}

int io_handshake(struct io *io, int fd, nsec_t deadline) {
    for (;;) {
        int rc = io->ops->handshake(io, fd);
        if (rc != -EAGAIN)
            return rc;

        rc = io_wait(io, fd, IO_READ, deadline);
        if (rc < 0)
            return rc;
    }
}

/* The order matters: what arrives after the poll is a new event, which `drained` cannot wipe out,
 * since events are taken in while waiting only. */
int io_wait_level(struct io *io, int fd, unsigned what, nsec_t deadline) {
    for (;;) {
        struct pollfd poll_fd = { .fd = fd, .events = io_poll_events(what) };
        int n = poll(&poll_fd, 1, 0);
        if (n > 0)
            return poll_fd.revents & POLLNVAL ? -EBADF : 0;
        if (n < 0 && errno != EINTR)
            return -errno;

        io->ops->drained(io, fd, what);
        int rc = io_wait(io, fd, what, deadline);
        if (rc < 0)
            return rc;
    }
}

void io_close(struct io *io, int fd) {
    io->ops->forget(io, fd);
    close(fd);
}
