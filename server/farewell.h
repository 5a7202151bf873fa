/* SPDX-License-Identifier: MIT */
/* Connections that have their last answer, while their clients may still be sending: closed once a
 * client has closed its side or SERVER_LINGER_NSEC have passed, since closing at once would reset
 * the connection and take the answer with it (RFC 9112 section 9.6). For a thread that waits in
 * poll(2) for other things, too; SERVER_FAREWELLS_MAX at once. */
#ifndef SERVER_FAREWELL_H
#define SERVER_FAREWELL_H

#include "base/clock.h"
#include "server/limits.h"
#include <poll.h>

struct farewell {
    struct {
        int fd;
        nsec_t until;
    } guests[SERVER_FAREWELLS_MAX]; /* the oldest first */
    unsigned count;
};

/* Takes over a descriptor, to which all has been sent. Without room it is closed at once. */
void farewell_say(struct farewell *f, int fd);

/* When the next one must go; NSEC_NEVER: there is none. */
nsec_t farewell_due(const struct farewell *f);

/* Writes what poll(2) is to look for to `fds`, which has room for all: how many. Afterwards, and
 * before any farewell is said, the same are drained or closed. */
unsigned farewell_watch(const struct farewell *f, struct pollfd *fds);
void farewell_turn(struct farewell *f, const struct pollfd *fds, nsec_t now);

/* Closes all at once. */
void farewell_end(struct farewell *f);

#endif
