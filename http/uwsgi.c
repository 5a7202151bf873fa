/* SPDX-License-Identifier: MIT */
/* Reads uwsgi packets and writes the fields that they mean. */
#include "http/uwsgi.h"
#include "base/assert.h"
#include "http/chars.h"
#include "http/error.h"
#include "http/head.h"

/* The buffer of the results. An entry of the packet has four bytes more than its key and value,
 * and a field line at most as many, so that the two ends never meet:
 *
 *   text       fields      values       end
 *    |  lines    |   free    |  copies   |
 */
struct writer {
    char *fields, *values;
};

struct vars {
    struct slice method, uri, path_info, query;
    struct slice content_length, content_type, https, protocol;
    struct uwsgi_origin origin;
};

struct uwsgi_walk {
    const struct http_limits *limits;
    struct http_head *head;
    struct http_known known;
    struct vars vars;
    struct writer out;
};

static size_t read_u16(const char *p) {
    return (size_t)(uint8_t)p[0] | (size_t)(uint8_t)p[1] << 8;
}

struct http_parse uwsgi_packet(struct slice input, const struct http_limits *limits) {
    size_t used;

    if (input.len > 0 && input.ptr[0] != 0)
        return (struct http_parse){ .kind = HTTP_PARSE_BAD, .why = http_err_uwsgi_modifier };
    if (input.len < UWSGI_HEADER_BYTES)
        return (struct http_parse){ .kind = HTTP_PARSE_MORE };
    used = UWSGI_HEADER_BYTES + read_u16(input.ptr + 1);
    if (used > limits->head_bytes)
        return (struct http_parse){ .kind = HTTP_PARSE_BAD, .why = http_err_head_large };
    if (input.len < used)
        return (struct http_parse){ .kind = HTTP_PARSE_MORE };
    return (struct http_parse){ .kind = HTTP_PARSE_DONE, .used = used };
}

/* --- one variable --------------------------------------------------------------------- */

/* Cuts a size and as many bytes; false when they reach past the end. */
static bool cut_string(struct slice *rest, struct slice *ret) {
    if (rest->len < 2 || rest->len - 2 < read_u16(rest->ptr))
        return false;
    *ret = slice_of(rest->ptr + 2, read_u16(rest->ptr));
    *rest = slice_drop(*rest, 2 + ret->len);
    return true;
}

static struct slice keep(struct writer *out, struct slice value) {
    out->values -= value.len;
    if (value.len > 0)
        memcpy(out->values, value.ptr, value.len);
    return slice_of(out->values, value.len);
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static char upper(char c) {
    return c >= 'a' && c <= 'z' ? (char)(c & ~0x20) : c;
}

/* X_FOO -> X-Foo, at `to`. */
static void write_name(char *to, struct slice name) {
    bool begins = true;

    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];

        to[i] = c == '_' ? '-' : begins ? upper(c) : lower(c);
        begins = c == '_';
    }
}

/* Appends the line `Name: value`. */
static const char *add_field(struct uwsgi_walk *w, struct slice name, struct slice value) {
    char *line = w->out.fields, *at = line + name.len;

    if (name.len == 0 || http_span(name.ptr, name.len, HTTP_CHAR_TOKEN) != name.len)
        return http_err_field_name;
    if (http_span_value(value.ptr, value.len) != value.len)
        return http_err_field_value;
    if (name.len + 2 + value.len > w->limits->field_bytes)
        return http_err_field_long;
    ASSERT((size_t)(w->out.values - line) >= name.len + value.len + 4);
    write_name(line, name);
    if (value.len == 0 && http_field_is_singleton(slice_of(line, name.len)))
        return NULL; /* web servers pass variables also of fields that are not there */
    memcpy(at, ": ", 2);
    if (value.len > 0)
        memcpy(at + 2, value.ptr, value.len);
    memcpy(at + 2 + value.len, "\r\n", 2);
    w->out.fields = at + value.len + 4;
    w->known.fields++;
    http_known_add(&w->known, w->head, slice_of(line, name.len),
                   slice_trim(slice_of(at + 2, value.len)));
    return NULL;
}

