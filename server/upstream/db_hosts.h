/* SPDX-License-Identifier: MIT */
/* The servers that a connection string names, and who of them is reached first. libpq would look
 * names up by itself, which stops a loop, and would wait for a silent server for ever. */
#ifndef SERVER_DB_HOSTS_H
#define SERVER_DB_HOSTS_H

#include "base/arena.h"
#include "fiber/io.h"
#include <sys/queue.h>

/* One server as libpq takes it; empty where libpq's own defaults are meant. */
struct db_host {
    STAILQ_ENTRY(db_host) link;
    const char *host, *hostaddr, *port;
    bool is_name; /* `host` has to be looked up before */
};

/* In the order in which they are tried; all in the arena. */
STAILQ_HEAD(db_hosts, db_host);

/* `hosts`, `hostaddrs` and `ports` as in a connection string: lists with commas, one port for all
 * or one each; NULL or empty for libpq's defaults. Unix socket folders and numeric addresses need
 * no look-up. At least one server. 0; -EINVAL: the lists are not equally long, or longer than
 * SERVER_DB_HOSTS_MAX; -ENOMEM. */
NODISCARD int db_hosts_parse(const char *hosts, const char *hostaddrs, const char *ports,
                             struct arena *arena, struct db_hosts *ret);

/* The making of a connection to one server; each call gets `arg`. */
struct db_dial {
    /* Begins: a connection in *ret, or -errno. */
    int (*begin)(void *arg, const struct db_host *host, void **ret);
    /* Says what it waits for: IO_READ or IO_WRITE on *ret_fd, which may change with each step. */
    unsigned (*wants)(void *arg, void *conn, int *ret_fd);
    /* Goes on when that has come. 0: not ready; 1: it is ready; -errno: it failed, -ECONNABORTED
     * since the server does not want us, and then no other one is begun. */
    int (*step)(void *arg, void *conn);
    /* Ends one that failed, or was beaten. */
    void (*end)(void *arg, void *conn);
    /* Takes the reason why a server was not reached, unless `begin` or `step` has said it. */
    void (*say)(void *arg, const char *why);
    void *arg;
};

/* Tries the servers in their order, each for `span` at most, names by all of their addresses.
 * While one is silent, the next is begun beside it after SERVER_DB_HOST_NSEC, and the first that
 * is ready wins (RFC 8305, section 5). Takes them out of the list. 0 with the winner, or the -errno
 * of the last failure: -ENOENT for an unknown name, -ETIMEDOUT, -ECANCELED, -ENOMEM. */
NODISCARD int db_hosts_dial(struct db_hosts *hosts, const struct db_dial *dial, struct io *io,
                            struct arena *arena, nsec_t span, nsec_t deadline, void **ret);

#endif
