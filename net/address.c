/* SPDX-License-Identifier: MIT */
/* The spelling of addresses: from text to sockaddr and back, without looking names up. */
#include "net/address.h"
#include "base/rng.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>

#define PORT_MAX 65535
#define HOST_MAX 253 /* RFC 1035 section 2.3.4 */
/* With room for the NUL. */
#define UNIX_PATH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

static_assert(ADDRESS_TEXT_BYTES > UNIX_PATH_MAX + sizeof("unix:"), "the longest path must fit");
static_assert(ADDRESS_TEXT_BYTES > INET6_ADDRSTRLEN + sizeof("[%4294967295]:65535"), "and any v6");

static int refuse(struct error *err, struct slice text, const char *why) {
    return error_set(err, -EINVAL,
                     "'%.*s' is not an address: %s (allowed: HOST:PORT, :PORT, [IPv6]:PORT, "
                     "unix:/path, or PORT of 127.0.0.1)",
                     (int)(text.len < 200 ? text.len : 200), text.ptr, why);
}

/* A NUL-terminated copy for the calls of libc; false when it does not fit. */
static bool copy_text(struct slice s, char *to, size_t size) {
    if (s.len >= size)
        return false;

    memcpy(to, s.ptr, s.len);
    to[s.len] = '\0';
    return true;
}

static bool is_v4(struct slice host, struct in_addr *ret) {
    char text[INET_ADDRSTRLEN];

    return copy_text(host, text, sizeof(text)) && inet_pton(AF_INET, text, ret) == 1;
}

/* `fe80::1%eth0`: the zone is an interface's name or number (RFC 4007 section 11). */
static bool is_v6(struct slice host, struct in6_addr *ret, uint32_t *ret_zone) {
    char text[INET6_ADDRSTRLEN], zone[IF_NAMESIZE];
    struct slice rest = host, digits = slice_cut(&rest, '%');
    uint64_t number = 0;

    if (!copy_text(digits, text, sizeof(text)) || inet_pton(AF_INET6, text, ret) != 1)
        return false;

    if (digits.len < host.len) {
        if (rest.len == 0 || !copy_text(rest, zone, sizeof(zone)))
            return false;
        if (slice_parse_u64(rest, UINT32_MAX, &number) != 0)
            number = if_nametoindex(zone);
        if (number == 0)
            return false;
    }
    *ret_zone = (uint32_t)number;
    return true;
}

static bool is_alnum(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Tells why the text cannot be a host; NULL when it can. Digits and dots alone must be a whole IPv4
 * address: getaddrinfo would read `127.1` or `3000` as one that nobody meant. */
static const char *host_fault(struct slice host) {
    struct in_addr v4;
    bool numeric = host.len > 0;

    if (host.len > HOST_MAX)
        return "the host is too long";

    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        if (!is_alnum(c) && c != '-' && c != '.' && c != '_')
            return "the host has a character that no host has";
        numeric = numeric && (c == '.' || (c >= '0' && c <= '9'));
    }
    if (numeric && !is_v4(host, &v4))
        return "the host is neither a name nor an IPv4 address";
    return NULL;
}

/* Off the end of the path, if it is there. False when it is no mode. */
static bool take_mode(struct slice *path, mode_t *ret) {
    size_t at = slice_find(*path, '?');
    struct slice digits;

    if (at == path->len || !slice_starts_with(slice_drop(*path, at), SLICE("?mode=")))
        return true;
    digits = slice_drop(*path, at + strlen("?mode="));
    path->len = at;
    for (size_t i = 0; i < digits.len && i < 5; i++) {
        if (digits.ptr[i] < '0' || digits.ptr[i] > '7')
            return false;
        *ret = *ret * 8 + (mode_t)(digits.ptr[i] - '0');
    }
    return digits.len <= 4 && *ret > 0 && *ret <= 0777;
}

static int parse_unix(struct slice text, struct endpoint *ret, struct error *err) {
    struct slice path = slice_drop(text, strlen("unix:"));
    mode_t mode = 0;

    if (!take_mode(&path, &mode))
        return refuse(err, text, "a mode is ?mode= and an octal number from 0001 to 0777");
    if (path.len == 0)
        return refuse(err, text, "the path is missing");
    if (path.len > UNIX_PATH_MAX)
        return refuse(err, text, "the path is longer than 107 bytes");
    for (size_t i = 0; i < path.len; i++) {
        if ((unsigned char)path.ptr[i] < 0x20 || path.ptr[i] == 0x7f)
            return refuse(err, text, "the path has a control character");
    }

    *ret = (struct endpoint){ .host = path, .is_unix = true, .mode = mode };
    return 0;
}

/* Takes the host off `*rest`, which is left with what begins at the colon before the port, or
 * empty. NULL, or what is wrong. */
static const char *parse_host(struct slice *rest, struct slice *ret) {
    struct in6_addr v6;
    uint32_t zone;

    if (slice_starts_with(*rest, SLICE("["))) {
        size_t end = slice_find(*rest, ']');
        if (end == rest->len)
            return "']' is missing";
        *ret = slice_of(rest->ptr + 1, end - 1);
        *rest = slice_drop(*rest, end + 1);
        return is_v6(*ret, &v6, &zone) ? NULL : "what stands in the brackets is not IPv6";
    }

    *ret = slice_take(*rest, slice_find(*rest, ':'));
    *rest = slice_drop(*rest, ret->len);
    if (rest->len > 0 && slice_find(slice_drop(*rest, 1), ':') < rest->len - 1)
        return "IPv6 goes into brackets";
    return host_fault(*ret);
}

static const char bad_port[] = "the port must be a number from 0 to 65535";

