/* SPDX-License-Identifier: MIT */
/* Heads as a gateway passes them on: a server to its clients, a client to the server that it stands
 * before (RFC 9110 section 7.6). Fields that are about one connection stay behind: those of section
 * 7.6.1, and all that Connection names. Framing is told anew, from what the parser understood, so
 * that nobody behind reads another length. */
#ifndef HTTP_GATEWAY_H
#define HTTP_GATEWAY_H

#include "base/buf.h"
#include "http/head.h"

/* The server, and what requests to it look like. */
struct gateway_route {
    struct slice origin; /* "http://host:port", by which the server may call itself; or empty */
    struct slice prefix; /* goes before each path, without a / at its end; may be empty */
    struct slice host;   /* for Host; empty: as the client has sent it */
    struct slice hidden; /* fields whose names begin so are not passed on; empty: none */
};

/* The client, for X-Forwarded-For, -Proto and -Host; an empty address: they are not told. */
struct gateway_client {
    struct slice address, scheme;
};

/* Appends the head of the request for the server. `query` takes the place of the one in the target
 * unless its pointer is NULL. 0; -EINVAL: a target in a form that is not passed on (CONNECT); or as
 * buf_reserve. */
NODISCARD int gateway_request(struct buf *out, const struct http_head *head,
                              const struct gateway_route *route,
                              const struct gateway_client *client, struct slice query);

/* Appends the field lines of an answer for the client, without an empty line. Location loses the
 * server's own origin and prefix, or the client would go past the gateway. As buf_reserve. */
NODISCARD int gateway_fields(struct buf *out, const struct http_head *answer,
                             const struct gateway_route *route);

/* Whether a head asks for, or agrees to, another protocol (RFC 9110 section 7.8). */
bool gateway_upgrades(const struct http_head *head);

#endif
