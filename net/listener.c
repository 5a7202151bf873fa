/* SPDX-License-Identifier: MIT */
/* Making listening sockets, and taking back what they leave in the file system. */
#include "net/listener.h"

#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

int listener_backlog_cap(void) {
    char text[32];
    uint64_t cap;

    int fd = open("/proc/sys/net/core/somaxconn", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return SOMAXCONN;

    ssize_t n = read(fd, text, sizeof(text));
    close(fd);
    if (n <= 1 || slice_parse_u64(slice_of(text, (size_t)n - 1), INT32_MAX, &cap) != 0)
        return SOMAXCONN;
    return (int)cap;
}

/* What a connect to the path says: 0 or -EAGAIN (its backlog is full) when somebody listens,
 * -ECONNREFUSED when nobody does. */
static int probe_unix(const struct address *at) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;

    int rc = connect(fd, &at->any, at->len) == 0 ? 0 : -errno;
    close(fd);
    return rc;
}

/* Frees the path for bind: removes a socket file that nobody answers on. 0 or -errno with the
 * reason in `why`. */
static int clear_unix_path(const struct address *at, const char **why) {
    const char *path = at->local.sun_path;
    struct stat before, after;

    if (lstat(path, &before) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(before.st_mode)) {
        *why = "something that is not a socket is in the way";
        return -EADDRINUSE;
    }

    int rc = probe_unix(at);
    if (rc == 0 || rc == -EAGAIN) {
        *why = "somebody is listening there";
        return -EADDRINUSE;
    }
    if (rc != -ECONNREFUSED)
        return rc == -ENOENT ? 0 : rc;

    /* Another starter may have replaced the stale file since: that one is not ours to remove. */
    if (lstat(path, &after) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (after.st_ino != before.st_ino || after.st_dev != before.st_dev)
        return -EADDRINUSE;
    return unlink(path) == 0 || errno == ENOENT ? 0 : -errno;
}

static int set_on(int fd, int level, int name) {
    int on = 1;

    return setsockopt(fd, level, name, &on, sizeof(on)) == 0 ? 0 : -errno;
}

static int set_options(int fd, int family) {
    int rc = 0;

    if (family == AF_UNIX)
        return 0;
    if (family == AF_INET6) /* [::]:80 and 0.0.0.0:80 are two addresses, whatever bindv6only says */
        rc = set_on(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    if (rc == 0)
        rc = set_on(fd, SOL_SOCKET, SO_REUSEADDR);
    if (rc == 0)
        rc = set_on(fd, IPPROTO_TCP, TCP_NODELAY);
    return rc;
}

static int bind_and_listen(int fd, const struct address *at, int backlog, struct address *ret_bound,
                           const char **why) {
    int rc = set_options(fd, at->any.sa_family);

    if (rc == 0 && at->any.sa_family == AF_UNIX)
        rc = clear_unix_path(at, why);
    if (rc != 0)
        return rc;

    if (bind(fd, &at->any, at->len) != 0)
        return -errno;

    *ret_bound = (struct address){ .len = sizeof(struct sockaddr_un) };
    if (listen(fd, backlog) != 0 || getsockname(fd, &ret_bound->any, &ret_bound->len) != 0) {
        rc = -errno;
        if (at->any.sa_family == AF_UNIX)
            unlink(at->local.sun_path);
    }
    return rc;
}

int listener_open(const struct address *at, int backlog, struct address *ret_bound,
                  struct error *err) {
    char text[ADDRESS_TEXT_BYTES];
    const char *why = NULL;
    int rc;

    int fd = socket(at->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        rc = -errno;
    else
        rc = bind_and_listen(fd, at, backlog, ret_bound, &why);

    if (rc != 0) {
        if (fd >= 0)
            close(fd);
        return error_set(err, rc, "cannot listen on %s: %s", address_format(at, text),
                         why != NULL ? why : strerror(-rc));
    }

    int cap = listener_backlog_cap();
    if (backlog > cap)
        log_write(LOG_LEVEL_WARN,
                  "backlog is capped by net.core.somaxconn address=%s asked=%d cap=%d",
                  address_format(ret_bound, text), backlog, cap);
    return fd;
}

/* Its state does not change, but a change of state is what shutdown(2) tells all who wait: Linux's
 * own way, which lets connections come and be accepted as before. */
void listener_rouse(int fd) {
    struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

    if (poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & POLLIN))
        shutdown(fd, SHUT_WR);
}

void listener_close(int fd, const struct address *bound) {
    close(fd);
    if (bound->any.sa_family == AF_UNIX && probe_unix(bound) == -ECONNREFUSED)
        unlink(bound->local.sun_path);
}
