/* SPDX-License-Identifier: MIT */
/* The wait of a thread: ppoll(2) on the descriptor and on the one that cancels. */
#include "fiber/io.h"
#include "fiber/patch.h"
#include "net/socket.h"
#include "net/tls.h"
#include <errno.h>
#include <poll.h>

static struct io_block *block_of(struct io *io) {
    return CONTAINER_OF(io, struct io_block, io);
}

static struct timespec span_until(nsec_t at) {
    nsec_t now = clock_now(), span = at > now ? at - now : 0;

    return (struct timespec){ .tv_sec = span / NSEC_PER_SEC, .tv_nsec = span % NSEC_PER_SEC };
}

/* The client closed its sending side: for good, or only that. */
static void note_half_close(struct io_block *b) {
    b->client_half_closed = true;
    b->probe_at = deadline_after(clock_now(), b->probe_after);
}

/* ppoll leaves out negative descriptors, and reports errors and full closes unasked. 0 when fd is
 * ready, or -errno. Marked, so that blocking code of the program itself can be patched. */
PATCH_CALLS_APPLICATION
static int wait_until(struct io_block *b, int fd, unsigned what, nsec_t deadline) {
    for (;;) {
        struct pollfd fds[] = {
            { .fd = fd, .events = io_poll_events(what) },
            { .fd = b->cancel_fd, .events = POLLIN },
            { .fd = b->client_fd, .events = b->client_half_closed ? 0 : POLLRDHUP },
        };
        nsec_t until = nsec_min(deadline, b->probe_at);
        if (b->beat != NULL) {
            b->beat();
            until = nsec_min(until, deadline_after(clock_now(), b->beat_every));
        }
        struct timespec left = span_until(until);
        int n = ppoll(fds, 3, until != NSEC_NEVER ? &left : NULL, NULL);

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0 && (fds[1].revents != 0 || (fds[2].revents & (POLLERR | POLLHUP))))
            return -ECANCELED;
        if (n > 0 && fds[0].revents != 0)
            return fds[0].revents & POLLNVAL ? -EBADF : 0;
        if (n > 0)
            note_half_close(b);
        if (n == 0 && clock_now() >= deadline)
            return -ETIMEDOUT;
        if (n == 0 && clock_now() >= b->probe_at) {
            if (!b->half_closed(b))
                return -ECANCELED;
            b->probe_at =
                io_probe_again_at(clock_now(), ++b->probes); /* the client may leave later */
        }
    }
}

/* A thread has few connections with TLS: a client's, and those of its calls. */
static struct tls *find_secured(const struct io_block *b, int fd) {
    struct tls *t = b->secured;

    while (t != NULL && t->fd != fd)
        t = t->next;
    return t;
}

static int block_wait(struct io *io, int fd, unsigned what, nsec_t deadline) {
    const struct tls *t = find_secured(block_of(io), fd);

    if (t != NULL && (what = tls_awaits(t, what)) == 0)
        return 0;
    return wait_until(block_of(io), fd, what, deadline);
}

static int block_sleep(struct io *io, nsec_t until) {
    int rc = wait_until(block_of(io), -1, 0, until);
    return rc == -ETIMEDOUT ? 0 : rc;
}

static ssize_t block_recv(struct io *io, int fd, void *data, size_t size) {
    struct tls *t = find_secured(block_of(io), fd);

    return t != NULL ? tls_recv(t, data, size) : socket_recv(fd, data, size);
}

static ssize_t block_send(struct io *io, int fd, const void *data, size_t size) {
    struct tls *t = find_secured(block_of(io), fd);

    return t != NULL ? tls_send(t, data, size) : socket_send(fd, data, size);
}

static ssize_t block_peek(struct io *io, int fd, void *data, size_t size) {
    struct tls *t = find_secured(block_of(io), fd);

    return t != NULL ? tls_peek_at(t, data, size) : socket_peek(fd, data, size);
}

static bool block_ready(struct io *io UNUSED, int fd UNUSED, unsigned what UNUSED) {
    return true;
}

static void block_drained(struct io *io UNUSED, int fd UNUSED, unsigned what UNUSED) {
}

static void block_forget(struct io *io, int fd) {
    struct tls **link = &block_of(io)->secured;

    while (*link != NULL && (*link)->fd != fd)
        link = &(*link)->next;
    if (*link == NULL)
        return;

    struct tls *t = *link;
    *link = t->next;
    t->next = NULL;
    tls_attach(t, NULL, NULL);
}

static int block_secure(struct io *io, int fd, struct tls *tls) {
    struct io_block *b = block_of(io);

    block_forget(io, fd);
    if (tls == NULL)
        return 0;
    tls_attach_socket(tls, fd);
    tls->next = b->secured;
    b->secured = tls;
    return 0;
}

static int block_handshake(struct io *io, int fd) {
    return tls_handshake(find_secured(block_of(io), fd));
}

static bool block_cancelled(struct io *io) {
    struct pollfd cancel = { .fd = block_of(io)->cancel_fd, .events = POLLIN };

    return poll(&cancel, 1, 0) > 0;
}

static const struct io_ops block_ops = {
    .wait = block_wait,
    .recv = block_recv,
    .send = block_send,
    .peek = block_peek,
    .ready = block_ready,
    .drained = block_drained,
    .sleep = block_sleep,
    .forget = block_forget,
    .cancelled = block_cancelled,
    .secure = block_secure,
    .handshake = block_handshake,
};

void io_block_init(struct io_block *b, int cancel_fd) {
    b->io = (struct io){ .ops = &block_ops };
    b->cancel_fd = cancel_fd;
    b->beat = NULL;
    b->secured = NULL;
    io_block_watch_client(b, -1, NULL, NSEC_NEVER);
}

void io_block_watch_client(struct io_block *b, int client_fd,
                           bool (*half_closed)(struct io_block *), nsec_t probe_after) {
    b->client_fd = client_fd;
    b->half_closed = half_closed;
    b->probe_after = probe_after;
    b->client_half_closed = false;
    b->probe_at = NSEC_NEVER;
    b->probes = 0;
}
