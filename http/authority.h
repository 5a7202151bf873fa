/* SPDX-License-Identifier: MIT */
/* host[:port], as in Host, in targets and in URLs. */
#ifndef HTTP_AUTHORITY_H
#define HTTP_AUTHORITY_H

#include "base/slice.h"

struct http_authority {
    struct slice host; /* not empty; without the brackets of an IPv6 literal */
    uint16_t port;     /* 0 unless has_port */
    bool has_port, is_ipv6;
};

/* uri-host [ ":" port ] of RFC 9110 section 4.2.1 without user information. Refuses an empty host,
 * a comma, a bad escape, an IPv6 literal that is not made of hex digits, colons and dots, and a
 * port above 65535. A port may be empty (RFC 3986 section 3.2.3). */
NODISCARD bool http_authority_parse(struct slice text, struct http_authority *ret);

#endif
