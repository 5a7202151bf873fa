/* SPDX-License-Identifier: MIT */
/* Connections that have their last answer, while their clients may still be sending: closed once a
 * client has closed its side or SERVER_LINGER_NSEC have passed, since closing at once would reset
 * the connection and take the answer with it (RFC 9112 section 9.6). For a thread that waits in
 * epoll_wait(2) for other things, too; SERVER_FAREWELLS_MAX at once. */
#ifndef SERVER_FAREWELL_H
#define SERVER_FAREWELL_H

#include "base/clock.h"
#include "server/limits.h"

struct farewell {
    int epoll_fd; /* the caller's, where guests are watched: data.fd */
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

/* An event of this descriptor, if it is a guest's: drains it, and closes it at its end. */
void farewell_hear(struct farewell *f, int fd);

/* Closes those that had their time. */
void farewell_expire(struct farewell *f, nsec_t now);

/* Closes all at once. */
void farewell_end(struct farewell *f);

#endif
