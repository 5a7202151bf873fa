/* SPDX-License-Identifier: MIT */
/* Socket system calls with errors as values. */
#include "net/socket.h"
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

ssize_t socket_recv(int fd, void *data, size_t size) {
    ssize_t n;
    do
        n = recv(fd, data, size, 0);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ssize_t socket_peek(int fd, void *data, size_t size) {
    ssize_t n;
    do
        n = recv(fd, data, size, MSG_PEEK | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static ssize_t send_with(int fd, const void *data, size_t size, int flags) {
    ssize_t n;
    do
        n = send(fd, data, size, MSG_NOSIGNAL | flags);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ssize_t socket_send(int fd, const void *data, size_t size) {
    return send_with(fd, data, size, 0);
}

ssize_t socket_send_last(int fd, const void *data, size_t size) {
    ssize_t n = send_with(fd, data, size, MSG_MORE);

    if (n == (ssize_t)size)
        shutdown(fd, SHUT_WR);
    return n;
}

/* Without the option bind(2) would choose a port at once, one that no other connection of this
 * address has, wherever it leads: ip(7). */
static int bind_source(int fd, const struct address *from) {
    int on = 1;

    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) < 0 ||
        bind(fd, &from->any, from->len) < 0)
        return -errno;
    return 0;
}

int socket_connect_from(const struct address *to, const struct address *from, bool *ret_pending) {
    int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;

    int rc = 0;
    int on = 1;
    if (to->any.sa_family != AF_UNIX &&
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
        rc = -errno;
    if (rc == 0 && from != NULL)
        rc = bind_source(fd, from);
    if (rc == 0 && connect(fd, &to->any, to->len) < 0)
        rc = -errno;

    /* An interrupted connect goes on in the background as well: connect(2). */
    *ret_pending = rc == -EINPROGRESS || rc == -EINTR;
    if (rc == 0 || *ret_pending)
        return fd;
    close(fd);
    return rc;
}

int socket_connect(const struct address *to, bool *ret_pending) {
    return socket_connect_from(to, NULL, ret_pending);
}

int socket_error(int fd) {
    int error = 0;
    socklen_t size = sizeof(error);

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        return -errno;
    return -error;
}

int socket_defer_accept(int fd, bool defers) {
    int seconds = defers;

    return setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds)) < 0 ? -errno
                                                                                        : 0;
}

bool socket_defers_accept(int fd) {
    int seconds = 0;
    socklen_t size = sizeof(seconds);

    return getsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, &size) == 0 && seconds > 0;
}

int socket_raise_limit(uint64_t *ret_limit) {
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -errno;
    limit.rlim_cur = limit.rlim_max;
    *ret_limit = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? -errno : 0;
}

uint32_t socket_unacknowledged(int fd) {
    int bytes = 0;

    return ioctl(fd, SIOCOUTQ, &bytes) == 0 ? (uint32_t)bytes : 0;
}

uint32_t socket_unsent(int fd) {
    int bytes = 0;

    return ioctl(fd, SIOCOUTQNSD, &bytes) == 0 ? (uint32_t)bytes : 0;
}

bool socket_is_dead(int fd) {
    struct pollfd p = { .fd = fd };

    return poll(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLHUP)) != 0;
}

bool socket_has_room(int fd) {
    struct pollfd p = { .fd = fd, .events = POLLOUT };

    return poll(&p, 1, 0) > 0 && (p.revents & POLLOUT) != 0;
}
