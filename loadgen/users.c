/* SPDX-License-Identifier: MIT */
/* Makes the requests of users out of the one of the options. */
#include "loadgen/users.h"
#include "base/alloc.h"
#include "http/url.h"
#include "loadgen/cookies.h"
#include <errno.h>

enum { REQUEST_BYTES_MAX = LOADGEN_BODY_BYTES_MAX + (1 << 21), COOKIE_LINE_BYTES_MAX = 1 << 19 };

struct load_user {
    struct request request;
    struct cookies cookies;
    struct buf line;                   /* the cookies to send, while a request is made */
    char target[USERS_LOCATION_BYTES]; /* the one asked for now */
    char next[USERS_LOCATION_BYTES];   /* the one that the answer leads to; "": none */
    int64_t hops;
    nsec_t began;              /* the hop */
    bool is_get, is_elsewhere; /* GET without a body by now; the answer leads to another origin */
};

struct users {
    const struct loadgen_config *config;
    const struct target *target;
    const struct request *base;
    size_t count;
    struct load_user items[];
};

struct users *users_new(const struct loadgen_config *c, const struct target *target,
                        const struct request *base, size_t count) {
    struct users *u = mem_calloc(1, sizeof(*u) + count * sizeof(u->items[0]));
    if (u == NULL)
        return NULL;
    u->config = c;
    u->target = target;
    u->base = base;
    u->count = count;
    for (size_t i = 0; i < count; i++) {
        buf_init(&u->items[i].request.bytes, REQUEST_BYTES_MAX);
        buf_init(&u->items[i].line, COOKIE_LINE_BYTES_MAX);
    }
    return u;
}

void users_free(struct users *u) {
    for (size_t i = 0; u != NULL && i < u->count; i++) {
        buf_free(&u->items[i].request.bytes);
        buf_free(&u->items[i].line);
        cookies_free(&u->items[i].cookies);
    }
    mem_free(u);
}

static int64_t now_seconds(void) {
    return clock_wall() / NSEC_PER_SEC;
}

static struct cookie_place place_of(const struct users *u, const struct load_user *user) {
    struct slice path, query;
    http_target_split(slice_str(user->target), &path, &query);
    return (struct cookie_place){ u->target->url.host, path, u->target->is_tls };
}

/* --- requests --------------------------------------------------------------------------------- */

static bool is_named(struct slice line, struct slice name) {
    return line.len > name.len && line.ptr[name.len] == ':' &&
           slice_eq_nocase(slice_take(line, name.len), name);
}

static bool is_of_body(struct slice line) {
    return is_named(line, SLICE("Content-Type")) || is_named(line, SLICE("Content-Length")) ||
           is_named(line, SLICE("Transfer-Encoding"));
}

/* Copies the lines of the head, the request line apart. A Cookie of the options stays in front. */
static int copy_fields(struct load_user *user, struct slice head, struct buf *out) {
    struct slice cookies = buf_unread(&user->line);
    bool has_cookies = cookies.len > 0;
    int rc = 0;
    while (head.len > 2 && rc == 0) {
        struct slice line = slice_take(head, slice_find(head, '\r'));
        head = slice_drop(head, line.len + 2);
        if (user->is_get && is_of_body(line))
            continue;
        rc = buf_append(out, line);
        if (rc == 0 && has_cookies && is_named(line, SLICE("Cookie"))) {
            has_cookies = false;
            rc = buf_append(out, SLICE("; "));
            if (rc == 0)
                rc = buf_append(out, cookies);
        }
        if (rc == 0)
            rc = buf_append(out, SLICE("\r\n"));
    }
    if (rc == 0 && has_cookies)
        rc = buf_printf(out, "Cookie: %.*s\r\n", (int)cookies.len, cookies.ptr);
    return rc == 0 ? buf_append(out, SLICE("\r\n")) : rc;
}

