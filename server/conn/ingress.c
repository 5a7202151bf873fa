/* SPDX-License-Identifier: MIT */
/* Takes PROXY headers and uwsgi packets off a connection, and field names off a head. */
#include "server/conn/ingress.h"
#include "http/error.h"
#include "http/proxy_protocol.h"
#include "http/uwsgi.h"

void ingress_begin(struct session *s, size_t listener) {
    const struct serve_config *config = s->worker->config;

    s->ingress = 0;
    if (config->protocols[listener] == PROTOCOL_UWSGI)
        s->ingress |= SESSION_INGRESS_UWSGI;
    if (config->proxy_protocol)
        s->ingress |= SESSION_INGRESS_PROXY;
}

static size_t event(struct http_event *ev, enum http_event_kind kind, size_t used) {
    *ev = (struct http_event){ .kind = kind };
    return used;
}

static size_t bad(struct http_event *ev, const char *why) {
    *ev = (struct http_event){ .kind = HTTP_EV_BAD, .why = why };
    return 0;
}

/* Something is incomplete. Nothing at all before the end is no message. */
static size_t more(const struct session *s, struct slice input, struct http_event *ev) {
    if (!s->eof)
        return event(ev, HTTP_EV_MORE, 0);
    return input.len == 0 ? event(ev, HTTP_EV_CLOSED, 0) : bad(ev, http_err_truncated);
}

/* --- PROXY ------------------------------------------------------------------------------ */

/* From here on the peer is whom the header names: what that one says about others counts as much as
 * it is trusted itself. */
static void take_client(struct session *s, const struct proxy_client *client) {
    if (client->family == PROXY_UNKNOWN)
        return;
    s->peer = (struct peer){
        .kind = PEER_IP,
        .ip = ip_of_bytes(client->ip, client->family == PROXY_IPV4 ? 4 : 16),
        .port = client->port,
        .secure = client->secure,
    };
}

static size_t feed_proxy(struct session *s, struct slice input, struct http_event *ev) {
    struct proxy_client client;
    struct http_parse parse;

    if (!cidr_list_has(&s->worker->config->forwarded_allow, &s->peer))
        return bad(ev, http_err_peer);
    parse = proxy_protocol_parse(input, &client);
    if (parse.kind == HTTP_PARSE_MORE)
        return more(s, input, ev);
    if (parse.kind == HTTP_PARSE_BAD)
        return bad(ev, parse.why);
    take_client(s, &client);
    s->ingress &= (uint8_t)~SESSION_INGRESS_PROXY;
    return event(ev, HTTP_EV_INTERIM, parse.used);
}

/* --- uwsgi -------------------------------------------------------------------------------- */

/* The web server has met the client. One that it does not name, or that came over its own unix
 * socket ("unix:"), has no address; above all it is not the web server, whose word is trusted. */
static void take_origin(struct session *s, const struct uwsgi_origin *origin) {
    struct peer client = { .secure = slice_eq_nocase(origin->scheme, SLICE("https")) };
    uint64_t port = 0;

    if (slice_starts_with(origin->address, SLICE("unix:")))
        client.kind = PEER_LOCAL;
    else if (ip_parse(origin->address, &client.ip))
        client.kind = PEER_IP;
    if (slice_parse_u64(origin->port, UINT16_MAX, &port) == 0)
        client.port = (uint16_t)port;
    s->peer = client;
}

static size_t take_packet(struct session *s, struct slice packet, struct http_event *ev) {
    struct slice vars = slice_drop(packet, UWSGI_HEADER_BYTES);
    char *text = arena_alloc(&s->arena, vars.len > 0 ? vars.len : 1);
    struct uwsgi_origin origin;
    const char *why;

    if (text == NULL)
        return bad(ev, http_err_memory);
    s->head_in_arena = true;
    why = uwsgi_request(vars, s->http.limits, text, &s->head, &origin);
    if (why != NULL)
        return bad(ev, why);
    take_origin(s, &origin);
    return http_conn_begin(&s->http, &s->head, ev, packet.len);
}

static size_t feed_uwsgi(struct session *s, struct slice input, struct http_event *ev) {
    struct http_parse parse;

    if (!cidr_list_has(&s->worker->config->uwsgi_allow, &s->peer))
        return bad(ev, http_err_peer);
    parse = uwsgi_packet(input, s->http.limits);
    if (parse.kind == HTTP_PARSE_MORE)
        return more(s, input, ev);
    if (parse.kind == HTTP_PARSE_BAD)
        return bad(ev, parse.why);
    return take_packet(s, slice_take(input, parse.used), ev);
}

size_t ingress_feed(struct session *s, struct slice input, struct http_event *ev) {
    if (s->http.phase == HTTP_PHASE_HEAD && (s->ingress & SESSION_INGRESS_PROXY))
        return feed_proxy(s, input, ev);
    if (s->http.phase == HTTP_PHASE_HEAD && (s->ingress & SESSION_INGRESS_UWSGI))
        return feed_uwsgi(s, input, ev);
    return http_conn_feed(&s->http, input, s->eof, &s->head, ev);
}

/* --- field names ---------------------------------------------------------------------------- */

static bool has_underscore(struct slice name) {
    return memchr(name.ptr, '_', name.len) != NULL;
}

/* A copy of the lines whose names have none. NULL when out of memory. */
static char *copy_without(struct session *s, size_t *ret_len) {
    char *copy = arena_alloc(&s->arena, s->head.fields.len), *at = copy;
    struct slice rest = s->head.fields, name, value;
    const char *line = rest.ptr;

    while (copy != NULL && http_field_next(&rest, &name, &value)) {
        size_t len = (size_t)(rest.ptr - line);

        if (!has_underscore(name)) {
            memcpy(at, line, len);
            at += len;
        }
        line += len;
    }
    *ret_len = copy != NULL ? (size_t)(at - copy) : 0;
    return copy;
}

static bool names_underscore(const struct session *s) {
    struct slice rest = s->head.fields, name, value;

    while (http_field_next(&rest, &name, &value))
        if (has_underscore(name))
            return true;
    return false;
}

/* X_Y and X-Y are one variable to CGI's heirs: whoever filters one lets the other through. */
const char *ingress_map_fields(struct session *s) {
    struct slice *fields = &s->head.fields;

    if (fields->len == 0 || memchr(fields->ptr, '_', fields->len) == NULL || !names_underscore(s))
        return NULL;
    if (s->worker->config->header_map == HEADER_MAP_REFUSE)
        return http_err_field_underscore;
    fields->ptr = copy_without(s, &fields->len);
    s->head_in_arena = true;
    return fields->ptr != NULL ? NULL : http_err_memory;
}