/* Variables that concern the client's hop, or come under a name of their own, too. */
static bool is_of_the_hop(struct slice name) {
    static const struct slice names[] = {
        SLICE_INIT("CONNECTION"), SLICE_INIT("CONTENT_LENGTH"),    SLICE_INIT("CONTENT_TYPE"),
        SLICE_INIT("EXPECT"),     SLICE_INIT("KEEP_ALIVE"),        SLICE_INIT("PROXY_CONNECTION"),
        SLICE_INIT("TE"),         SLICE_INIT("TRANSFER_ENCODING"), SLICE_INIT("UPGRADE"),
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (slice_eq(name, names[i]))
            return true;
    return false;
}

/* The place of a variable that is no header; NULL: it is not needed. */
static struct slice *place_of(struct vars *v, struct slice key) {
    const struct {
        struct slice key;
        struct slice *place;
    } rows[] = {
        { SLICE("REQUEST_METHOD"), &v->method },        { SLICE("REQUEST_URI"), &v->uri },
        { SLICE("PATH_INFO"), &v->path_info },          { SLICE("QUERY_STRING"), &v->query },
        { SLICE("REMOTE_ADDR"), &v->origin.address },   { SLICE("REMOTE_PORT"), &v->origin.port },
        { SLICE("REQUEST_SCHEME"), &v->origin.scheme }, { SLICE("HTTPS"), &v->https },
        { SLICE("SERVER_PROTOCOL"), &v->protocol },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (slice_eq(key, rows[i].key))
            return rows[i].place;
    return NULL;
}

static const char *add_var(struct uwsgi_walk *w, struct slice key, struct slice value) {
    static const struct slice prefix = SLICE_INIT("HTTP_");
    struct slice *place;

    if (key.len == 0)
        return http_err_uwsgi_vars;
    if (slice_starts_with(key, prefix)) {
        key = slice_drop(key, prefix.len);
        return is_of_the_hop(key) ? NULL : add_field(w, key, value);
    }
    if (slice_eq(key, SLICE("CONTENT_LENGTH")) || slice_eq(key, SLICE("CONTENT_TYPE")))
        return value.len > 0 ? add_field(w, key, value) : NULL;
    place = place_of(&w->vars, key);
    if (place != NULL)
        *place = keep(&w->out, value);
    return NULL;
}

/* --- the request ------------------------------------------------------------------------- */

/* PATH_INFO is decoded: what would have to be encoded again is refused. */
static const char *target_of_path(struct uwsgi_walk *w) {
    struct slice path = w->vars.path_info, query = w->vars.query;
    char *at;

    if (path.len == 0 || memchr(path.ptr, '?', path.len) != NULL ||
        memchr(path.ptr, '%', path.len) != NULL)
        return http_err_uwsgi_request;
    w->vars.uri = path;
    if (query.len == 0)
        return NULL;
    if ((size_t)(w->out.values - w->out.fields) < path.len + 1 + query.len)
        return http_err_uwsgi_request; /* no room: a path that long comes with REQUEST_URI */
    at = w->out.values -= path.len + 1 + query.len;
    memcpy(at, path.ptr, path.len);
    at[path.len] = '?';
    memcpy(at + path.len + 1, query.ptr, query.len);
    w->vars.uri = slice_of(at, path.len + 1 + query.len);
    return NULL;
}

/* HTTP/1.1, HTTP/2.0; whatever else it may be, nobody wants to see it. */
static bool is_protocol(struct slice text) {
    static const struct slice prefix = SLICE_INIT("HTTP/");

    if (!slice_starts_with(text, prefix) || text.len == prefix.len || text.len > 8)
        return false;
    for (size_t i = prefix.len; i < text.len; i++)
        if (text.ptr[i] != '.' && (text.ptr[i] < '0' || text.ptr[i] > '9'))
            return false;
    return true;
}

static const char *judge_start(struct uwsgi_walk *w) {
    const char *why = w->vars.uri.len == 0 ? target_of_path(w) : NULL;
    struct slice method = w->vars.method, target = w->vars.uri;

    if (why != NULL)
        return why;
    if (method.len == 0)
        return http_err_uwsgi_request;
    if (http_span(method.ptr, method.len, HTTP_CHAR_TOKEN) != method.len)
        return http_err_method;
    if (method.len + 1 + target.len + sizeof(" HTTP/1.1") - 1 > w->limits->start_line_bytes)
        return http_err_target_long;
    if (http_span_target(target.ptr, target.len) != target.len)
        return http_err_target;
    w->head->method_text = method;
    w->head->method = http_method_of(method);
    w->head->target = target;
    if (is_protocol(w->vars.protocol))
        w->head->protocol = w->vars.protocol;
    return NULL;
}

const char *uwsgi_request(struct slice vars, const struct http_limits *limits, char *text,
                          struct http_head *ret, struct uwsgi_origin *ret_origin) {
    struct uwsgi_walk w = { .limits = limits, .head = ret, .out = { text, text + vars.len } };
    struct slice key, value;
    const char *why = NULL;

    *ret = (struct http_head){ .method = HTTP_METHOD_OTHER };
    while (vars.len > 0 && why == NULL) {
        if (!cut_string(&vars, &key) || !cut_string(&vars, &value))
            return http_err_uwsgi_vars;
        why = add_var(&w, key, value);
    }
    if (why == NULL)
        why = judge_start(&w);
    if (why != NULL)
        return why;
    ret->fields = slice_of(text, (size_t)(w.out.fields - text));
    *ret_origin = w.vars.origin;
    if (ret_origin->scheme.len == 0 && slice_eq_nocase(w.vars.https, SLICE("on")))
        ret_origin->scheme = SLICE("https");
    return http_rules_request(&w.known, limits, ret);
}