static int copy_request(const struct users *u, struct load_user *user) {
    struct buf *out = &user->request.bytes;
    struct slice all = request_bytes(u->base);
    struct slice head = slice_take(all, u->base->head_bytes);
    struct slice first = slice_take(head, slice_find(head, '\r'));
    struct slice method = slice_take(first, slice_find(first, ' '));
    struct slice version = slice_drop(first, first.len - sizeof("HTTP/1.1") + 1);
    if (user->is_get)
        method = SLICE("GET");
    buf_consume(out, buf_unread(out).len);
    int rc = buf_append(out, method);
    if (rc == 0)
        rc = buf_append(out, SLICE(" "));
    if (rc == 0)
        rc = buf_append(out, slice_str(user->target));
    if (rc == 0)
        rc = buf_append(out, SLICE(" "));
    if (rc == 0)
        rc = buf_append(out, version);
    if (rc == 0)
        rc = buf_append(out, SLICE("\r\n"));
    if (rc == 0)
        rc = copy_fields(user, slice_drop(head, first.len + 2), out);
    user->request.head_bytes = buf_unread(out).len;
    return rc == 0 && !user->is_get ? buf_append(out, slice_drop(all, head.len)) : rc;
}

/* The request of the user's target with his cookies; that of the options when they are the same. */
static const struct request *make(struct users *u, struct load_user *user) {
    size_t count = 0;
    buf_consume(&user->line, buf_unread(&user->line).len);
    if (cookies_append(&user->cookies, place_of(u, user), now_seconds(), &user->line, &count) != 0)
        return NULL;
    if (count == 0 && user->hops == 0)
        return u->base;
    user->request.method = user->is_get ? HTTP_METHOD_GET : u->base->method;
    user->request.has_body = !user->is_get && u->base->has_body;
    user->request.close = u->base->close;
    return copy_request(u, user) == 0 ? &user->request : NULL;
}

nsec_t users_hop(struct users *u, size_t at, nsec_t now) {
    struct load_user *user = &u->items[at];
    nsec_t span = now - user->began;
    user->began = now;
    return span;
}

const struct request *users_begin(struct users *u, size_t at, nsec_t now) {
    struct load_user *user = &u->items[at];
    struct slice target = u->target->url.target;
    user->hops = 0;
    user->began = now;
    user->is_get = false;
    snprintf(user->target, sizeof(user->target), "%.*s", (int)target.len, target.ptr);
    return make(u, user);
}

/* --- answers ---------------------------------------------------------------------------------- */

static bool is_same_origin(const struct users *u, const struct http_url *url) {
    return slice_eq_nocase(url->scheme, u->target->url.scheme) &&
           slice_eq_nocase(url->host, u->target->url.host) && url->port == u->target->url.port;
}

/* Merges a relative reference with the path that was asked for (RFC 3986 section 5.2.3), and takes
 * the steps of dots away (section 5.2.4). False: there is no room for what comes out. */
static bool merge_path(struct load_user *user, struct slice reference) {
    struct slice path, query, rest;
    char *out = user->next;
    http_target_split(slice_str(user->target), &path, &query);
    size_t kept = path.len;
    if (reference.len > 0 && reference.ptr[0] == '/')
        kept = 0;
    else if (reference.len > 0 && reference.ptr[0] != '?')
        while (kept > 0 && path.ptr[kept - 1] != '/')
            kept--;
    char whole[2 * USERS_LOCATION_BYTES];
    int len = snprintf(whole, sizeof(whole), "%.*s%.*s", (int)kept, path.ptr, (int)reference.len,
                       reference.ptr);
    if (len + 1 >= USERS_LOCATION_BYTES)
        return false;
    rest = slice_of(whole, (size_t)len);
    struct slice steps = slice_take(rest, slice_find(rest, '?'));
    struct slice tail = slice_drop(rest, steps.len);
    size_t used = 0;
    while (steps.len > 0) {
        struct slice step = slice_drop(steps, 1);
        step = slice_take(step, slice_find(step, '/'));
        steps = slice_drop(steps, step.len + 1);
        bool is_up = slice_eq(step, SLICE(".."));
        if (is_up)
            while (used > 0 && out[--used] != '/')
                ;
        if (is_up || slice_eq(step, SLICE("."))) {
            if (steps.len == 0)
                out[used++] = '/';
            continue;
        }
        out[used++] = '/';
        memcpy(out + used, step.ptr, step.len);
        used += step.len;
    }
    if (used == 0)
        out[used++] = '/';
    memcpy(out + used, tail.ptr, tail.len);
    out[used + tail.len] = '\0';
    return true;
}

