/* SPDX-License-Identifier: MIT */
/* Both versions of the PROXY header. */
#include "http/proxy_protocol.h"
#include "http/error.h"
#include <arpa/inet.h>

static const struct slice v1_start = SLICE_INIT("PROXY ");
static const struct slice v2_start = SLICE_INIT("\r\n\r\n\0\r\nQUIT\n");

#define V2_HEADER_BYTES 16
#define TLV_SSL         0x20
#define TLV_SSL_CLIENT  0x01 /* PP2_CLIENT_SSL: the client came over TLS */

static struct http_parse done(size_t used) {
    return (struct http_parse){ .kind = HTTP_PARSE_DONE, .used = used };
}

static struct http_parse more(void) {
    return (struct http_parse){ .kind = HTTP_PARSE_MORE };
}

static struct http_parse bad(void) {
    return (struct http_parse){ .kind = HTTP_PARSE_BAD, .why = http_err_proxy_header };
}

/* --- version 1 ------------------------------------------------------------------------- */

static bool parse_ip(struct slice text, int family, uint8_t *ret) {
    char copy[INET6_ADDRSTRLEN];

    if (text.len == 0 || text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return inet_pton(family, copy, ret) == 1;
}

/* "TCP4 SOURCE DESTINATION PORT PORT" */
static bool parse_line(struct slice line, struct proxy_client *ret) {
    struct slice protocol = slice_cut(&line, ' ');
    bool is_v6 = slice_eq(protocol, SLICE("TCP6"));
    uint8_t destination[16];
    uint64_t ports[2];

    if (slice_eq(protocol, SLICE("UNKNOWN")))
        return true; /* the rest of the line means nothing */
    if (!is_v6 && !slice_eq(protocol, SLICE("TCP4")))
        return false;
    if (!parse_ip(slice_cut(&line, ' '), is_v6 ? AF_INET6 : AF_INET, ret->ip) ||
        !parse_ip(slice_cut(&line, ' '), is_v6 ? AF_INET6 : AF_INET, destination) ||
        slice_parse_u64(slice_cut(&line, ' '), UINT16_MAX, &ports[0]) < 0 ||
        slice_parse_u64(line, UINT16_MAX, &ports[1]) < 0)
        return false;
    ret->family = is_v6 ? PROXY_IPV6 : PROXY_IPV4;
    ret->port = (uint16_t)ports[0];
    return true;
}

static struct http_parse parse_v1(struct slice input, struct proxy_client *ret) {
    struct slice window = slice_take(input, PROXY_V1_BYTES_MAX);
    size_t lf = slice_find(window, '\n');

    if (lf == window.len)
        return window.len == PROXY_V1_BYTES_MAX ? bad() : more();
    if (lf < v1_start.len + 1 || window.ptr[lf - 1] != '\r' ||
        !parse_line(slice_drop(slice_take(window, lf - 1), v1_start.len), ret))
        return bad();
    return done(lf + 1);
}

/* --- version 2 ------------------------------------------------------------------------- */

static size_t read_u16(const char *p) {
    return (size_t)(uint8_t)p[0] << 8 | (size_t)(uint8_t)p[1];
}

/* { u8 type, u16 size, value }*; false when one reaches past the end. */
static bool parse_extensions(struct slice rest, struct proxy_client *ret) {
    while (rest.len > 0) {
        size_t size = rest.len < 3 ? rest.len : read_u16(rest.ptr + 1);

        if (size > rest.len - 3 || rest.len < 3)
            return false;
        if ((uint8_t)rest.ptr[0] == TLV_SSL && size > 0)
            ret->secure = ((uint8_t)rest.ptr[3] & TLV_SSL_CLIENT) != 0;
        rest = slice_drop(rest, 3 + size);
    }
    return true;
}

/* The addresses and what follows them. Only streams over IP say something that we can use. */
static bool parse_block(uint8_t family, struct slice block, struct proxy_client *ret) {
    size_t ip_bytes = family == 0x11 ? 4 : 16;

    if (family != 0x11 && family != 0x21)
        return true;
    if (block.len < 2 * ip_bytes + 4)
        return false;
    memcpy(ret->ip, block.ptr, ip_bytes);
    ret->port = (uint16_t)read_u16(block.ptr + 2 * ip_bytes);
    ret->family = family == 0x11 ? PROXY_IPV4 : PROXY_IPV6;
    return parse_extensions(slice_drop(block, 2 * ip_bytes + 4), ret);
}

static struct http_parse parse_v2(struct slice input, struct proxy_client *ret) {
    uint8_t command;
    size_t used;

    if (input.len < V2_HEADER_BYTES)
        return more();
    command = (uint8_t)input.ptr[12];
    used = V2_HEADER_BYTES + read_u16(input.ptr + 14);
    if ((command != 0x20 && command != 0x21) || used > PROXY_V2_BYTES_MAX)
        return bad();
    if (input.len < used)
        return more();
    if (command == 0x20) /* LOCAL: the proxy speaks for itself */
        return done(used);
    if (!parse_block((uint8_t)input.ptr[13],
                     slice_of(input.ptr + V2_HEADER_BYTES, used - V2_HEADER_BYTES), ret))
        return bad();
    return done(used);
}

static bool may_become(struct slice input, struct slice start) {
    size_t known = input.len < start.len ? input.len : start.len;

    return slice_eq(slice_take(input, known), slice_take(start, known));
}

struct http_parse proxy_protocol_parse(struct slice input, struct proxy_client *ret) {
    *ret = (struct proxy_client){ .family = PROXY_UNKNOWN };
    if (input.len == 0)
        return more();
    if (may_become(input, v1_start))
        return parse_v1(input, ret);
    return may_become(input, v2_start) ? parse_v2(input, ret) : bad();
}
