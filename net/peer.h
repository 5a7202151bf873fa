/* SPDX-License-Identifier: MIT */
/* The address of the other end, in twenty bytes: one lives in every connection. */
#ifndef NET_PEER_H
#define NET_PEER_H

#include "net/address.h"

struct ip {
    uint8_t bytes[16]; /* network order; IPv4 as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2) */
};

enum peer_kind {
    PEER_UNKNOWN,
    PEER_LOCAL, /* over a unix socket */
    PEER_IP,
};

struct peer {
    struct ip ip;
    uint16_t port; /* 0: not known */
    uint8_t kind;  /* enum peer_kind */
    bool secure;   /* TLS led to the proxy before us */
};

/* The peer that accept(2) tells; NULL is unknown. */
struct peer peer_of_address(const struct address *address);

/* The peer of a connected socket, as getpeername(2) tells; -1 is unknown. */
struct peer peer_of_socket(int fd);

/* `bytes` has 4 or 16. */
struct ip ip_of_bytes(const uint8_t *bytes, size_t count);

/* A numeric IPv4 or IPv6 address without brackets, port or scope. False when it is none. */
NODISCARD bool ip_parse(struct slice text, struct ip *ret);

#define PEER_TEXT_BYTES 48

/* "192.0.2.7", "2001:db8::7", "unix", "unknown". Returns `text`. */
const char *peer_format(const struct peer *peer, char text[static PEER_TEXT_BYTES]);

#endif
