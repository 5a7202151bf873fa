/* SPDX-License-Identifier: MIT */
/* Opens, announces and closes the sockets that a server listens on. */
#include "net/binds.h"
#include "base/log.h"
#include "net/listener.h"
#include "net/socket.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

int binds_check(const struct option_strings *addresses, struct error *err) {
    struct endpoint endpoint;
    int rc = 0;

    for (size_t i = 0; i < addresses->count && rc == 0; i++)
        rc = endpoint_parse(slice_str(addresses->items[i]), 0, &endpoint, err);
    return rc;
}

static int open_one(struct binds *b, const char *text, int backlog, struct error *err) {
    struct endpoint endpoint;
    struct address at;
    int rc = endpoint_parse(slice_str(text), 0, &endpoint, err);

    if (rc < 0)
        return rc;
    if (b->count == BINDS_MAX)
        return error_set(err, -E2BIG, "cannot listen on '%s': %d addresses are the most", text,
                         BINDS_MAX);
    rc = address_of_endpoint(&endpoint, true, &at);
    if (rc == -ENAMETOOLONG)
        return error_set(err, rc,
                         "cannot listen on '%s': the path of a socket is at most %zu bytes", text,
                         sizeof(at.local.sun_path) - 1);
    if (rc < 0)
        return error_set(err, rc, "cannot listen on '%s': a numeric address is needed", text);
    rc = listener_open_with_mode(&at, endpoint.mode, backlog, &b->bound[b->count], err);
    if (rc < 0)
        return rc;
    b->schemes[b->count] = "http";
    b->borrowed[b->count] = false;
    b->fds[b->count++] = rc;
    return 0;
}

int binds_open(struct binds *b, const struct option_strings *addresses, int backlog,
               struct error *err) {
    int rc;

    b->count = 0;
    for (size_t i = 0; i < addresses->count; i++) {
        rc = open_one(b, addresses->items[i], backlog, err);
        if (rc < 0) {
            binds_close(b);
            return rc;
        }
    }
    return 0;
}

void binds_announce(const struct binds *b, const char *name) {
    char text[ADDRESS_TEXT_BYTES];

    for (size_t i = 0; i < b->count; i++) {
        const char *address = address_format(&b->bound[i], text);

        if (b->bound[i].any.sa_family != AF_UNIX)
            log_say("%s: listening on %s://%s/\n", name, b->schemes[i], address);
        else if (strcmp(b->schemes[i], "http") == 0)
            log_say("%s: listening on %s\n", name, address);
        else
            log_say("%s: listening on %s://%s\n", name, b->schemes[i], address);
    }
}

/* Connections that wait on a unix socket outlive the shutdown. */
static void drop_waiting(int listen_fd) {
    int fd;

    while ((fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
        close(fd);
}

void binds_refuse(const struct binds *b) {
    for (size_t i = 0; i < b->count; i++) {
        if (b->borrowed[i])
            continue;
        if (shutdown(b->fds[i], SHUT_RDWR) < 0 && errno != ENOTCONN)
            log_write(LOG_LEVEL_WARN, "cannot refuse connections error=\"%s\"",
                      strerrordesc_np(errno));
        else
            drop_waiting(b->fds[i]);
    }
}

void binds_close(struct binds *b) {
    for (size_t i = 0; i < b->count; i++) {
        if (b->borrowed[i])
            close(b->fds[i]);
        else
            listener_close(b->fds[i], &b->bound[i]);
    }
    b->count = 0;
}

void binds_raise_descriptor_limit(void) {
    uint64_t limit;
    int rc = socket_raise_limit(&limit);

    if (rc < 0)
        log_write(LOG_LEVEL_WARN, "cannot raise the descriptor limit error=\"%s\"",
                  strerrordesc_np(-rc));
}
