/* SPDX-License-Identifier: MIT */
/* Writes heads anew, line by line, without what is about one connection. */
#include "http/gateway.h"
#include "http/url.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* "HTTP/1.1", Host's name, the framing, Connection and Upgrade, and names of X-Forwarded-*. */
#define FIXED_BYTES 320

enum pass { PASS_ON, PASS_NOT, PASS_CONNECTION, PASS_UPGRADE, PASS_TE, PASS_LOCATION };

static enum pass named(struct slice name, struct slice other, enum pass pass) {
    return slice_eq_nocase(name, other) ? pass : PASS_ON;
}

/* By length first: most names are none of these. */
static enum pass pass_of(struct slice name) {
    switch (name.len) {
    case 2:
        return named(name, SLICE("te"), PASS_TE);
    case 4:
        return named(name, SLICE("host"), PASS_NOT);
    case 7:
        return named(name, SLICE("upgrade"), PASS_UPGRADE);
    case 8:
        return named(name, SLICE("location"), PASS_LOCATION);
    case 10:
        if (slice_eq_nocase(name, SLICE("connection")))
            return PASS_CONNECTION;
        return named(name, SLICE("keep-alive"), PASS_NOT);
    case 14:
        return named(name, SLICE("content-length"), PASS_NOT);
    case 16:
        return named(name, SLICE("proxy-connection"), PASS_NOT);
    case 17:
        return named(name, SLICE("transfer-encoding"), PASS_NOT);
    default:
        return PASS_ON;
    }
}

/* Whether one of the Connection lines has that option. */
static bool connection_has(const struct http_head *head, struct slice option) {
    struct slice rest = head->fields, name, value;

    while (http_field_next(&rest, &name, &value))
        if (slice_eq_nocase(name, SLICE("connection")) && slice_list_has_nocase(value, option))
            return true;
    return false;
}

bool gateway_upgrades(const struct http_head *head) {
    struct slice value;

    return head->says_more && head->version_minor > 0 && connection_has(head, SLICE("upgrade")) &&
           http_field_find(head, SLICE("upgrade"), &value) && value.len > 0;
}

static char *put(char *at, struct slice s) {
    if (s.len > 0)
        memcpy(at, s.ptr, s.len);
    return at + s.len;
}

static char *put_line(char *at, struct slice name, struct slice value) {
    at = put(at, name);
    at = put(at, SLICE(": "));
    at = put(at, value);
    return put(at, SLICE("\r\n"));
}

static bool starts_with_nocase(struct slice text, struct slice start) {
    return text.len >= start.len && slice_eq_nocase(slice_take(text, start.len), start);
}

/* A line grows by the blank behind its colon and the CR before its LF at most, and has three bytes
 * at least. What grows by more is told once, and counted in FIXED_BYTES. */
static size_t room_for(const struct http_head *head) {
    return 2 * head->fields.len + FIXED_BYTES;
}

static bool is_hidden(const struct gateway_route *route, struct slice name) {
    return route->hidden.len > 0 && starts_with_nocase(name, route->hidden);
}

/* --- requests --------------------------------------------------------------------------------- */

/* Appends the field lines that go on. Those of X-Forwarded-* are taken out when they are told, and
 * *ret_for is the last list of addresses; empty: there is none. */
static char *put_request_fields(char *at, const struct http_head *head,
                                const struct gateway_route *route, bool tells,
                                struct slice *ret_for) {
    struct slice rest = head->fields, name, value;
    bool takes_trailers = false;

    while (http_field_next(&rest, &name, &value)) {
        enum pass pass = pass_of(name);
        if (pass == PASS_LOCATION)
            pass = PASS_ON;
        if (pass == PASS_TE && !takes_trailers && slice_list_has_nocase(value, SLICE("trailers"))) {
            takes_trailers = true;
            at = put(at, SLICE("TE: trailers\r\nConnection: TE\r\n"));
        }
        if (pass != PASS_ON || is_hidden(route, name) ||
            (head->says_more && connection_has(head, name)))
            continue;
        if (tells && starts_with_nocase(name, SLICE("x-forwarded-"))) {
            struct slice what = slice_drop(name, strlen("x-forwarded-"));
            if (slice_eq_nocase(what, SLICE("for"))) {
                if (ret_for->len > 0)
                    at = put_line(at, name, *ret_for);
                *ret_for = value;
            }
            if (slice_eq_nocase(what, SLICE("for")) || slice_eq_nocase(what, SLICE("proto")) ||
                slice_eq_nocase(what, SLICE("host")))
                continue;
        }
        at = put_line(at, name, value);
    }
    return at;
}

