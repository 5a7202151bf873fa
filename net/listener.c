/* SPDX-License-Identifier: MIT */
/* Making listening sockets, and taking back what they leave in the file system. */
#include "net/listener.h"

#include "base/log.h"
#include "base/safe_path.h"
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

/* The address of the socket as the process sees it: root does not go by a path that others can lead
 * elsewhere, but stands in the folder (call_in_folder) and goes by the name alone. */
static int local_address(const struct safe_path *file, const struct address *at,
                         struct address *ret) {
    struct endpoint endpoint = { .host = slice_str(file->leaf), .is_unix = true };

    *ret = *at;
    return file->loose ? address_of_endpoint(&endpoint, false, ret) : 0;
}

typedef int socket_call(int fd, const struct sockaddr *at, socklen_t len);

/* bind(2) or connect(2): 0 or -errno. */
static int call_in_folder(socket_call *call, int fd, const struct safe_path *file,
                          const struct address *at) {
    struct address near;
    int rc = local_address(file, at, &near);
    int old_fd = rc == 0 && file->loose ? safe_path_enter(file) : -1;

    if (rc < 0 || (file->loose && old_fd < 0))
        return rc < 0 ? rc : old_fd;
    rc = call(fd, &near.any, near.len) == 0 ? 0 : -errno;
    if (old_fd >= 0)
        safe_path_leave(old_fd);
    return rc;
}

static int look(const struct safe_path *file, struct stat *ret) {
    return fstatat(file->folder, file->leaf, ret, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -errno;
}

/* The answer to a connect to the path: 0 or -EAGAIN (its backlog is full) when somebody listens,
 * -ECONNREFUSED when nobody does. */
static int probe_unix(const struct safe_path *file, const struct address *at) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;

    int rc = call_in_folder(connect, fd, file, at);
    close(fd);
    return rc;
}

/* Frees the path for bind: removes a socket file that nobody answers on. 0 or -errno with the
 * reason in `why`. */
static int clear_unix_path(const struct safe_path *file, const struct address *at,
                           struct error *why) {
    struct stat before, after;

    int rc = look(file, &before);
    if (rc != 0)
        return rc == -ENOENT ? 0 : rc;
    if (!S_ISSOCK(before.st_mode))
        return error_set(why, -EADDRINUSE, "something that is not a socket is in the way");

    rc = probe_unix(file, at);
    if (rc == 0 || rc == -EAGAIN)
        return error_set(why, -EADDRINUSE, "somebody is listening there");
    if (rc != -ECONNREFUSED)
        return rc == -ENOENT ? 0 : rc;

    /* Another starter may have replaced the stale file since: that one is not ours to remove. */
    rc = look(file, &after);
    if (rc != 0)
        return rc == -ENOENT ? 0 : rc;
    if (after.st_ino != before.st_ino || after.st_dev != before.st_dev)
        return -EADDRINUSE;
    return unlinkat(file->folder, file->leaf, 0) == 0 || errno == ENOENT ? 0 : -errno;
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

static int bind_unix(int fd, const struct address *at, struct error *why) {
    struct safe_path file;
    int rc = safe_path_find(&file, at->local.sun_path, SAFE_PATH_KEEP, why);

    if (rc == 0 && file.descriptor >= 0)
        rc = -EADDRINUSE;
    if (rc == 0)
        rc = clear_unix_path(&file, at, why);
    if (rc == 0)
        rc = call_in_folder(bind, fd, &file, at);
    safe_path_close(&file);
    return rc;
}

/* Removes the file, if nobody answers there. */
static void remove_unix(const struct address *at) {
    struct safe_path file;
    struct stat is;

    if (safe_path_find(&file, at->local.sun_path, SAFE_PATH_KEEP, NULL) == 0 &&
        file.descriptor < 0 && look(&file, &is) == 0 && S_ISSOCK(is.st_mode) &&
        probe_unix(&file, at) == -ECONNREFUSED)
        unlinkat(file.folder, file.leaf, 0);
    safe_path_close(&file);
}

static int bind_and_listen(int fd, const struct address *at, int backlog, struct address *ret_bound,
                           struct error *why) {
    bool is_unix = at->any.sa_family == AF_UNIX;
    int rc = set_options(fd, at->any.sa_family);

    if (rc == 0)
        rc = is_unix ? bind_unix(fd, at, why) : bind(fd, &at->any, at->len) == 0 ? 0 : -errno;
    if (rc != 0)
        return rc;

    *ret_bound = (struct address){ .len = sizeof(struct sockaddr_un) };
    if (listen(fd, backlog) != 0 || getsockname(fd, &ret_bound->any, &ret_bound->len) != 0) {
        rc = -errno;
        if (is_unix)
            remove_unix(at);
    }
    if (is_unix)
        *ret_bound = *at; /* the kernel may know it by its last name only */
    return rc;
}

int listener_open(const struct address *at, int backlog, struct address *ret_bound,
                  struct error *err) {
    char text[ADDRESS_TEXT_BYTES];
    struct error why = { "" };
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
                         why.text[0] != '\0' ? why.text : strerrordesc_np(-rc));
    }

    int cap = listener_backlog_cap();
    if (backlog > cap)
        log_write(LOG_LEVEL_WARN,
                  "backlog is capped by net.core.somaxconn address=%s asked=%d cap=%d",
                  address_format(ret_bound, text), backlog, cap);
    return fd;
}

int listener_open_with_mode(const struct address *at, mode_t mode, int backlog,
                            struct address *ret_bound, struct error *err) {
    mode_t before = mode != 0 ? umask(0777 & ~mode) : 0;
    int rc = listener_open(at, backlog, ret_bound, err);

    if (mode != 0)
        umask(before);
    return rc;
}

/* The listener's state does not change, but a change of state is what shutdown(2) tells all who
 * wait: Linux's own way, which lets connections come and be accepted as before. */
bool listener_has_waiting(int fd) {
    struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

    return poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & POLLIN);
}

void listener_rouse(int fd) {
    if (listener_has_waiting(fd))
        shutdown(fd, SHUT_WR);
}

void listener_close(int fd, const struct address *bound) {
    close(fd);
    if (bound->any.sa_family == AF_UNIX)
        remove_unix(bound);
}
