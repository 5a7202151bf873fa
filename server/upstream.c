/* SPDX-License-Identifier: MIT */
/* GETs of the upstream: take or open a connection, write, read one answer, give the connection
 * back. */
#include "server/upstream.h"
#include "base/alloc.h"
#include "http/conn.h"
#include "http/url.h"
#include "net/resolve.h"
#include "server/gather.h"
#include "server/limits.h"
#include "server/upstream_curl.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct upstream {
    struct http_url url;      /* slices into the configured text */
    struct endpoint endpoint; /* what is looked up when the address is not numeric */
    struct address address;
    struct address from; /* len 0: the kernel chooses */
    char host[300];      /* as it goes into Host */
    struct connpool *pool;
    struct curl_client *curl; /* instead of all above but `url`; NULL: our own client */
    char *curl_url;
    nsec_t timeout;
    struct http_limits limits;
    bool numeric; /* `address` is known, no look-up is needed */
};

/* One request and its answer, over one connection, or two when the first one was stale. */
struct exchange {
    struct upstream *u;
    struct io *io;
    struct arena *arena;
    nsec_t deadline;
    const char *why;
    struct http_conn http;
    struct buf in;
    struct gather body;
    int fd;
    uint32_t uses; /* of this connection, this request included */
    uint16_t status;
    bool got_bytes;
};

/* --- set-up ------------------------------------------------------------------ */

static int parse_url(const char *text, struct http_url *ret, struct error *err) {
    const char *why = NULL;

    if (http_url_parse(slice_str(text), ret, &why) < 0)
        return error_set(err, -EINVAL, "'%s' %s; http://HOST[:PORT][/PATH] is expected", text, why);
    if (!slice_eq(ret->scheme, SLICE("http")) && !slice_eq(ret->scheme, SLICE("https")))
        return error_set(err, -EINVAL, "'%s' is not an http:// or https:// URL", text);
    if (ret->userinfo.len > 0)
        return error_set(err, -EINVAL, "'%s' holds a user name, which is not sent", text);
    if (ret->host.len > 255)
        return error_set(err, -EINVAL, "the host name of '%.40s...' is too long", text);
    return 0;
}

int upstream_check(const char *url, struct error *err) {
    struct http_url parsed;

    return parse_url(url, &parsed, err);
}

int upstream_check_bind(const char *address, struct error *err) {
    struct address from;

    if (address_parse_source(slice_str(address), &from) == 0)
        return 0;
    return error_set(
        err, -EINVAL,
        "'%.100s' is not allowed; an IPv4 or IPv6 address of this host, without a port", address);
}

static void format_host(struct upstream *u) {
    const char *open = u->url.host_is_ipv6 ? "[" : "", *close = u->url.host_is_ipv6 ? "]" : "";
    char port[8] = "";

    if (u->url.has_port)
        snprintf(port, sizeof(port), ":%u", u->url.port);
    snprintf(u->host, sizeof(u->host), "%s%.*s%s%s", open, (int)u->url.host.len, u->url.host.ptr,
             close, port);
}

/* After the address is known. */
static int set_source(struct upstream *u, const char *bind, struct error *err) {
    int rc = bind != NULL ? upstream_check_bind(bind, err) : 0;

    if (bind == NULL || rc < 0)
        return rc;
    rc = address_parse_source(slice_str(bind), &u->from);
    if (rc == 0 && u->numeric && u->from.any.sa_family != u->address.any.sa_family)
        return error_set(err, -EAFNOSUPPORT, "no connection leads from '%s' to '%s'", bind,
                         u->host);
    return rc;
}

/* Where connections come from; NULL leaves it to the kernel. */
static const struct address *source_of(const struct upstream *u) {
    return u->from.len > 0 ? &u->from : NULL;
}

bool upstream_wants_curl(const char *url) {
    struct http_url parsed;

    return parse_url(url, &parsed, NULL) == 0 && slice_eq(parsed.scheme, SLICE("https"));
}

/* curl gets the URL with everything spelled out, so that a suffix can follow it. */
static int open_curl(struct upstream *u, const struct upstream_config *config) {
    if (asprintf(&u->curl_url, "%.*s://%s%.*s", (int)u->url.scheme.len, u->url.scheme.ptr, u->host,
                 (int)u->url.target.len, u->url.target.ptr) < 0) {
        u->curl_url = NULL;
        return -ENOMEM;
    }
    u->curl = curl_client_new(u->curl_url, config);
    return u->curl != NULL ? 0 : -ENOMEM;
}