/* The host is that of an absolute target, if there is one (RFC 9112 section 3.2.2). */
static char *put_forwarded(char *at, const struct gateway_client *client, struct slice for_list,
                           struct slice host) {
    at = put(at, SLICE("X-Forwarded-For: "));
    at = put(at, for_list);
    if (for_list.len > 0)
        at = put(at, SLICE(", "));
    at = put(at, client->address);
    at = put(at, SLICE("\r\n"));
    at = put_line(at, SLICE("X-Forwarded-Proto"), client->scheme);
    return host.len > 0 ? put_line(at, SLICE("X-Forwarded-Host"), host) : at;
}

static char *put_framing(char *at, const struct http_head *head) {
    struct slice value;

    if (head->chunked)
        at = put(at, SLICE("Transfer-Encoding: chunked\r\n"));
    else if (head->has_content_length)
        at += sprintf(at, "Content-Length: %" PRIu64 "\r\n", head->content_length);
    if (gateway_upgrades(head) && http_field_find(head, SLICE("upgrade"), &value)) {
        at = put_line(at, SLICE("Upgrade"), value);
        at = put(at, SLICE("Connection: Upgrade\r\n"));
    }
    return at;
}

static char *put_target(char *at, const struct http_head *head, const struct gateway_route *route,
                        struct slice query) {
    struct slice path, own;

    http_target_split(head->target, &path, &own);
    bool has_query = slice_find(head->target, '?') < head->target.len;
    if (slice_eq(path, SLICE("*")))
        return put(at, path);
    at = put(at, route->prefix);
    at = put(at, path);
    if (query.ptr == NULL)
        query = own;
    else
        has_query = query.len > 0;
    if (has_query)
        at = put(at, SLICE("?"));
    return put(at, query);
}

int gateway_request(struct buf *out, const struct http_head *head,
                    const struct gateway_route *route, const struct gateway_client *client,
                    struct slice query) {
    struct slice host = route->host.len > 0 ? route->host : head->host;
    struct slice for_list = { "", 0 };
    bool tells = client->address.len > 0;

    if (head->method == HTTP_METHOD_CONNECT)
        return -EINVAL;
    int rc = buf_reserve(out, room_for(head) + head->method_text.len + head->target.len +
                                  route->prefix.len + query.len + 2 * host.len +
                                  client->address.len + client->scheme.len);
    if (rc < 0)
        return rc;
    char *at = put(buf_tail(out), head->method_text);
    at = put(at, SLICE(" "));
    at = put_target(at, head, route, query);
    at = put(at, SLICE(" HTTP/1.1\r\n"));
    at = put_line(at, SLICE("Host"), host);
    at = put_request_fields(at, head, route, tells, &for_list);
    if (tells)
        at = put_forwarded(at, client, for_list, head->host);
    at = put_framing(at, head);
    at = put(at, SLICE("\r\n"));
    buf_added(out, (size_t)(at - buf_tail(out)));
    return 0;
}

/* --- answers ---------------------------------------------------------------------------------- */

/* The path of a location below the server's own prefix; as it is when it leads elsewhere. */
static struct slice own_location(struct slice value, const struct gateway_route *route) {
    size_t len = route->origin.len;
    struct slice path = slice_drop(value, len);

    if (len == 0 || !starts_with_nocase(value, route->origin) ||
        !slice_starts_with(path, route->prefix))
        return value;
    path = slice_drop(path, route->prefix.len);
    if (path.len == 0)
        return SLICE("/");
    return path.ptr[0] == '/' ? path : value;
}

int gateway_fields(struct buf *out, const struct http_head *answer,
                   const struct gateway_route *route) {
    struct slice rest = answer->fields, name, value;

    int rc = buf_reserve(out, room_for(answer));
    if (rc < 0)
        return rc;
    char *at = buf_tail(out);
    while (http_field_next(&rest, &name, &value)) {
        enum pass pass = pass_of(name);
        if (pass == PASS_LOCATION)
            value = own_location(value, route);
        if (pass != PASS_ON && pass != PASS_LOCATION)
            continue;
        if (!answer->says_more || !connection_has(answer, name))
            at = put_line(at, name, value);
    }
    if (answer->status == 101 && http_field_find(answer, SLICE("upgrade"), &value)) {
        at = put_line(at, SLICE("Upgrade"), value);
        at = put(at, SLICE("Connection: Upgrade\r\n"));
    }
    buf_added(out, (size_t)(at - buf_tail(out)));
    return 0;
}
