/* SPDX-License-Identifier: MIT */
/* Listening sockets. */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include "net/address.h"

/* A non-blocking, close-on-exec listening socket, or -errno with the reason ("cannot listen on
 * 127.0.0.1:80: Permission denied"). TCP: SO_REUSEADDR, TCP_NODELAY (accepted sockets inherit it).
 * Unix: a stale socket file (nobody answers) is replaced, a live one is -EADDRINUSE, anything else
 * at the path is left alone and refused. `*ret_bound` is the actual address (port 0 resolved). */
NODISCARD int listener_open(const struct address *at, int backlog, struct address *ret_bound,
                            struct error *err);

/* Like listener_open; the file of a unix socket is born with `mode` (0: as the umask says). Before
 * threads. */
NODISCARD int listener_open_with_mode(const struct address *at, mode_t mode, int backlog,
                                      struct address *ret_bound, struct error *err);

/* Closes it and removes the file of a unix socket, unless somebody (a successor, or a worker that
 * still has it) answers there. */
void listener_close(int fd, const struct address *bound);

/* Whether a connection waits there to be accepted. */
NODISCARD bool listener_has_waiting(int fd);

/* If a connection waits there, wakes every process that waits for one. For who was woken alone
 * (EPOLLEXCLUSIVE), and leaves without accepting: nobody else would be. */
void listener_rouse(int fd);

/* The kernel's limit of a backlog (net.core.somaxconn, listen(2)); listener_open logs when it caps
 * the one asked for. Exported for its test. */
int listener_backlog_cap(void);

#endif
