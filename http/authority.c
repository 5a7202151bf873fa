/* SPDX-License-Identifier: MIT */
/* Checks host[:port] without resolving anything. */
#include "http/authority.h"
#include "http/chars.h"

/* The bytes of a reg-name or IPv4 address, percent escapes included. */
static size_t span_name(struct slice text) {
    size_t i = 0;
    for (;;) {
        i += http_span(text.ptr + i, text.len - i, HTTP_CHAR_HOST);
        if (text.len - i < 3 || text.ptr[i] != '%' ||
            !http_char_is(text.ptr[i + 1], HTTP_CHAR_HEX) ||
            !http_char_is(text.ptr[i + 2], HTTP_CHAR_HEX))
            return i;
        i += 3;
    }
}

static size_t span_ipv6(struct slice text) {
    size_t i = 0;
    while (i < text.len &&
           (http_char_is(text.ptr[i], HTTP_CHAR_HEX) || text.ptr[i] == ':' || text.ptr[i] == '.'))
        i++;
    return i;
}

static bool parse_port(struct slice text, struct http_authority *ret) {
    uint64_t port;
    if (text.len == 0)
        return true;
    if (slice_parse_u64(text, UINT16_MAX, &port) != 0)
        return false;
    ret->port = (uint16_t)port;
    ret->has_port = true;
    return true;
}

bool http_authority_parse(struct slice text, struct http_authority *ret) {
    struct slice rest;
    *ret = (struct http_authority){ .is_ipv6 = text.len > 0 && text.ptr[0] == '[' };
    if (ret->is_ipv6) {
        rest = slice_drop(text, 1);
        ret->host = slice_take(rest, span_ipv6(rest));
        rest = slice_drop(rest, ret->host.len);
        if (rest.len == 0 || rest.ptr[0] != ']' || slice_find(ret->host, ':') == ret->host.len)
            return false;
        rest = slice_drop(rest, 1);
    } else {
        ret->host = slice_take(text, span_name(text));
        rest = slice_drop(text, ret->host.len);
    }
    if (ret->host.len == 0)
        return false;
    if (rest.len == 0)
        return true;
    return rest.ptr[0] == ':' && parse_port(slice_drop(rest, 1), ret);
}
