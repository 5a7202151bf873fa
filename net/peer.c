/* SPDX-License-Identifier: MIT */
/* Compact addresses: from what the kernel and proxies say, to text. */
#include "net/peer.h"
#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>

static_assert(sizeof(struct peer) <= 32, "one lives in every connection");

static const uint8_t mapped_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

struct ip ip_of_bytes(const uint8_t *bytes, size_t count) {
    struct ip ip;

    if (count == sizeof(ip.bytes)) {
        memcpy(ip.bytes, bytes, sizeof(ip.bytes));
    } else {
        memcpy(ip.bytes, mapped_prefix, sizeof(mapped_prefix));
        memcpy(ip.bytes + sizeof(mapped_prefix), bytes, 4);
    }
    return ip;
}

struct peer peer_of_address(const struct address *address) {
    struct peer peer = { .kind = PEER_UNKNOWN };

    if (address == NULL)
        return peer;
    if (address->any.sa_family == AF_UNIX) {
        peer.kind = PEER_LOCAL;
    } else if (address->any.sa_family == AF_INET) {
        peer.kind = PEER_IP;
        peer.ip = ip_of_bytes((const uint8_t *)&address->v4.sin_addr, 4);
        peer.port = ntohs(address->v4.sin_port);
    } else if (address->any.sa_family == AF_INET6) {
        peer.kind = PEER_IP;
        peer.ip = ip_of_bytes(address->v6.sin6_addr.s6_addr, 16);
        peer.port = ntohs(address->v6.sin6_port);
    }
    return peer;
}

struct peer peer_of_socket(int fd) {
    struct address address = { .len = sizeof(address) - sizeof(address.len) };
    bool is_known = fd >= 0 && getpeername(fd, &address.any, &address.len) == 0;

    return peer_of_address(is_known ? &address : NULL);
}

bool ip_parse(struct slice text, struct ip *ret) {
    char copy[INET6_ADDRSTRLEN];
    uint8_t bytes[16];

    if (text.len == 0 || text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    if (inet_pton(AF_INET, copy, bytes) == 1)
        *ret = ip_of_bytes(bytes, 4);
    else if (inet_pton(AF_INET6, copy, bytes) == 1)
        *ret = ip_of_bytes(bytes, 16);
    else
        return false;
    return true;
}

static char *put_byte(char *at, unsigned byte) {
    if (byte >= 100)
        *at++ = (char)('0' + byte / 100);
    if (byte >= 10)
        *at++ = (char)('0' + byte / 10 % 10);
    *at++ = (char)('0' + byte % 10);
    return at;
}

/* inet_ntop(3) goes through sprintf(3), which takes a thousand instructions; each line of an access
 * log has an address. */
static void format_v4(const uint8_t bytes[static 4], char *text) {
    for (unsigned i = 0; i < 4; i++) {
        text = put_byte(text, bytes[i]);
        *text++ = i < 3 ? '.' : '\0';
    }
}

const char *peer_format(const struct peer *peer, char text[static PEER_TEXT_BYTES]) {
    bool is_v4 = memcmp(peer->ip.bytes, mapped_prefix, sizeof(mapped_prefix)) == 0;

    if (peer->kind != PEER_IP)
        snprintf(text, PEER_TEXT_BYTES, peer->kind == PEER_LOCAL ? "unix" : "unknown");
    else if (is_v4)
        format_v4(peer->ip.bytes + sizeof(mapped_prefix), text);
    else
        inet_ntop(AF_INET6, peer->ip.bytes, text, PEER_TEXT_BYTES);
    return text;
}
