/* SPDX-License-Identifier: MIT */
/* Words of proxies about the client, from the nearest proxy backwards: X-Forwarded-For and
 * Forwarded (RFC 7239). Nothing here is to be believed before its sender is. */
#ifndef HTTP_FORWARDED_H
#define HTTP_FORWARDED_H

#include "base/slice.h"
#include <stdint.h>

struct forwarded_hop {
    struct slice node;  /* for= as sent, without quotes; empty when it is missing */
    struct slice proto; /* proto= without quotes; empty when it is missing */
};

/* Cuts the last element of a comma-separated list; false when nothing is left. Usage:
 *
 *   while (forwarded_for_pop(&value, &node)) ...
 */
bool forwarded_for_pop(struct slice *list, struct slice *ret_node);

/* Pops a hop of Forwarded; commas in quoted strings do not separate. A malformed element ends the
 * list with an empty hop. */
bool forwarded_pop(struct slice *list, struct forwarded_hop *ret);

/* The address of a node: without port and brackets, which proxies write in several ways. Empty for
 * `unknown`, obfuscated names (`_hidden`) and empty nodes; otherwise not checked. */
struct slice forwarded_node_address(struct slice node);

/* "http" or "https" as `value` spells it in any case; empty for everything else. */
struct slice forwarded_scheme(struct slice value);

#endif
