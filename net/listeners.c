/* SPDX-License-Identifier: MIT */
/* Opens, announces and closes the sockets that a server listens on. */
#include "net/listeners.h"
#include "base/log.h"
#include "net/listener.h"
#include "net/socket.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

int listeners_take_scheme(const char **address, const char *const *schemes) {
    for (int i = 0; schemes[i] != NULL; i++) {
        size_t len = strlen(schemes[i]);

        if (strncmp(*address, schemes[i], len) != 0 || strncmp(*address + len, "://", 3) != 0)
            continue;
        *address += len + 3;
        return i;
    }
    return -1;
}

int listeners_check(const struct option_strings *addresses, struct error *err) {
    struct endpoint endpoint;
    int rc = 0;

    for (size_t i = 0; i < addresses->count && rc == 0; i++)
        rc = endpoint_parse(slice_str(addresses->items[i]), 0, &endpoint, err);
    return rc;
}

static int open_one(struct listeners *l, const char *text, int backlog, struct error *err) {
    struct endpoint endpoint;
    struct address at;
    int rc = endpoint_parse(slice_str(text), 0, &endpoint, err);

    if (rc < 0)
        return rc;
    if (l->count == LISTENERS_MAX)
        return error_set(err, -E2BIG, "cannot listen on '%s': %d addresses are the most", text,
                         LISTENERS_MAX);
    rc = address_of_endpoint(&endpoint, true, &at);
    if (rc == -ENAMETOOLONG)
        return error_set(err, rc,
                         "cannot listen on '%s': the path of a socket is at most %zu bytes", text,
                         sizeof(at.local.sun_path) - 1);
    if (rc < 0)
        return error_set(err, rc, "cannot listen on '%s': a numeric address is needed", text);
    rc = listener_open_with_mode(&at, endpoint.mode, backlog, &l->bound[l->count], err);
    if (rc < 0)
        return rc;
    l->schemes[l->count] = "http";
    l->borrowed[l->count] = false;
    l->fds[l->count++] = rc;
    return 0;
}

int listeners_open(struct listeners *l, const struct option_strings *addresses, int backlog,
                   struct error *err) {
    int rc;

    l->count = 0;
    for (size_t i = 0; i < addresses->count; i++) {
        rc = open_one(l, addresses->items[i], backlog, err);
        if (rc < 0) {
            listeners_close(l);
            return rc;
        }
    }
    return 0;
}

void listeners_defer(const struct listeners *l, bool defers, bool borrowed) {
    for (size_t i = 0; i < l->count; i++) {
        if (l->borrowed[i] && !borrowed)
            continue;
        if (l->bound[i].any.sa_family != AF_UNIX && socket_defer_accept(l->fds[i], defers) < 0)
            log_write(LOG_LEVEL_WARN,
                      "cannot have connections wait for their first bytes "
                      "error=\"%s\"",
                      strerrordesc_np(errno));
    }
}

void listeners_announce(const struct listeners *l, const char *name) {
    char text[ADDRESS_TEXT_BYTES];

    for (size_t i = 0; i < l->count; i++) {
        const char *address = address_format(&l->bound[i], text);

        if (l->bound[i].any.sa_family != AF_UNIX)
            log_say("%s: listening on %s://%s/\n", name, l->schemes[i], address);
        else if (strcmp(l->schemes[i], "http") == 0)
            log_say("%s: listening on %s\n", name, address);
        else
            log_say("%s: listening on %s://%s\n", name, l->schemes[i], address);
    }
}

/* Connections that wait on a unix socket outlive the shutdown. */
static void drop_waiting(int listen_fd) {
    int fd;

    while ((fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
        close(fd);
}

void listeners_refuse(const struct listeners *l) {
    for (size_t i = 0; i < l->count; i++) {
        if (l->borrowed[i])
            continue;
        if (shutdown(l->fds[i], SHUT_RDWR) < 0 && errno != ENOTCONN)
            log_write(LOG_LEVEL_WARN, "cannot refuse connections error=\"%s\"",
                      strerrordesc_np(errno));
        else
            drop_waiting(l->fds[i]);
    }
}

void listeners_close(struct listeners *l) {
    for (size_t i = 0; i < l->count; i++) {
        if (l->borrowed[i])
            close(l->fds[i]);
        else
            listener_close(l->fds[i], &l->bound[i]);
    }
    l->count = 0;
}

void listeners_raise_descriptor_limit(void) {
    uint64_t limit;
    int rc = socket_raise_limit(&limit);

    if (rc < 0)
        log_write(LOG_LEVEL_WARN, "cannot raise the descriptor limit error=\"%s\"",
                  strerrordesc_np(-rc));
}
