/* SPDX-License-Identifier: MIT */
/* The listening sockets of a server, as its --bind options ask for them. */
#ifndef NET_LISTENERS_H
#define NET_LISTENERS_H

#include "base/option.h"
#include "net/address.h"

#define LISTENERS_MAX 16

struct listeners {
    int fds[LISTENERS_MAX];
    struct address bound[LISTENERS_MAX]; /* actual addresses: port 0 resolved */
    const char *schemes[LISTENERS_MAX];  /* told by listeners_announce; "http" at first */
    bool borrowed[LISTENERS_MAX];        /* somebody else has bound it, and goes on listening */
    size_t count;
};

/* Takes a scheme off an address, "https://" and the like: its index among the words of `schemes`,
 * which NULL ends; -1: the address begins with none of them. */
int listeners_take_scheme(const char **address, const char *const *schemes);

/* Whether they are spelled as addresses: 0 or -EINVAL with what is allowed. */
NODISCARD int listeners_check(const struct option_strings *addresses, struct error *err);

/* Opens all or none: 0 or -errno with a reason that names the address. An empty host means every
 * interface. */
NODISCARD int listeners_open(struct listeners *l, const struct option_strings *addresses,
                             int backlog, struct error *err);

/* Whether TCP connections come only with their first bytes, or a second after they were made; the
 * clients cannot tell. TCP_DEFER_ACCEPT, tcp(7). `borrowed`: those of borrowed sockets, too, for
 * which somebody else may have decided that. */
void listeners_defer(const struct listeners *l, bool defers, bool borrowed);

/* One line per socket on stderr: "NAME: listening on http://127.0.0.1:3000/". */
void listeners_announce(const struct listeners *l, const char *name);

/* Refuses new connections from now on, in every process that has the sockets, and resets those that
 * nobody has accepted; but not on borrowed ones. shutdown(2) on what listens is Linux's own way. */
void listeners_refuse(const struct listeners *l);

/* Closes them and removes the files of unix sockets, but not of borrowed ones. */
void listeners_close(struct listeners *l);

/* Calls socket_raise_limit, and logs a failure. */
void listeners_raise_descriptor_limit(void);

#endif