static int open_native(struct upstream *u, const struct upstream_config *config,
                       struct io_fiber *fiber_io, struct error *err) {
    struct connpool_config pool = { .max_idle = SERVER_UPSTREAM_IDLE_MAX,
                                    .idle_max = SERVER_UPSTREAM_IDLE_NSEC };

    u->endpoint = (struct endpoint){ .host = u->url.host, .port = u->url.port };
    u->numeric = address_of_endpoint(&u->endpoint, false, &u->address) == 0;
    int rc = set_source(u, config->bind, err);
    if (rc < 0)
        return rc;
    u->pool = connpool_new(&pool, fiber_io);
    return u->pool != NULL ? 0 : -ENOMEM;
}

struct upstream *upstream_new(const struct upstream_config *config, struct io_fiber *fiber_io,
                              struct error *err) {
    struct upstream *u = mem_calloc(1, sizeof(*u));
    int rc;

    if (u == NULL) {
        error_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    u->timeout = config->timeout;
    u->limits = (struct http_limits)HTTP_LIMITS_RESPONSE;
    u->limits.body_bytes = SERVER_UPSTREAM_BODY_BYTES_MAX;
    if (parse_url(config->url, &u->url, err) < 0)
        goto fail;
    format_host(u);
    rc = config->curl || upstream_wants_curl(config->url) ? open_curl(u, config)
                                                          : open_native(u, config, fiber_io, err);
    if (rc == -ENOMEM)
        error_set(err, rc, "out of memory");
    if (rc < 0)
        goto fail;
    return u;
fail:
    upstream_free(u);
    return NULL;
}

void upstream_free(struct upstream *u) {
    if (u == NULL)
        return;
    if (u->pool != NULL)
        connpool_free(u->pool);
    curl_client_free(u->curl);
    free(u->curl_url); /* asprintf's */
    mem_free(u);
}

/* --- connecting ----------------------------------------------------------------- */

static int fail(struct exchange *x, int rc, const char *what) {
    const char *text = arena_printf(x->arena, "upstream %s: %s", what, strerrordesc_np(-rc));

    if (rc == -ETIMEDOUT)
        x->why = "upstream did not answer in time";
    else
        x->why = text != NULL ? text : "upstream failed";
    return rc;
}

static int connect_by_name(struct exchange *x) {
    struct resolved *found =
        arena_alloc(x->arena, sizeof(*found)); /* too large for a fiber's page */
    struct error *err = arena_alloc(x->arena, sizeof(*err));
    int rc;

    if (found == NULL || err == NULL)
        return -ENOMEM;
    rc = resolve(x->io, &x->u->endpoint, x->deadline, found, err);
    if (rc < 0) {
        x->why = rc == -ENOENT ? err->text : "upstream name look-up did not end in time";
        return rc;
    }
    rc = -ENOENT;
    for (size_t i = 0; i < found->count; i++) {
        rc = io_connect_from(x->io, &found->addresses[i], source_of(x->u), x->deadline);
        if (rc >= 0 || rc == -ETIMEDOUT || rc == -ECANCELED)
            break;
    }
    return rc < 0 ? fail(x, rc, "cannot be reached") : rc;
}

static int connect_fresh(struct exchange *x) {
    int fd;

    x->uses = 0;
    if (!x->u->numeric)
        return connect_by_name(x);
    fd = io_connect_from(x->io, &x->u->address, source_of(x->u), x->deadline);
    return fd < 0 ? fail(x, fd, "cannot be reached") : fd;
}

/* --- one exchange ----------------------------------------------------------------- */

static int write_request(struct exchange *x, struct slice suffix) {
    struct slice path = x->u->url.target;
    struct http_request_head head = {
        .method = HTTP_METHOD_GET,
        .host = slice_str(x->u->host),
        .version_minor = 1,
    };
    char *target = arena_alloc(x->arena, path.len + suffix.len);
    struct buf out;
    int rc;

    if (target == NULL)
        return -ENOMEM;
    memcpy(target, path.ptr, path.len);
    memcpy(target + path.len, suffix.ptr, suffix.len);
    head.target = slice_of(target, path.len + suffix.len);

    buf_init(&out, 65536);
    rc = http_encode_request(&out, &head);
    if (rc == 0) {
        http_conn_sent(&x->http, HTTP_METHOD_GET, false);
        rc = io_write_all(x->io, x->fd, buf_unread(&out).ptr, buf_unread(&out).len, x->deadline);
        if (rc < 0)
            fail(x, rc, "did not take the request");
    }
    buf_free(&out);
    return rc;
}

/* Waits before it makes room: a request that waits for its upstream owns no receive buffer. */
static int receive(struct exchange *x, bool *ret_eof) {
    int rc = io_wait(x->io, x->fd, IO_READ, x->deadline);
    ssize_t n;

    if (rc == 0)
        rc = buf_reserve(&x->in, SERVER_RECV_BYTES);
    if (rc < 0)
        return fail(x, rc, "failed");
    n = io_read(x->io, x->fd, buf_tail(&x->in), buf_room(&x->in), x->deadline);
    if (n < 0)
        return fail(x, (int)n, "failed");
    *ret_eof = n == 0;
    x->got_bytes |= n > 0;
    buf_added(&x->in, (size_t)n);
    return 0;
}

static int bad_answer(struct exchange *x, const char *why) {
    if (!x->got_bytes) {
        x->why = "upstream closed the connection without an answer";
        return -ECONNRESET;
    }
    x->why = arena_printf(x->arena, "upstream answered badly: %s", why);
    if (x->why == NULL)
        x->why = "upstream answered badly";
    return -EPROTO;
}

/* 1 when the answer is complete, 0 when more bytes are needed. */
static int take_events(struct exchange *x, bool eof, struct http_head *head) {
    struct http_event ev;
    size_t used;
    int rc;

    for (;;) {
        used = http_conn_feed(&x->http, buf_unread(&x->in), eof, head, &ev);
        if (ev.kind == HTTP_EV_BAD || ev.kind == HTTP_EV_CLOSED)
            return bad_answer(x, ev.kind == HTTP_EV_BAD ? ev.why : "closed");
        if (ev.kind == HTTP_EV_HEAD)
            x->status = head->status;
        if (ev.kind == HTTP_EV_DATA) {
            rc = gather_add(&x->body, x->arena, ev.data,
                            head->has_content_length ? head->content_length : 0);
            if (rc < 0)
                return rc;
        }
        buf_consume(&x->in, used);
        if (ev.kind == HTTP_EV_MORE || ev.kind == HTTP_EV_END)
            return ev.kind == HTTP_EV_END;
    }
}

static int read_answer(struct exchange *x) {
    struct http_head head = { 0 };
    bool eof = false;
    int rc;

    do {
        rc = receive(x, &eof);
        if (rc == 0)
            rc = take_events(x, eof, &head);
    } while (rc == 0);
    return rc < 0 ? rc : 0;
}

static void give_back(struct exchange *x) {
    bool clean = buf_unread(&x->in).len == 0;

    if (http_conn_next(&x->http) && clean)
        connpool_put(x->u->pool, x->fd, x->uses + 1, io_now(x->io));
    else
        io_close(x->io, x->fd);
}

static int exchange_run(struct exchange *x, struct slice suffix) {
    int rc;

    http_conn_init(&x->http, HTTP_CLIENT, &x->u->limits);
    buf_init(&x->in, (size_t)x->u->limits.head_bytes + SERVER_RECV_BYTES);
    x->body = (struct gather){ 0 };
    x->got_bytes = false;

    rc = write_request(x, suffix);
    if (rc == 0)
        rc = read_answer(x);
    if (rc == 0)
        give_back(x);
    else
        io_close(x->io, x->fd);
    buf_free(&x->in);
    return rc;
}

/* Died before a byte came: on a reused connection that is the server's idle time-out racing with
 * us. */
static bool was_stale(const struct exchange *x, int rc) {
    return x->uses > 0 && !x->got_bytes && (rc == -ECONNRESET || rc == -EPIPE);
}

int upstream_get(struct upstream *u, struct io *io, struct arena *arena, struct slice suffix,
                 nsec_t deadline, struct upstream_answer *ret, const char **ret_why) {
    nsec_t now = io_now(io);
    struct exchange x = {
        .u = u,
        .io = io,
        .arena = arena,
        .deadline = nsec_min(deadline, deadline_after(now, u->timeout)),
    };
    int rc;

    if (u->curl != NULL)
        return curl_client_get(u->curl, io, arena, suffix, x.deadline, ret, ret_why);
    x.fd = connpool_take(u->pool, now, &x.uses);
    if (x.fd < 0)
        x.fd = connect_fresh(&x);
    rc = x.fd < 0 ? x.fd : exchange_run(&x, suffix);
    if (rc < 0 && was_stale(&x, rc)) {
        x.why = NULL;
        x.fd = connect_fresh(&x);
        rc = x.fd < 0 ? x.fd : exchange_run(&x, suffix);
    }
    *ret_why = x.why;
    *ret = (struct upstream_answer){ .status = x.status, .body = gather_slice(&x.body) };
    return rc;
}
