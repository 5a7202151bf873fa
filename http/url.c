/* SPDX-License-Identifier: MIT */
/* Takes URLs, request targets and queries apart; everything points into the text. */
#include "http/url.h"
#include "http/authority.h"
#include <errno.h>

static int refuse(const char **ret_why, const char *why) {
    *ret_why = why;
    return -EINVAL;
}

static const char *byte_fault(struct slice text) {
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '#')
            return "has a fragment (#)";
        if (c == ' ')
            return "holds a space";
        if (c < 0x20 || c == 0x7f)
            return "holds a control character";
    }
    return NULL;
}

/* unix:/path or unix:/path:/target, the socket's path in `host`. */
static int parse_unix(struct slice rest, struct http_url *ret, const char **ret_why) {
    size_t colon = slice_find(rest, ':');
    struct slice target = slice_drop(rest, colon + 1);
    ret->scheme = SLICE("unix");
    ret->host = slice_take(rest, colon);
    if (ret->host.len == 0)
        return refuse(ret_why, "has no socket path");
    if (target.len > 0 && target.ptr[0] != '/')
        return refuse(ret_why, "needs a target that starts with / after the socket path");
    ret->target = target.len > 0 ? target : SLICE("/");
    return 0;
}

/* Leaves what stands behind the scheme; `http` when there is none. False for a scheme that nobody
 * here speaks. */
static bool cut_scheme(struct slice *text, struct http_url *ret) {
    size_t len = slice_find(*text, ':');
    struct slice behind = slice_drop(*text, len);
    ret->scheme = SLICE("http");
    ret->port = 80;
    if (!slice_starts_with(behind, SLICE("://")))
        return true;
    ret->scheme = slice_take(*text, len);
    *text = slice_drop(behind, 3);
    if (slice_eq_nocase(ret->scheme, SLICE("https")))
        ret->port = 443;
    return ret->port == 443 || slice_eq_nocase(ret->scheme, SLICE("http"));
}

static size_t find_first(struct slice text, char a, char b) {
    return slice_find(slice_take(text, slice_find(text, a)), b);
}

int http_url_parse(struct slice text, struct http_url *ret, const char **ret_why) {
    *ret = (struct http_url){ 0 };
    const char *why = byte_fault(text);
    if (why != NULL)
        return refuse(ret_why, why);
    if (slice_starts_with(text, SLICE("unix:")))
        return parse_unix(slice_drop(text, 5), ret, ret_why);
    if (!cut_scheme(&text, ret))
        return refuse(ret_why, "has a scheme that is not http, https or unix");

    size_t authority_len = find_first(text, '/', '?');
    struct slice authority = slice_take(text, authority_len);
    ret->target = slice_drop(text, authority_len);
    if (ret->target.len > 0 && ret->target.ptr[0] == '?')
        return refuse(ret_why, "needs a / before the query");
    if (ret->target.len == 0)
        ret->target = SLICE("/");

    const char *at = authority.len > 0 ? memrchr(authority.ptr, '@', authority.len) : NULL;
    if (at != NULL) {
        ret->userinfo = slice_of(authority.ptr, (size_t)(at - authority.ptr));
        authority = slice_drop(authority, ret->userinfo.len + 1);
    }
    struct http_authority parts;
    if (!http_authority_parse(authority, &parts))
        return refuse(ret_why, "has no valid host or port");
    ret->host = parts.host;
    ret->host_is_ipv6 = parts.is_ipv6;
    ret->has_port = parts.has_port;
    if (parts.has_port)
        ret->port = parts.port;
    return 0;
}

void http_target_split(struct slice target, struct slice *ret_path, struct slice *ret_query) {
    if (target.len > 0 && target.ptr[0] != '/' && target.ptr[0] != '*') {
        size_t colon = slice_find(target, ':');
        struct slice behind = slice_drop(target, colon);
        if (slice_starts_with(behind, SLICE("://"))) {
            target = slice_drop(behind, 3);
            target = slice_drop(target, find_first(target, '/', '?'));
        }
    }
    size_t path_len = slice_find(target, '?');
    *ret_path = path_len > 0 ? slice_take(target, path_len) : SLICE("/");
    *ret_query = slice_drop(target, path_len + 1);
}

bool http_query_next(struct slice *rest, struct slice *ret_name, struct slice *ret_value) {
    while (rest->len > 0) {
        struct slice pair = slice_cut(rest, '&');
        if (pair.len == 0)
            continue; /* a=b&&c=d */
        *ret_name = slice_cut(&pair, '=');
        *ret_value = pair;
        return true;
    }
    return false;
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Decodes one character at the front of `*rest` and drops it; -1 for a bad escape. `plus` is what a
 * '+' stands for. */
static int take_decoded(struct slice *rest, char plus) {
    char c = rest->ptr[0];
    if (c != '%') {
        *rest = slice_drop(*rest, 1);
        return (unsigned char)(c == '+' ? plus : c);
    }
    int high = rest->len > 2 ? hex_value(rest->ptr[1]) : -1;
    int low = rest->len > 2 ? hex_value(rest->ptr[2]) : -1;
    if (high < 0 || low < 0 || (high == 0 && low == 0))
        return -1;
    *rest = slice_drop(*rest, 3);
    return high * 16 + low;
}

/* Does the raw name decode to `name`? */
static bool decodes_to(struct slice raw, struct slice name) {
    size_t i = 0;
    while (raw.len > 0 && i < name.len) {
        if (take_decoded(&raw, ' ') != (unsigned char)name.ptr[i++])
            return false;
    }
    return raw.len == 0 && i == name.len;
}

bool http_query_walk(struct slice *rest, struct slice name, struct slice *ret_value) {
    struct slice raw_name;

    while (http_query_next(rest, &raw_name, ret_value))
        if (decodes_to(raw_name, name))
            return true;
    return false;
}

bool http_query_find(struct slice query, struct slice name, struct slice *ret_value) {
    return http_query_walk(&query, name, ret_value);
}

bool http_query_has(struct slice query, struct slice name, struct slice value) {
    struct slice raw_value;
    while (http_query_walk(&query, name, &raw_value))
        if (decodes_to(raw_value, value))
            return true;
    return false;
}

static long decode(struct slice raw, char plus, char *out) {
    long len = 0;
    while (raw.len > 0) {
        int c = take_decoded(&raw, plus);
        if (c < 0)
            return -EINVAL;
        out[len++] = (char)c;
    }
    return len;
}

long http_percent_decode(struct slice raw, char *out) {
    return decode(raw, ' ', out);
}

long http_path_decode(struct slice raw, char *out) {
    return decode(raw, '+', out);
}
