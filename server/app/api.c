/* SPDX-License-Identifier: MIT */
/* The calls of <srv/app.h> that do not wait, over a request as the server has it. They hand out
 * texts that end with NUL where the server has slices, and remember the first failure. */
#include "base/escape.h"
#include "base/log.h"
#include "base/units.h"
#include "http/chars.h"
#include "server/app/request.h"
#include "server/app/stream.h"
#include "server/conn/proxied.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

const char *srv_format(struct srv_request *rq, const char *format, ...) {
    struct slice text;
    va_list args;

    va_start(args, format);
    text = request_vformat(rq, format, args);
    va_end(args);
    return text.ptr;
}

void *srv_alloc(struct srv_request *rq, size_t size_bytes) {
    void *memory = request_alloc(rq, size_bytes);

    return memory != NULL ? memset(memory, 0, size_bytes) : NULL;
}

/* --- the request --------------------------------------------------------- */

struct srv_worker *srv_worker_of(struct srv_request *rq) {
    return rq->session->worker->own;
}

const char *srv_method(struct srv_request *rq) {
    return request_text(rq, rq->session->head.method_text);
}

const char *srv_target(struct srv_request *rq) {
    return request_text(rq, rq->session->head.target);
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that three characters encode; -1 when they encode none, or one that would change the
 * meaning of a path: '/' and NUL. */
static int decoded_byte(const char *at, const char *end) {
    int high = end - at >= 3 && at[0] == '%' ? hex_digit(at[1]) : -1;
    int low = high >= 0 ? hex_digit(at[2]) : -1;
    int byte = low >= 0 ? high * 16 + low : -1;

    return byte == '/' || byte == 0 ? -1 : byte;
}

static size_t decode_path(struct slice raw, char *out) {
    const char *end = raw.ptr + raw.len;
    size_t len = 0;

    for (const char *at = raw.ptr; at < end; at++) {
        int byte = decoded_byte(at, end);

        out[len++] = byte >= 0 ? (char)byte : *at;
        if (byte >= 0)
            at += 2;
    }
    return len;
}

/* RFC 3986 section 5.2.4, in place: after decoding, so that an encoded dot is one. */
static size_t remove_dot_segments(char *path, size_t len) {
    size_t out = 0;

    for (size_t at = 0; at < len;) {
        size_t end = at + 1, segment;

        while (end < len && path[end] != '/')
            end++;
        segment = end - at - 1; /* path[at] is the slash before it */
        if (segment == 1 && path[at + 1] == '.') {
            if (end == len)
                path[out++] = '/';
        } else if (segment == 2 && path[at + 1] == '.' && path[at + 2] == '.') {
            while (out > 0 && path[--out] != '/')
                continue;
            if (end == len)
                path[out++] = '/';
        } else {
            memmove(path + out, path + at, end - at);
            out += end - at;
        }
        at = end;
    }
    return out;
}

/* True for a path that has nothing to decode and no segment that begins with a dot. */
static bool is_plain(struct slice path) {
    return memchr(path.ptr, '%', path.len) == NULL && memmem(path.ptr, path.len, "/.", 2) == NULL;
}

const char *srv_path(struct srv_request *rq) {
    char *path;

    if (rq->decoded_path != NULL)
        return rq->decoded_path;
    if (slice_eq(rq->path, SLICE("/")))
        return rq->decoded_path = "/";
    if (rq->path.len > 0 && rq->path.ptr[0] == '/' && is_plain(rq->path))
        return rq->decoded_path = request_text(rq, rq->path);
    path = request_alloc(rq, rq->path.len + 2);
    if (path == NULL)
        return "";
    if (rq->path.len > 0 && rq->path.ptr[0] == '/')
        path[remove_dot_segments(path, decode_path(rq->path, path))] = '\0';
    else
        memcpy(path, "/", 2);
    rq->decoded_path = path;
    return path;
}

const char *srv_segment(struct srv_request *rq, unsigned index) {
    return index < rq->segment_count ? request_text(rq, rq->segments[index]) : "";
}

/* Behind proxies it is what they say, if they are trusted. Found anew with each call. */
static struct realip client_of(const struct srv_request *rq) {
    const struct session *s = rq->session;

    return realip_of(&s->head, &s->peer, &s->worker->config->forwarded_allow);
}

const char *srv_request_id(struct srv_request *rq) {
    char own[REQUEST_ID_BYTES];

    return request_text(rq, request_id_of(rq, own));
}

const char *srv_client(struct srv_request *rq) {
    struct realip found = client_of(rq);
    char text[PEER_TEXT_BYTES];

    return request_text(rq, slice_str(peer_format(&found.client, text)));
}

const char *srv_client_subject(struct srv_request *rq) {
    char text[TLS_SUBJECT_BYTES];

    return request_text(rq, slice_str(channel_subject(&rq->session->bytes, text)));
}

const char *srv_scheme(struct srv_request *rq) {
    return request_text(rq, client_of(rq).scheme);
}

const char *srv_host(struct srv_request *rq) {
    return srv_header(rq, "Host", "");
}

const char *srv_arg(struct srv_request *rq, const char *name, const char *otherwise) {
    struct slice value;

    return request_arg(rq, slice_str(name), &value) ? request_text(rq, value) : otherwise;
}

double srv_seconds(struct srv_request *rq, const char *what, const char *text) {
    const char *why = NULL;
    nsec_t span;

    if (units_parse_seconds(slice_str(text), &span, &why) == 0)
        return (double)span / NSEC_PER_SEC;
    srv_fail(rq, 400, "%s '%.60s' %s; examples: 0, 0.25, 30", what, text, why);
    return 0;
}

const char *srv_header(struct srv_request *rq, const char *name, const char *otherwise) {
    struct slice value;

    return http_field_find(&rq->session->head, slice_str(name), &value) ? request_text(rq, value)
                                                                        : otherwise;
}

int srv_headers(struct srv_request *rq, int (*each)(void *arg, const char *name, const char *value),
                void *arg) {
    struct http_cursor at = { .started = false };
    struct slice name, value;
    int rc = 0;

    while (rc == 0 && http_field_walk(&rq->session->head, &at, &name, &value))
        rc = each(arg, request_text(rq, name), request_text(rq, value));
    return rc;
}

/* One Cookie field: RFC 6265 section 5.4. */
static bool find_cookie(struct slice field, struct slice name, struct slice *ret) {
    while (field.len > 0) {
        struct slice value = slice_trim(slice_cut(&field, ';'));

        if (slice_eq(slice_trim(slice_cut(&value, '=')), name)) {
            *ret = slice_trim(value);
            return true;
        }
    }
    return false;
}

const char *srv_cookie(struct srv_request *rq, const char *name, const char *otherwise) {
    struct http_cursor at = { .started = false };
    struct slice field, value, found;

    while (http_field_walk(&rq->session->head, &at, &field, &value))
        if (slice_eq_nocase(field, SLICE("Cookie")) && find_cookie(value, slice_str(name), &found))
            return request_text(rq, found);
    return otherwise;
}

const char *srv_body(struct srv_request *rq, size_t *len) {
    struct slice body;

    if (!rq->is_part)
        stream_load_body(rq);
    body = buf_unread(&rq->session->body);
    if (len != NULL)
        *len = body.len;
    return request_text(rq, body);
}

/* --- the answer ---------------------------------------------------------- */

/* Fields that the server writes by itself: RFC 9112 sections 6 and 9, RFC 9110 section 6.6.1. */
static bool is_server_field(struct slice name) {
    static const struct slice own[] = {
        SLICE_INIT("Content-Length"), SLICE_INIT("Transfer-Encoding"), SLICE_INIT("Connection"),
        SLICE_INIT("Date"),           SLICE_INIT("Keep-Alive"),        SLICE_INIT("Upgrade")
    };

    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (slice_eq_nocase(name, own[i]))
            return true;
    return false;
}

static bool is_good_field(struct slice name, struct slice value) {
    return name.len > 0 && http_span(name.ptr, name.len, HTTP_CHAR_TOKEN) == name.len &&
           http_span_value(value.ptr, value.len) == value.len && !is_server_field(name);
}

static void put_field(struct srv_request *rq, const char *name, const char *value, bool replaces) {
    struct slice key = slice_str(name), content = slice_trim(slice_str(value));

    if (rq->failed < 0)
        return;
    if (!is_good_field(key, content)) {
        srv_fail(rq, 500, "the handler set a field that no answer may have");
        return;
    }
    content = slice_str(request_text(rq, content));
    if (slice_eq_nocase(key, SLICE("Content-Type"))) {
        rq->content_type = content;
        return;
    }
    for (unsigned i = 0; replaces && i < rq->field_count; i++) {
        if (slice_eq_nocase(rq->fields[i].name, key)) {
            rq->fields[i].value = content;
            return;
        }
    }
    if (request_add_field(rq, slice_str(request_text(rq, key)), content) < 0)
        srv_fail(rq, 500, "the handler set more fields than an answer may have");
}

void srv_set(struct srv_request *rq, const char *name, const char *value) {
    put_field(rq, name, value, true);
}

void srv_add(struct srv_request *rq, const char *name, const char *value) {
    put_field(rq, name, value, false);
}

static int reply(struct srv_request *rq, int status, struct slice type, struct slice body) {
    int rc;

    if (rq->failed < 0)
        return rq->failed;
    if (rq->is_part)
        return srv_fail(rq, 500, "a part of a request cannot answer");
    if (status < 200 || status > 599)
        return srv_fail(rq, 500, "the handler answered with status %d", status);
    if (rq->content_type.ptr != NULL)
        type = rq->content_type;
    rc = request_reply(rq, (uint16_t)status, type, body);
    if (rc == -ENOBUFS)
        return srv_fail(rq, 500, "the answer of the handler is too large");
    return rc == -EALREADY ? rc : request_stick(rq, rc);
}

int srv_reply(struct srv_request *rq, int status, const char *format, ...) {
    struct slice text;
    va_list args;

    va_start(args, format);
    text = request_vformat(rq, format, args);
    va_end(args);
    return reply(rq, status, SLICE("text/plain; charset=utf-8"), text);
}

int srv_reply_bytes(struct srv_request *rq, int status, const void *body, size_t len) {
    return reply(rq, status, SLICE("application/octet-stream"),
                 len > 0 ? slice_of(body, len) : SLICE(""));
}

int srv_redirect(struct srv_request *rq, int status, const char *location) {
    bool known = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;

    if (!known)
        return srv_fail(rq, 500, "the handler redirected with status %d", status);
    srv_set(rq, "Location", location);
    return reply(rq, status, SLICE("text/plain; charset=utf-8"), SLICE(""));
}

void srv_print(struct srv_request *rq, const char *format, ...) {
    va_list args;

    if (rq->failed < 0)
        return;
    va_start(args, format);
    request_vprint(rq, format, args);
    va_end(args);
}

int srv_reply_printed(struct srv_request *rq, int status) {
    return reply(rq, status, SLICE("text/plain; charset=utf-8"),
                 rq->printed.len > 0 ? slice_of(rq->printed.text, rq->printed.len) : SLICE(""));
}

/* --- failures ------------------------------------------------------------ */

int srv_fail(struct srv_request *rq, int status, const char *format, ...) {
    va_list args;

    if (rq->failed < 0)
        return rq->failed;
    va_start(args, format);
    rq->why = request_vformat(rq, format, args).ptr;
    va_end(args);
    rq->detail = NULL;
    rq->status = status >= 400 && status <= 599 ? (uint16_t)status : 500;
    return request_stick(rq, -EBADMSG);
}

int srv_error(const struct srv_request *rq) {
    return rq->failed;
}

const char *srv_error_text(const struct srv_request *rq) {
    if (rq->failed == 0)
        return "";
    return rq->why != NULL ? rq->why : strerrordesc_np(-rq->failed);
}

void srv_forgive(struct srv_request *rq) {
    bool late = rq->failed == -ETIMEDOUT && io_now(rq->io) >= rq->deadline;

    if (rq->failed == -ECANCELED || late)
        return;
    rq->failed = 0;
    rq->why = rq->detail = NULL;
    rq->status = 0;
}

/* --- the log ------------------------------------------------------------- */

static enum log_level level_of(char letter) {
    switch (letter) {
    case 'e':
        return LOG_LEVEL_ERROR;
    case 'w':
        return LOG_LEVEL_WARN;
    case 'd':
        return LOG_LEVEL_DEBUG;
    default:
        return LOG_LEVEL_INFO;
    }
}

void srv_log(struct srv_request *rq, char level, const char *format, ...) {
    char target[256], said[1024], own[REQUEST_ID_BYTES];
    struct slice text, id = request_id_of(rq, own);
    va_list args;

    va_start(args, format);
    text = request_vformat(rq, format, args);
    va_end(args);
    escape_quoted(target, sizeof(target), rq->session->head.target);
    escape_quoted(said, sizeof(said), text);
    log_write(level_of(level), "application says text=\"%s\" target=%s id=%.*s", said, target,
              (int)id.len, id.ptr);
}

void srv_count(struct srv_request *rq, const char *name, uint64_t amount) {
    static struct log_rate rate = { .per_second = 1 };
    int rc = stats_app_add(rq->session->worker->stats, name, amount);
    char said[160];

    if (rc == 0)
        return;
    escape_quoted(said, sizeof(said), slice_str(name));
    log_limited(&rate, LOG_LEVEL_WARN, "not counted counter=\"%s\" error=\"%s\"", said,
                rc == -EINVAL ? "no name of a counter" : "too many counters");
}

/* --- the worker ---------------------------------------------------------- */

/* SRV_APP_KEY of the environment: letters in upper case, what no variable may hold as '_'. */
static const char *config_variable(const char *key) {
    char name[128] = "SRV_APP_";
    size_t len = strlen(name);

    for (; *key != '\0' && len < sizeof(name) - 1; key++) {
        bool lower = *key >= 'a' && *key <= 'z';
        bool plain = (*key >= 'A' && *key <= 'Z') || (*key >= '0' && *key <= '9');

        name[len++] = lower ? (char)(*key - 'a' + 'A') : plain ? *key : '_';
    }
    name[len] = '\0';
    return *key == '\0' ? getenv(name) : NULL;
}

const char *srv_config(const struct srv_worker *worker, const char *key, const char *otherwise) {
    size_t len = strlen(key);
    const char *value;

    for (size_t i = worker->config->count; i > 0; i--) { /* the last one wins */
        const char *item = worker->config->items[i - 1];

        if (strncmp(item, key, len) == 0 && item[len] == '=')
            return item + len + 1;
    }
    value = config_variable(key);
    return value != NULL ? value : otherwise;
}

unsigned srv_worker_number(const struct srv_worker *worker) {
    return worker->number;
}

void srv_set_data(struct srv_worker *worker, void *data) {
    worker->data = data;
}

void *srv_data(const struct srv_worker *worker) {
    return worker->data;
}
