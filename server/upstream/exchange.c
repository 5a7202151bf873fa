/* SPDX-License-Identifier: MIT */
/* Takes the upstream's configuration and its URL apart; encodes a request, decodes its answer, and
 * says what is wrong. */
#include "server/upstream/exchange.h"
#include "http/error.h"
#include "server/config.h"
#include "server/limits.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>

/* Room twice for the last step, as much for all before it, and the handler's answer. */
static_assert(SERVER_ARENA_BYTES_MAX > 5 * SERVER_UPSTREAM_BODY_BYTES_MAX,
              "a body within its limit must not run out of memory");

/* --- the target ----------------------------------------------------------------- */

static int parse_url(const char *text, bool bare, struct http_url *ret, struct error *err) {
    const char *why = NULL;

    if (http_url_parse(slice_str(text), ret, &why) < 0)
        return error_set(err, -EINVAL, "'%s' %s; http://HOST[:PORT][/PATH] is expected", text, why);
    if (bare && slice_eq(ret->scheme, SLICE("unix")))
        return 0;
    if (!slice_eq(ret->scheme, SLICE("http")) && !slice_eq(ret->scheme, SLICE("https")))
        return error_set(err, -EINVAL, "'%s' is not an http:// or https:// URL", text);
    if (ret->userinfo.len > 0)
        return error_set(err, -EINVAL, "'%s' holds a user name, which is not sent", text);
    if (ret->host.len > 255)
        return error_set(err, -EINVAL, "the host name of '%.40s...' is too long", text);
    return 0;
}

int upstream_target_check(const char *url, struct error *err) {
    struct http_url parsed;

    return parse_url(url, false, &parsed, err);
}

static int parse_source(const char *address, struct address *ret, struct error *err) {
    if (address_parse_source(slice_str(address), ret) == 0)
        return 0;
    return error_set(
        err, -EINVAL,
        "'%.100s' is not allowed; an IPv4 or IPv6 address of this host, without a port", address);
}

int upstream_target_check_bind(const char *address, struct error *err) {
    struct address from;

    return parse_source(address, &from, err);
}

bool upstream_target_is_https(const char *url) {
    struct http_url parsed;

    return parse_url(url, false, &parsed, NULL) == 0 && slice_eq(parsed.scheme, SLICE("https"));
}

struct upstream_config upstream_config_of(const struct serve_config *config, unsigned worker,
                                          struct tls_context *tls) {
    const struct option_strings *binds = &config->upstream_binds;
    static const int families[] = {
        [UPSTREAM_ANY] = AF_UNSPEC, [UPSTREAM_IPV4] = AF_INET, [UPSTREAM_IPV6] = AF_INET6
    };

    return (struct upstream_config){
        .url = config->upstream_url,
        .timeout = config->upstream_timeout,
        .tls = tls,
        .curl = config->upstream_client == UPSTREAM_CURL,
        .ca_path = config->upstream_ca,
        .cert_path = config->upstream_cert,
        .key_path = config->upstream_key,
        .insecure = config->upstream_insecure,
        .bind = binds->count > 0 ? binds->items[(worker - 1) % binds->count] : NULL,
        .rules = { .overrides = config->upstream_resolve.items,
                   .override_count = config->upstream_resolve.count,
                   .family = families[config->upstream_family] },
    };
}

static void format_host(struct upstream_target *t) {
    const char *open = t->url.host_is_ipv6 ? "[" : "", *close = t->url.host_is_ipv6 ? "]" : "";
    char port[8] = "";

    if (t->url.has_port)
        snprintf(port, sizeof(port), ":%u", t->url.port);
    snprintf(t->host, sizeof(t->host), "%s%.*s%s%s", open, (int)t->url.host.len, t->url.host.ptr,
             close, port);
}

/* RFC 6066 section 3: the name without the dot at its end. */
static void format_name(struct upstream_target *t) {
    struct slice host = t->url.host;

    if (host.len > 0 && host.ptr[host.len - 1] == '.')
        host.len--;
    snprintf(t->name, sizeof(t->name), "%.*s", (int)host.len, host.ptr);
}

static int set_tls(struct upstream_target *t, const struct upstream_config *config,
                   struct error *err) {
    if (config->curl || !slice_eq(t->url.scheme, SLICE("https")))
        return 0;
    if (config->tls == NULL)
        return error_set(err, -EINVAL, "'%s' is https, which this client does not speak",
                         config->url);
    t->tls = config->tls;
    format_name(t);
    return 0;
}

/* After the address is known. */
static int set_source(struct upstream_target *t, const char *bind, struct error *err) {
    if (bind == NULL)
        return 0;
    if (parse_source(bind, &t->from, err) < 0)
        return -EINVAL;
    if (t->numeric && t->from.any.sa_family != t->address.any.sa_family)
        return error_set(err, -EAFNOSUPPORT, "no connection leads from '%s' to '%s'", bind,
                         t->host);
    return 0;
}

