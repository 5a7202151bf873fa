/* SPDX-License-Identifier: MIT */
/* Addresses to listen at and to connect to: HOST:PORT, :PORT, [v6]:PORT, unix:/path, PORT. */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H

#include "base/error.h"
#include "base/slice.h"
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    };
    socklen_t len;
};

/* The spelling of an address before names are looked up. */
struct endpoint {
    struct slice host; /* without brackets; empty for `:PORT`; the path when `is_unix` */
    uint16_t port;
    bool is_unix;
    mode_t mode; /* permissions of a unix listener's file; 0: the umask decides */
};

/* Takes `HOST:PORT`, `:PORT`, `[v6]:PORT`, `unix:/path`, `unix:/path?mode=0660` apart;
 * `default_port` 0 makes the port mandatory, and lets it stand alone for that port of 127.0.0.1:
 * only an address that was written out opens a service to other machines. 0 or -EINVAL with what is
 * allowed in `err`. */
NODISCARD int endpoint_parse(struct slice text, uint16_t default_port, struct endpoint *ret,
                             struct error *err);

/* Without a look-up: numeric hosts, "localhost" (127.0.0.1), empty host (`any` ? 0.0.0.0 :
 * 127.0.0.1), unix paths. 0, -ENOENT (a name: ask fiber/resolve.h), -ENAMETOOLONG (unix path). */
NODISCARD int address_of_endpoint(const struct endpoint *e, bool any, struct address *ret);

/* A numeric IPv4 or IPv6 address alone, without brackets: what a socket is bound to that connects
 * (port 0). 0 or -EINVAL. */
NODISCARD int address_parse_source(struct slice text, struct address *ret);

#define ADDRESS_TEXT_BYTES 128

/* "127.0.0.1:3000", "[::1]:3000", "unix:/path". Returns `text`, which has ADDRESS_TEXT_BYTES. */
const char *address_format(const struct address *a, char *text);

/* A hash of the host alone, whatever the port: the same for all unix sockets. */
uint64_t address_hash_host(const struct address *a);

/* IP only; 0 for unix. */
uint16_t address_port(const struct address *a);

#endif