static bool has_bad_byte(struct slice text) {
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] <= ' ' || text.ptr[i] == 127)
            return true;
    return false;
}

/* Takes the place that an answer leads to: Location, RFC 9110 section 10.2.2. */
static void take_location(struct users *u, struct load_user *user, struct slice value) {
    struct slice text = slice_take(value, slice_find(value, '#'));
    struct http_url url;
    const char *why;
    char whole[USERS_LOCATION_BYTES + 16];
    user->is_elsewhere = true; /* unless it turns out to be here */
    if (text.len + 1 >= USERS_LOCATION_BYTES || has_bad_byte(text))
        return;
    struct slice scheme = slice_take(text, slice_find(text, ':'));
    bool has_scheme = scheme.len < text.len && slice_find(scheme, '/') == scheme.len &&
                      slice_find(scheme, '?') == scheme.len;
    bool has_host = slice_starts_with(text, SLICE("//"));
    if (!has_scheme && !has_host) {
        user->is_elsewhere = !merge_path(user, text);
        return;
    }
    int len =
        snprintf(whole, sizeof(whole), "%.*s%s%.*s", has_host ? (int)u->target->url.scheme.len : 0,
                 u->target->url.scheme.ptr, has_host ? ":" : "", (int)text.len, text.ptr);
    if (http_url_parse(slice_of(whole, (size_t)len), &url, &why) != 0 || !is_same_origin(u, &url))
        return;
    user->is_elsewhere = !merge_path(user, url.target);
}

void users_head(struct users *u, size_t at, const struct http_head *head,
                struct answers_users *counts) {
    struct load_user *user = &u->items[at];
    struct slice rest = head->fields, name, value;
    user->next[0] = '\0';
    user->is_elsewhere = false;
    while (http_field_next(&rest, &name, &value)) {
        if (u->config->cookie_policy == LOADGEN_COOKIES_KEEP &&
            slice_eq_nocase(name, SLICE("Set-Cookie"))) {
            int rc = cookies_take(&user->cookies, value, place_of(u, user), now_seconds());
            counts->cookies_kept += rc > 0;
            counts->cookies_refused += rc <= 0;
        } else if (u->config->follow > 0 && slice_eq_nocase(name, SLICE("Location"))) {
            take_location(u, user, value);
        }
    }
}

static bool is_redirect(uint16_t status) {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

enum users_redirect users_redirect(struct users *u, size_t at, uint16_t status,
                                   struct answers_users *counts, const struct request **ret) {
    struct load_user *user = &u->items[at];
    if (u->config->follow == 0 || !is_redirect(status) ||
        (user->next[0] == '\0' && !user->is_elsewhere))
        return USERS_STAY;
    if (user->is_elsewhere) {
        counts->elsewhere++;
        return USERS_STAY;
    }
    if (user->hops >= u->config->follow)
        return USERS_TOO_MANY;
    bool is_post = u->base->method == HTTP_METHOD_POST;
    if ((status == 303 && u->base->method != HTTP_METHOD_HEAD) || (status <= 302 && is_post))
        user->is_get = true;
    memcpy(user->target, user->next, sizeof(user->target));
    user->hops++;
    counts->hops++;
    *ret = make(u, user);
    return *ret != NULL ? USERS_HOP : USERS_STAY;
}