/* Whether the host is its one address, and the user says nothing else. */
static bool is_numeric(struct upstream_target *t) {
    for (size_t i = 0; i < t->rules.override_count; i++)
        if (resolve_override_is_for(t->rules.overrides[i], &t->endpoint))
            return false;
    return address_of_endpoint(&t->endpoint, false, &t->address) == 0 &&
           (t->rules.family == AF_UNSPEC || t->rules.family == t->address.any.sa_family);
}

int upstream_target_init(struct upstream_target *t, const struct upstream_config *config,
                         struct error *err) {
    int rc;

    *t = (struct upstream_target){ .timeout = config->timeout,
                                   .limits = (struct http_limits)HTTP_LIMITS_RESPONSE };
    t->limits.body_bytes = SERVER_UPSTREAM_BODY_BYTES_MAX;
    rc = parse_url(config->url, config->bare, &t->url, err);
    if (rc < 0)
        return rc;
    if (config->bare)
        t->url.target = SLICE("");
    t->endpoint = (struct endpoint){ .host = t->url.host,
                                     .port = t->url.port,
                                     .is_unix = slice_eq(t->url.scheme, SLICE("unix")) };
    t->rules = config->rules;
    if (t->endpoint.is_unix) {
        t->rules.family = AF_UNSPEC;
        snprintf(t->host, sizeof(t->host), "localhost");
    } else {
        format_host(t);
    }
    t->numeric = is_numeric(t);
    rc = set_tls(t, config, err);
    if (rc < 0)
        return rc;
    return set_source(t, config->bind, err);
}

const struct address *upstream_target_source(const struct upstream_target *t) {
    return t->from.len > 0 ? &t->from : NULL;
}

/* --- an exchange ---------------------------------------------------------------- */

void exchange_init(struct upstream_exchange *x, const struct upstream_target *target,
                   const struct upstream_request *request, struct arena *arena) {
    *x = (struct upstream_exchange){ .target = target, .request = request, .arena = arena };
    buf_init(&x->in, (size_t)target->limits.head_bytes + SERVER_RECV_BYTES);
}

void exchange_begin(struct upstream_exchange *x, uint32_t uses) {
    http_conn_init(&x->http, HTTP_CLIENT, &x->target->limits);
    if (x->in.data != NULL)
        buf_free(&x->in);
    x->body_len = x->body_cap = 0;
    x->why = NULL;
    x->uses = uses;
    x->got_bytes = false;
}

int exchange_request(struct upstream_exchange *x, struct buf *out) {
    const struct upstream_request *request = x->request;
    struct http_request_head head = {
        .method = request->method,
        .method_text = request->method_text,
        .target = x->target->url.target,
        .suffix = request->suffix,
        .host = request->host.len > 0 ? request->host : slice_str(x->target->host),
        .fields = request->fields,
        .field_count = request->field_count,
        .content_length = request->body.len,
        .has_content_length = request->body.ptr != NULL,
        .version_minor = 1,
    };
    int rc;

    http_conn_sent(&x->http, request->method, false);
    rc = http_encode_request(out, &head);
    if (rc == -ENOBUFS)
        x->why = "the head of the request is too large";
    return rc == -ENOBUFS ? -EMSGSIZE : rc;
}

int exchange_room(struct upstream_exchange *x) {
    return buf_reserve(&x->in, SERVER_RECV_BYTES);
}

int exchange_fail(struct upstream_exchange *x, int rc, const char *what) {
    const char *text = arena_printf(x->arena, "upstream %s: %s", what, strerrordesc_np(-rc));

    if (rc == -ETIMEDOUT)
        x->why = "upstream did not answer in time";
    else
        x->why = text != NULL ? text : "upstream failed";
    return rc;
}

/* Puts `text` and the reason of TLS into `why`, and returns rc. */
static int fail_for(struct upstream_exchange *x, int rc, const char *text, const struct tls *tls) {
    const char *why = arena_printf(x->arena, "upstream %s: %s", text, tls_reason(tls));

    x->why = why != NULL ? why : "upstream failed";
    return rc;
}

int exchange_fail_within(struct upstream_exchange *x, int rc, const struct tls *tls,
                         const char *what) {
    switch (tls != NULL ? (enum tls_state)tls->state : TLS_OPEN) {
    case TLS_FAILED_HANDSHAKE:
        return fail_for(x, rc, "TLS handshake failed", tls);
    case TLS_FAILED_CLOSED:
        return fail_for(x, rc == -ENODATA ? -ECONNRESET : rc, "TLS handshake failed", tls);
    case TLS_FAILED_VERIFY:
        return fail_for(x, rc, "certificate is not accepted", tls);
    case TLS_FAILED_OPEN:
        return fail_for(x, rc, "TLS failed", tls);
    case TLS_TRUNCATED:
        return exchange_refuse(x, tls_reason(tls));
    case TLS_HANDSHAKING:
    case TLS_OPEN:
    case TLS_FAILED_WIRE:
        break;
    }
    return exchange_fail(x, rc, what);
}

