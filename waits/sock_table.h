/* SPDX-License-Identifier: MIT */
/* The two ends of sockets by their inodes, as the kernel's tables tell (sock_diag(7)).
 *
 *   sock_table_want(&t, net, inode, protocol)    of each that is met; nothing is asked for what is
 *                                                known already
 *   sock_table_ask(&t)                           at most one look through each table
 *   sock = sock_table_find(&t, inode)
 *
 * A connected socket keeps its two ends, and its inode is not soon used again: what was learned
 * stays known. One that is still connecting is asked for each time. */
#ifndef WAITS_SOCK_TABLE_H
#define WAITS_SOCK_TABLE_H

#include "base/attr.h"
#include "base/slice.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SOCK_TEXT_BYTES     112 /* "[::1]:80", "unix:/path", escaped and cut */
#define SOCK_PROTOCOL_BYTES 16

enum sock_side {
    SOCK_UNKNOWN,   /* not found, or of a protocol whose ends are not told */
    SOCK_LISTENING, /* `text` is its own address */
    SOCK_ACCEPTED,  /* `text` is its own address, which the client knows */
    SOCK_MADE,      /* `text` is the address that it is connected to */
    SOCK_MAKING,    /* `text` is as of SOCK_MADE, but the other end has yet to answer */
    SOCK_PLAIN,     /* `text` says all that there is to say: "socket pair" */
};

struct sock {
    uint64_t inode;
    uint8_t side;   /* enum sock_side */
    bool datagram;  /* UDP */
    uint16_t port;  /* the port in `text`; 0: none */
    uint32_t round; /* the last sample that asked for the socket */
    char text[SOCK_TEXT_BYTES];
};

#define SOCK_NETS_MAX 16 /* network namespaces; sockets of more are unknown */

/* Tables that are looked through: their sockets cannot be asked for by inode. */
enum sock_dump { SOCK_TCP4, SOCK_TCP6, SOCK_UDP4, SOCK_UDP6, SOCK_DUMPS };

struct sock_net {
    ino_t inode;
    int fd; /* a socket of sock_diag in that namespace; -errno: none, -EACCES: not permitted */
    bool wants[SOCK_DUMPS];
    uint8_t listens[65536 / 8]; /* ports of TCP that somebody was seen to listen at */
};

struct sock_table {
    struct sock *socks; /* open addressing by inode; 0: free */
    size_t capacity, count;
    struct sock_net *nets;
    size_t net_count;
    uint32_t round;
    char *reply;
};

/* Asks a NETLINK_SOCK_DIAG socket for all sockets of a family (AF_INET) and a protocol
 * (IPPROTO_TCP) that are in these states, a bit each: sock_diag(7). The answers come as datagrams.
 * 0 or -errno. */
NODISCARD int sock_diag_ask(int fd, uint8_t family, uint8_t protocol, uint32_t states);

/* 0 or -ENOMEM; sock_table_close in both cases. */
NODISCARD int sock_table_open(struct sock_table *t);
void sock_table_close(struct sock_table *t);

/* The network namespace of a process, by its folder in /proc: its index. -EACCES: it is not ours,
 * and cannot be entered (setns(2) asks for CAP_SYS_ADMIN); or another -errno. */
NODISCARD int sock_table_net(struct sock_table *t, int proc_fd);

/* Begins a sample: what nobody has wanted for a while may be forgotten. */
void sock_table_begin(struct sock_table *t);

/* Notes that a socket of a namespace is asked for. `protocol` is its name, as the attribute
 * system.sockprotoname has it: "TCP", "UNIX-STREAM". 0 or -ENOMEM. */
NODISCARD int sock_table_want(struct sock_table *t, int net, uint64_t inode, const char *protocol);

/* Whether the table knows that socket already. */
bool sock_table_knows(const struct sock_table *t, uint64_t inode);

/* Asks the kernel for all that is wanted and not known. */
void sock_table_ask(struct sock_table *t);

/* NULL: not asked for. */
const struct sock *sock_table_find(const struct sock_table *t, uint64_t inode);

/* The name of a unix socket as sun_path has it, "unix:/path" or "unix:@name" (unix(7)). */
void sock_put_name(struct slice name, char *text, size_t size);

#endif
