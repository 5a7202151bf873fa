/* SPDX-License-Identifier: MIT */
/* Signals that become readable descriptors, and one connection served from its first byte to its
 * last: shared by the models that block. */
#ifndef SERVER_BLOCKING_H
#define SERVER_BLOCKING_H

#include "base/error.h"
#include "net/linger.h"
#include "server/conn/session.h"
#include "server/limits.h"
#include <stdatomic.h>

/* RETIRE and TERM make accept_fd readable, TERM after worker_delay: accept no more; a connection
 * that is kept goes on until its next request. A moment after TERM silence_fd: one without a
 * request so far goes. When patience ends after either, cancel_fd: give up what runs. A second
 * TERM, INT and QUIT make all readable at once. One per process. */
struct blocking {
    const struct worker *worker;
    atomic_int phase; /* changed by the signal handler */
    int accept_fd, silence_fd, cancel_fd;
    int epoll_fd;      /* blocking_accept's thread waits here */
    bool takes_turns;  /* connections stay: idle workers accept one after the other */
    nsec_t wait_until; /* lets workers with fewer connections accept; NSEC_NEVER: does not */
    /* Connections that blocking_refuse has answered, the oldest first. */
    struct blocking_lingering {
        struct linger_state linger;
        int fd;
        nsec_t until;
    } lingering[SERVER_LINGERING_MAX];
    unsigned lingering_count;
};

/* Serves a connection until it ends, then closes it. `one_request`: its only answer says close. */
void blocking_serve(const struct blocking *b, const struct worker *worker,
                    const struct accepted *accepted, bool one_request);

#endif