static int grow(struct upstream_exchange *x, size_t want) {
    size_t cap = x->body_cap * 2;
    char *grown;

    if (cap < want)
        cap = x->expected > want && x->expected <= SERVER_UPSTREAM_BODY_BYTES_MAX
                  ? (size_t)x->expected
                  : want;
    grown = arena_alloc(x->arena, cap + 1); /* room for a NUL */
    if (grown == NULL)
        return -ENOMEM;
    if (x->body_len > 0)
        memcpy(grown, x->body, x->body_len);
    x->body = grown;
    x->body_cap = cap;
    return 0;
}

int exchange_keep_fields(struct upstream_exchange *x, struct slice fields) {
    size_t body = x->expected <= SERVER_RECV_BYTES ? (size_t)x->expected : 0;
    char *copy = arena_alloc(x->arena, fields.len + body + 2);

    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, fields.ptr, fields.len);
    copy[fields.len] = '\0';
    x->fields = slice_of(copy, fields.len);
    x->body = copy + fields.len + 1;
    x->body_cap = body;
    return 0;
}

int exchange_append(struct upstream_exchange *x, struct slice piece) {
    size_t want = x->body_len + piece.len;
    int rc = 0;

    if (want > SERVER_UPSTREAM_BODY_BYTES_MAX)
        return -EMSGSIZE;
    if (want > x->body_cap)
        rc = grow(x, want);
    if (rc < 0 || piece.len == 0)
        return rc;
    memcpy(x->body + x->body_len, piece.ptr, piece.len);
    x->body_len = want;
    return 0;
}

int exchange_refuse(struct upstream_exchange *x, const char *why) {
    if (!x->got_bytes) {
        x->why = "upstream closed the connection without an answer";
        return -ECONNRESET;
    }
    x->why = arena_printf(x->arena, "upstream answered badly: %s", why);
    if (x->why == NULL)
        x->why = "upstream answered badly";
    return why == http_err_body_large ? -EMSGSIZE : -EPROTO;
}

static int take_head(struct upstream_exchange *x, const struct http_head *head) {
    x->status = head->status;
    x->expected = head->has_content_length ? head->content_length : 0;
    return exchange_keep_fields(x, head->fields);
}

int exchange_take(struct upstream_exchange *x, size_t size) {
    bool eof = size == 0;
    struct http_head head;
    struct http_event ev;
    size_t used;
    int rc;

    x->got_bytes |= size > 0;
    buf_added(&x->in, size);
    for (;;) {
        used = http_conn_feed(&x->http, buf_unread(&x->in), eof, &head, &ev);
        if (ev.kind == HTTP_EV_BAD || ev.kind == HTTP_EV_CLOSED)
            return exchange_refuse(x, ev.kind == HTTP_EV_BAD ? ev.why : "closed");
        rc = ev.kind == HTTP_EV_HEAD   ? take_head(x, &head)
             : ev.kind == HTTP_EV_DATA ? exchange_append(x, ev.data)
                                       : 0;
        if (rc < 0)
            return rc;
        buf_consume(&x->in, used);
        if (ev.kind == HTTP_EV_MORE || ev.kind == HTTP_EV_END)
            return ev.kind == HTTP_EV_END;
    }
}

bool exchange_keeps(struct upstream_exchange *x) {
    return http_conn_next(&x->http) && buf_unread(&x->in).len == 0;
}

bool exchange_may_retry(const struct upstream_request *request) {
    enum http_method method = request->method;

    return request->retries || method == HTTP_METHOD_GET || method == HTTP_METHOD_HEAD ||
           method == HTTP_METHOD_PUT || method == HTTP_METHOD_DELETE ||
           method == HTTP_METHOD_OPTIONS || method == HTTP_METHOD_TRACE;
}

bool exchange_was_stale(const struct upstream_exchange *x, int rc) {
    return x->uses > 0 && !x->got_bytes && (rc == -ECONNRESET || rc == -EPIPE) &&
           exchange_may_retry(x->request);
}

struct upstream_answer exchange_answer(const struct upstream_exchange *x) {
    struct upstream_answer answer = { .status = x->status, .fields = x->fields, .body = SLICE("") };

    if (x->body_len > 0) {
        x->body[x->body_len] = '\0';
        answer.body = slice_of(x->body, x->body_len);
    }
    return answer;
}

void exchange_end(struct upstream_exchange *x) {
    buf_free(&x->in);
}
