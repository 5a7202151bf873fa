/* SPDX-License-Identifier: MIT */
/* Who asks, really: the peer, or whom trusted proxies say they ask for. */
#ifndef SERVER_ORIGIN_H
#define SERVER_ORIGIN_H

#include "server/conn/session.h"

struct realip {
    struct peer client;
    struct slice scheme; /* "http" or "https" */
};

/* Of the current request. X-Forwarded-For is followed from its end as long as the address before
 * was in --forwarded-allow-ips; Forwarded (RFC 7239) when there is none; else X-Real-IP. The scheme
 * is that of the same hop. A peer that is not trusted is the client. */
struct realip realip_of(const struct session *s);

#endif
