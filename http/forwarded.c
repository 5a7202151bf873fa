/* SPDX-License-Identifier: MIT */
/* Reads forwarding fields from their end. */
#include "http/forwarded.h"

/* The index after the last `sep` outside quotes, 0 without one; the number of quotes in
 * *ret_quotes.
 */
static size_t last_element(struct slice list, size_t *ret_quotes) {
    size_t start = 0, quotes = 0;

    for (size_t i = 0; i < list.len; i++) {
        if (list.ptr[i] == '\\' && quotes % 2 == 1)
            i++;
        else if (list.ptr[i] == '"')
            quotes++;
        else if (list.ptr[i] == ',' && quotes % 2 == 0)
            start = i + 1;
    }
    *ret_quotes = quotes;
    return start;
}

bool forwarded_for_pop(struct slice *list, struct slice *ret_node) {
    const char *comma;
    size_t start;

    if (list->len == 0)
        return false;
    comma = memrchr(list->ptr, ',', list->len);
    start = comma != NULL ? (size_t)(comma + 1 - list->ptr) : 0;
    *ret_node = slice_trim(slice_drop(*list, start));
    *list = slice_take(*list, start > 0 ? start - 1 : 0);
    return true;
}

static struct slice unquote(struct slice value) {
    if (value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"')
        return slice_of(value.ptr + 1, value.len - 2);
    return value;
}

/* Cuts at the first ';' outside quotes. */
static struct slice cut_pair(struct slice *rest) {
    bool quoted = false;
    size_t i = 0;

    for (; i < rest->len && (quoted || rest->ptr[i] != ';'); i++) {
        if (rest->ptr[i] == '"')
            quoted = !quoted;
        else if (rest->ptr[i] == '\\' && quoted)
            i++;
    }
    struct slice pair = slice_take(*rest, i);
    *rest = slice_drop(*rest, i + 1);
    return slice_trim(pair);
}

static struct forwarded_hop parse_hop(struct slice element) {
    struct forwarded_hop hop = { { "", 0 }, { "", 0 } };

    while (element.len > 0) {
        struct slice value = cut_pair(&element);
        struct slice name = slice_cut(&value, '=');

        if (slice_eq_nocase(name, SLICE("for")))
            hop.node = unquote(value);
        else if (slice_eq_nocase(name, SLICE("proto")))
            hop.proto = unquote(value);
    }
    return hop;
}

bool forwarded_pop(struct slice *list, struct forwarded_hop *ret) {
    size_t start, quotes;

    if (list->len == 0)
        return false;
    start = last_element(*list, &quotes);
    if (quotes % 2 == 1) {
        *ret = (struct forwarded_hop){ { "", 0 }, { "", 0 } };
        *list = slice_take(*list, 0);
        return true;
    }
    *ret = parse_hop(slice_trim(slice_drop(*list, start)));
    *list = slice_take(*list, start > 0 ? start - 1 : 0);
    return true;
}

struct slice forwarded_node_address(struct slice node) {
    size_t colon;

    node = unquote(node);
    if (node.len == 0 || node.ptr[0] == '_' || slice_eq_nocase(node, SLICE("unknown")))
        return slice_of("", 0);
    if (node.ptr[0] == '[')
        return slice_take(slice_drop(node, 1), slice_find(node, ']') - 1);
    colon = slice_find(node, ':');
    if (slice_find(slice_drop(node, colon + 1), ':') < slice_drop(node, colon + 1).len)
        return node; /* two colons: a bare IPv6 address */
    return slice_take(node, colon);
}

struct slice forwarded_scheme(struct slice value) {
    if (slice_eq_nocase(value, SLICE("https")))
        return SLICE("https");
    if (slice_eq_nocase(value, SLICE("http")))
        return SLICE("http");
    return slice_of("", 0);
}
