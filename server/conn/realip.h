/* SPDX-License-Identifier: MIT */
/* The address of the client: the peer's, or whom trusted proxies say they ask for. */
#ifndef SERVER_REALIP_H
#define SERVER_REALIP_H

#include "http/head.h"
#include "net/cidr.h"

struct realip {
    struct peer client;
    struct slice scheme; /* "http" or "https" */
};

/* Follows X-Forwarded-For from its end as long as the address before was in `trusted`; Forwarded
 * (RFC 7239) when there is none; else X-Real-IP. The scheme is that of the same hop. A peer that is
 * not trusted is the client. */
struct realip realip_of(const struct http_head *head, const struct peer *peer,
                        const struct cidr_list *trusted);

#endif