static int loopback_port(struct slice text, uint64_t port, struct endpoint *ret,
                         struct error *err) {
    if (port > PORT_MAX)
        return refuse(err, text, bad_port);
    *ret = (struct endpoint){ .host = SLICE("127.0.0.1"), .port = (uint16_t)port };
    return 0;
}

int endpoint_parse(struct slice text, uint16_t default_port, struct endpoint *ret,
                   struct error *err) {
    struct slice rest = text, host = { 0 };
    uint64_t port;

    if (slice_starts_with(text, SLICE("unix:")))
        return parse_unix(text, ret, err);
    if (text.len == 0)
        return refuse(err, text, "it is empty");

    if (default_port == 0 && slice_parse_u64(text, UINT64_MAX, &port) == 0)
        return loopback_port(text, port, ret, err);

    const char *fault = parse_host(&rest, &host);
    if (fault != NULL)
        return refuse(err, text, fault);

    port = default_port;
    if (rest.len == 0 && default_port == 0)
        return refuse(err, text, "the port is missing");
    if (rest.len > 0 && rest.ptr[0] != ':')
        return refuse(err, text, "only a port can follow ']'");
    if (rest.len > 0 && slice_parse_u64(slice_drop(rest, 1), PORT_MAX, &port) != 0)
        return refuse(err, text, bad_port);

    *ret = (struct endpoint){ .host = host, .port = (uint16_t)port };
    return 0;
}

static int address_of_path(struct slice path, struct address *ret) {
    *ret = (struct address){ .local.sun_family = AF_UNIX };
    if (!copy_text(path, ret->local.sun_path, sizeof(ret->local.sun_path)))
        return -ENAMETOOLONG;

    ret->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + 1);
    return 0;
}

int address_of_endpoint(const struct endpoint *e, bool any, struct address *ret) {
    struct in_addr v4;
    struct in6_addr v6;
    uint32_t zone;

    if (e->is_unix)
        return address_of_path(e->host, ret);

    *ret = (struct address){ 0 };
    if (is_v6(e->host, &v6, &zone)) {
        ret->v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
                                         .sin6_port = htons(e->port),
                                         .sin6_addr = v6,
                                         .sin6_scope_id = zone };
        ret->len = sizeof(ret->v6);
        return 0;
    }

    if (e->host.len == 0)
        v4.s_addr = htonl(any ? INADDR_ANY : INADDR_LOOPBACK);
    else if (slice_eq_nocase(e->host, SLICE("localhost")))
        v4.s_addr = htonl(INADDR_LOOPBACK);
    else if (!is_v4(e->host, &v4))
        return -ENOENT;

    ret->v4 =
        (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(e->port), .sin_addr = v4 };
    ret->len = sizeof(ret->v4);
    return 0;
}

int address_parse_source(struct slice text, struct address *ret) {
    struct endpoint e = { .host = text };
    struct in6_addr v6;
    struct in_addr v4;
    uint32_t zone;

    if (!is_v4(text, &v4) && !is_v6(text, &v6, &zone))
        return -EINVAL;
    return address_of_endpoint(&e, false, ret);
}

/* The path of a unix address: empty for an unnamed peer. The kernel does not promise a NUL
 * (unix(7)). */
static struct slice path_of(const struct address *a) {
    size_t head = offsetof(struct sockaddr_un, sun_path);
    size_t size = a->len > head ? a->len - head : 0;
    struct slice path = slice_of(a->local.sun_path, size);

    if (size > 0 && path.ptr[0] == '\0') /* abstract: the whole length counts */
        return path;
    return slice_take(path, slice_find(path, '\0'));
}

static void format_v6(const struct address *a, char *text) {
    char digits[INET6_ADDRSTRLEN], zone[16] = "";

    inet_ntop(AF_INET6, &a->v6.sin6_addr, digits, sizeof(digits));
    if (a->v6.sin6_scope_id != 0)
        snprintf(zone, sizeof(zone), "%%%u", a->v6.sin6_scope_id);
    snprintf(text, ADDRESS_TEXT_BYTES, "[%s%s]:%u", digits, zone, ntohs(a->v6.sin6_port));
}

const char *address_format(const struct address *a, char *text) {
    char digits[INET_ADDRSTRLEN];
    struct slice path;

    switch (a->any.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &a->v4.sin_addr, digits, sizeof(digits));
        snprintf(text, ADDRESS_TEXT_BYTES, "%s:%u", digits, ntohs(a->v4.sin_port));
        break;
    case AF_INET6:
        format_v6(a, text);
        break;
    case AF_UNIX:
        path = path_of(a);
        if (path.len > 0 && path.ptr[0] == '\0')
            snprintf(text, ADDRESS_TEXT_BYTES, "unix:@%.*s", (int)path.len - 1, path.ptr + 1);
        else
            snprintf(text, ADDRESS_TEXT_BYTES, "unix:%.*s", (int)path.len, path.ptr);
        break;
    default:
        snprintf(text, ADDRESS_TEXT_BYTES, "unknown");
        break;
    }
    return text;
}

uint16_t address_port(const struct address *a) {
    switch (a->any.sa_family) {
    case AF_INET:
        return ntohs(a->v4.sin_port);
    case AF_INET6:
        return ntohs(a->v6.sin6_port);
    default:
        return 0;
    }
}

uint64_t address_hash_host(const struct address *a) {
    if (a->any.sa_family == AF_INET)
        return hash_bytes(HASH_SEED, &a->v4.sin_addr, sizeof(a->v4.sin_addr));
    if (a->any.sa_family == AF_INET6)
        return hash_bytes(HASH_SEED, &a->v6.sin6_addr, sizeof(a->v6.sin6_addr));
    return HASH_SEED;
}
