/* SPDX-License-Identifier: MIT */
/* Listening sockets and accepting from them. */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include "net/address.h"
#include "net/watch.h"

/* A non-blocking, close-on-exec listening socket, or -errno with the reason ("cannot listen on
 * 127.0.0.1:80: Permission denied"). TCP: SO_REUSEADDR, TCP_NODELAY (accepted sockets inherit it).
 * Unix: a stale socket file (nobody answers) is replaced, a live one is -EADDRINUSE, anything else
 * at the path is left alone and refused. `*ret_bound` is the actual address (port 0 resolved). */
NODISCARD int listener_open(const struct address *at, int backlog, struct address *ret_bound,
                            struct error *err);

/* Closes it and removes the file of a unix socket, unless somebody (a successor, or a worker that
 * still has it) answers there. */
void listener_close(int fd, const struct address *bound);

/* The kernel's limit of a backlog (net.core.somaxconn, listen(2)); listener_open logs when it caps
 * the one asked for. */
int listener_backlog_cap(void);

/* Accepting on a loop: `accepted` gets a non-blocking, close-on-exec descriptor that it owns.
 * Bounded per turn for fairness. Out of descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM):
 * logged (rate limited), accepting pauses and is tried again, no spin. */
struct acceptor {
    struct event event;
    struct loop *loop;
    struct timer pause;
    int fd;
    unsigned burst; /* connections accepted per turn */
    bool running;
    nsec_t pause_span; /* of the back-off; 0 after a success */
    void (*accepted)(struct acceptor *, int fd, const struct address *peer);
    void *arg;
};

NODISCARD int acceptor_open(struct acceptor *a, struct loop *loop, int listen_fd, unsigned burst,
                            void (*accepted)(struct acceptor *, int, const struct address *),
                            void *arg);
/* Stops and restarts: a worker that is full leaves new connections to the others. Idempotent. */
void acceptor_pause(struct acceptor *a);
void acceptor_resume(struct acceptor *a);
/* Accepts what waits right now, at most `burst`, also while paused. */
void acceptor_glance(struct acceptor *a, unsigned burst);
/* Does not close the listening socket. Inside `accepted`, free the acceptor's memory through
 * loop_defer. */
void acceptor_close(struct acceptor *a);

#endif
