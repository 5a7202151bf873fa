/* SPDX-License-Identifier: MIT */
/* The listening sockets of a server, as its --bind options ask for them. */
#ifndef NET_BINDS_H
#define NET_BINDS_H

#include "base/option.h"
#include "net/address.h"

#define BINDS_MAX 16

struct binds {
    int fds[BINDS_MAX];
    struct address bound[BINDS_MAX]; /* actual addresses: port 0 resolved */
    const char *schemes[BINDS_MAX];  /* scheme that binds_announce tells; binds_open sets "http" */
    bool borrowed[BINDS_MAX];        /* somebody else has bound it, and goes on listening */
    size_t count;
};

/* Whether they are spelled as addresses: 0 or -EINVAL with what is allowed. */
NODISCARD int binds_check(const struct option_strings *addresses, struct error *err);

/* Opens all or none: 0 or -errno with a reason that names the address. An empty host means every
 * interface. */
NODISCARD int binds_open(struct binds *b, const struct option_strings *addresses, int backlog,
                         struct error *err);

/* One line per socket on stderr: "NAME: listening on http://127.0.0.1:3000/". */
void binds_announce(const struct binds *b, const char *name);

/* Refuses new connections from now on, in every process that has the sockets, and resets those that
 * nobody has accepted; but not on borrowed ones. shutdown(2) on what listens is Linux's own way. */
void binds_refuse(const struct binds *b);

/* Closes them and removes the files of unix sockets, but not of borrowed ones. */
void binds_close(struct binds *b);

/* Calls socket_raise_limit, and logs a failure. */
void binds_raise_descriptor_limit(void);

#endif
