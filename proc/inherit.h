/* SPDX-License-Identifier: MIT */
/* Listening sockets that come from outside: from systemd (socket activation, sd_listen_fds(3)) or
 * from the predecessor of a binary upgrade; both use the same variables LISTEN_PID, LISTEN_FDS and
 * LISTEN_FDNAMES. */
#ifndef PROC_INHERIT_H
#define PROC_INHERIT_H

#include "net/listeners.h"

#define INHERIT_MAX     32
#define INHERIT_CONTROL "control" /* the name of a socket that is not for clients */
/* A predecessor's names, for sockets that it has bound itself: nobody else listens there. */
#define INHERIT_OWN         "srv"
#define INHERIT_OWN_CONTROL "srv-control"

struct inherited {
    int fds[INHERIT_MAX]; /* to accept clients on */
    bool own[INHERIT_MAX];
    size_t count;
    int control_fd;        /* -1: none */
    bool control_borrowed; /* somebody else goes on listening there */
};

/* Takes what was passed to this very process, makes it non-blocking and close-on-exec, and removes
 * the variables. Nothing passed: count 0, control_fd -1. 0 or -errno with a reason (bad variables,
 * not a listening socket, too many). */
NODISCARD int inherit_take(struct inherited *ret, struct error *err);

/* Those for clients become the listeners, in their order; false when there are none. `addresses`
 * are those that the predecessor was asked for. */
bool inherit_listeners(const struct inherited *i, const struct option_strings *addresses,
                       struct listeners *ret);

/* The kernel may know a unix socket by its last name only (net/listener.c): if that is how the path
 * of `text` ends, an ADDR, `bound` becomes that. */
void inherit_spell(struct address *bound, const char *text);

/* In a forked child: passes the sockets on and becomes `path`. `control_fd` may be -1. Only returns
 * on failure: -errno. */
int inherit_exec(const char *path, char *const *argv, const struct listeners *listeners,
                 int control_fd, bool control_borrowed);

#endif
