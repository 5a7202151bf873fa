/* SPDX-License-Identifier: MIT */
/* The PROXY protocol, versions 1 (text) and 2 (binary): what a load balancer says about its client
 * before the first byte of it (haproxy's doc/proxy-protocol.txt). A pure function over the caller's
 * bytes. */
#ifndef HTTP_PROXY_PROTOCOL_H
#define HTTP_PROXY_PROTOCOL_H

#include "http/head.h"

#define PROXY_V1_BYTES_MAX 107  /* the line, CRLF included */
#define PROXY_V2_BYTES_MAX 4096 /* ours: addresses take at most 232, the rest is extensions */

enum proxy_family {
    PROXY_UNKNOWN, /* a health check of the proxy itself, or a family that is not IP: keep the peer
                    */
    PROXY_IPV4,
    PROXY_IPV6,
};

struct proxy_client {
    enum proxy_family family;
    uint8_t ip[16]; /* network order; the first four of IPv4 */
    uint16_t port;
    bool secure; /* version 2: the client used TLS */
};

/* DONE: `used` bytes belong to the header, the request begins behind them. MORE, or BAD with an
 * http_err_*, also for bytes that are no PROXY header at all. */
struct http_parse proxy_protocol_parse(struct slice input, struct proxy_client *ret);

#endif
