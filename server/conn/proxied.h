/* SPDX-License-Identifier: MIT */
/* What trusted proxies say of a request: who the client is, by which scheme it came, and its id. */
#ifndef SERVER_PROXIED_H
#define SERVER_PROXIED_H

#include "http/head.h"
#include "net/cidr.h"
#include <stdatomic.h>
#include <stdint.h>

/* --- the client: the peer, or whom proxies say they ask for -------------- */

struct realip {
    struct peer client;
    struct slice scheme; /* "http" or "https" */
};

/* Follows X-Forwarded-For from its end as long as the address before was in `trusted`; Forwarded
 * (RFC 7239) when there is none; else X-Real-IP. The scheme is that of the same hop. A peer that is
 * not trusted is the client. */
struct realip realip_of(const struct http_head *head, const struct peer *peer,
                        const struct cidr_list *trusted);

/* --- the id of a request: 128 bits in hexadecimal, made when somebody first asks; or the one that
 * a proxy has given it ------------------------------------------------------------------------ */

enum { REQUEST_ID_BYTES = 33, REQUEST_ID_LEN_MAX = 128 };

/* Where the ids of a process come from: unlike each other and those of other processes, and no
 * secret. Threads share it. */
struct request_ids {
    struct slice field;              /* name of the field that proxies give an id in; or empty */
    const struct cidr_list *trusted; /* proxies whose ids are taken */
    uint64_t key[2];
    atomic_ullong count;
};

/* After the fork: two processes with one key would make the same ids. `field` and `trusted` must
 * outlive the ids. */
void request_ids_open(struct request_ids *ids, const char *field, const struct cidr_list *trusted);

struct request_id {
    uint64_t high, low; /* both 0: not made yet */
};

/* The id of the request with that head: what the field of --request-id-header says, if the peer is
 * trusted and the id is 1 to REQUEST_ID_LEN_MAX letters, digits and "-._~+/=:@", which need no
 * quotes anywhere; else `own`, made at the first call, before threads share the request, and put
 * into `text`. */
struct slice request_id_text(struct request_id *own, struct request_ids *ids,
                             const struct http_head *head, const struct peer *peer,
                             char text[REQUEST_ID_BYTES]);

#endif
