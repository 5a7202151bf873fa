/* SPDX-License-Identifier: MIT */
/* Lists of networks: whose word is taken, and who may speak at all. */
#ifndef NET_CIDR_H
#define NET_CIDR_H

#include "base/error.h"
#include "net/peer.h"

#define CIDR_LIST_MAX 32

struct cidr {
    struct ip ip;
    uint8_t bits; /* leading bits of `ip` that count, of 128 */
};

struct cidr_list {
    struct cidr items[CIDR_LIST_MAX];
    uint8_t count;
    bool local; /* peers over unix sockets belong to it */
    bool all;
};

/* Parses ADDRESS[/BITS], `unix`, or `*`, separated by commas; empty elements are skipped, so that
 * "" is nobody. 0 or -EINVAL with what is allowed in `err`. */
NODISCARD int cidr_list_parse(const char *text, struct cidr_list *ret, struct error *err);

/* An unknown peer belongs to `*` only. */
bool cidr_list_has(const struct cidr_list *list, const struct peer *peer);

#endif
