/* SPDX-License-Identifier: MIT */
/* Receives listening sockets from a parent, and passes them on to a successor. */
#include "proc/inherit.h"
#include "base/slice.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIRST_FD = 3 }; /* SD_LISTEN_FDS_START */

static int take_one(struct inherited *ret, int fd, struct slice name, struct error *err) {
    bool own = slice_eq(name, SLICE(INHERIT_OWN)) || slice_eq(name, SLICE(INHERIT_OWN_CONTROL));
    int listening = 0, flags;
    socklen_t len = sizeof(listening);

    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 || !listening)
        return error_set(err, -ENOTSOCK, "LISTEN_FDS: descriptor %d is not a listening socket", fd);
    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return error_set(err, -errno, "LISTEN_FDS: descriptor %d: %s", fd, strerrordesc_np(errno));
    if (!slice_eq(name, SLICE(INHERIT_CONTROL)) && !slice_eq(name, SLICE(INHERIT_OWN_CONTROL))) {
        ret->own[ret->count] = own;
        ret->fds[ret->count++] = fd;
    } else if (ret->control_fd < 0) {
        ret->control_fd = fd;
        ret->control_borrowed = !own;
    }
    return 0;
}

int inherit_take(struct inherited *ret, struct error *err) {
    struct slice pid_text = slice_str(getenv("LISTEN_PID"));
    struct slice count_text = slice_str(getenv("LISTEN_FDS"));
    struct slice names = slice_str(getenv("LISTEN_FDNAMES"));
    uint64_t pid, count;
    int rc = 0;

    *ret = (struct inherited){ .control_fd = -1 };
    if (slice_parse_u64(pid_text, INT32_MAX, &pid) < 0 || (pid_t)pid != getpid())
        return 0; /* for somebody else, or not at all */
    if (slice_parse_u64(count_text, INHERIT_MAX, &count) < 0)
        return error_set(err, -EINVAL, "LISTEN_FDS: '%s' is not a number up to %d",
                         count_text.ptr != NULL ? count_text.ptr : "", INHERIT_MAX);
    for (int i = 0; i < (int)count && rc == 0; i++)
        rc = take_one(ret, FIRST_FD + i, slice_cut(&names, ':'), err);
    if (rc == 0 && ret->count > LISTENERS_MAX) /* nobody would serve those that are too many */
        rc = error_set(err, -E2BIG, "LISTEN_FDS: %zu sockets to listen on; %d are the most",
                       ret->count, LISTENERS_MAX);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return rc;
}

void inherit_spell(struct address *bound, const char *text) {
    const char *leaf = bound->local.sun_path;
    struct endpoint endpoint;
    struct address asked;
    const char *slash;

    if (bound->any.sa_family != AF_UNIX ||
        endpoint_parse(slice_str(text), 0, &endpoint, NULL) < 0 || !endpoint.is_unix ||
        address_of_endpoint(&endpoint, true, &asked) < 0)
        return;
    slash = strrchr(asked.local.sun_path, '/');
    if (slash != NULL && strcmp(slash + 1, leaf) == 0)
        *bound = asked;
}

bool inherit_listeners(const struct inherited *i, const struct option_strings *addresses,
                       struct listeners *ret) {
    ret->count = 0;
    for (size_t k = 0; k < i->count; k++) {
        struct address *bound = &ret->bound[ret->count];

        bound->len = sizeof(*bound);
        if (getsockname(i->fds[k], &bound->any, &bound->len) < 0)
            continue;
        if (i->own[k] && ret->count < addresses->count)
            inherit_spell(bound, addresses->items[ret->count]);
        ret->schemes[ret->count] = "http";
        ret->borrowed[ret->count] = !i->own[k];
        ret->fds[ret->count++] = i->fds[k];
    }
    return ret->count > 0;
}

/* --- passing on ------------------------------------------------------------------- */

static int set_number(const char *variable, long value) {
    char text[24];

    snprintf(text, sizeof(text), "%ld", value);
    return setenv(variable, text, 1) < 0 ? -errno : 0;
}

/* Out of the way first: a socket may stand where another is to go. */
static int move_up(int *fds, size_t count) {
    for (size_t i = 0; i < count; i++) {
        fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, FIRST_FD + INHERIT_MAX);
        if (fds[i] < 0)
            return -errno;
    }
    return 0;
}

int inherit_exec(const char *path, char *const *argv, const struct listeners *listeners,
                 int control_fd, bool control_borrowed) {
    char names[(LISTENERS_MAX + 1) * sizeof(INHERIT_OWN_CONTROL ":")] = "";
    int fds[LISTENERS_MAX + 1];
    size_t count = listeners->count;
    int rc;

    memcpy(fds, listeners->fds, count * sizeof(fds[0]));
    for (size_t i = 0; i < count; i++)
        strcat(names,
               listeners->borrowed[i] ? "socket:" : INHERIT_OWN ":"); /* there is room for all */
    if (control_fd >= 0) {
        fds[count++] = control_fd;
        strcat(names, control_borrowed ? INHERIT_CONTROL : INHERIT_OWN_CONTROL);
    }
    rc = move_up(fds, count);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = dup2(fds[i], FIRST_FD + (int)i) < 0 ? -errno : 0; /* clears close-on-exec */
    if (rc == 0)
        rc = set_number("LISTEN_PID", getpid());
    if (rc == 0)
        rc = set_number("LISTEN_FDS", (long)count);
    if (rc == 0 && setenv("LISTEN_FDNAMES", names, 1) < 0)
        rc = -errno;
    if (rc < 0)
        return rc;
    execv(path, argv);
    return -errno;
}
