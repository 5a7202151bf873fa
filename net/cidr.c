/* SPDX-License-Identifier: MIT */
/* Parses and matches lists of networks; IPv4 is matched in its IPv6 form. */
#include "net/cidr.h"
#include <errno.h>

#define V4_BITS_BEFORE 96 /* bits of ::ffff:0:0/96 */

static int add_network(struct cidr_list *list, struct slice text) {
    bool has_bits = slice_find(text, '/') < text.len;
    struct slice address = slice_cut(&text, '/');
    bool is_v4 = slice_find(address, ':') == address.len;
    struct cidr *item = &list->items[list->count];
    uint64_t bits = is_v4 ? 32 : 128;

    if (list->count == CIDR_LIST_MAX || !ip_parse(address, &item->ip))
        return -EINVAL;
    if (has_bits && slice_parse_u64(text, bits, &bits) < 0)
        return -EINVAL;
    item->bits = (uint8_t)(bits + (is_v4 ? V4_BITS_BEFORE : 0));
    list->count++;
    return 0;
}

static int add_element(struct cidr_list *list, struct slice text) {
    if (slice_eq(text, SLICE("*")))
        list->all = true;
    else if (slice_eq(text, SLICE("unix")))
        list->local = true;
    else if (text.len > 0)
        return add_network(list, text);
    return 0;
}

int cidr_list_parse(const char *text, struct cidr_list *ret, struct error *err) {
    struct slice rest = slice_str(text);

    *ret = (struct cidr_list){ .count = 0 };
    while (rest.len > 0)
        if (add_element(ret, slice_trim(slice_cut(&rest, ','))) < 0)
            return error_set(err, -EINVAL,
                             "up to %d of ADDRESS, ADDRESS/BITS, unix or *, separated by commas",
                             CIDR_LIST_MAX);
    return 0;
}

static bool is_inside(const struct cidr *network, const struct ip *ip) {
    size_t whole = network->bits / 8, rest = network->bits % 8;

    if (memcmp(network->ip.bytes, ip->bytes, whole) != 0)
        return false;
    return rest == 0 || (network->ip.bytes[whole] ^ ip->bytes[whole]) >> (8 - rest) == 0;
}

bool cidr_list_has(const struct cidr_list *list, const struct peer *peer) {
    if (list->all)
        return true;
    if (peer->kind == PEER_LOCAL)
        return list->local;
    for (size_t i = 0; peer->kind == PEER_IP && i < list->count; i++)
        if (is_inside(&list->items[i], &peer->ip))
            return true;
    return false;
}
