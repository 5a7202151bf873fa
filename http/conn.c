/* SPDX-License-Identifier: MIT */
/* One connection without its socket: which bytes belong to which message, and whether another may
 * follow. */
#include "http/conn.h"
#include "base/assert.h"
#include "http/error.h"
#include <assert.h>

static_assert(HTTP_METHOD_OTHER <= UINT8_MAX, "a method fits its byte in the connection");

void http_conn_init(struct http_conn *c, enum http_role role, const struct http_limits *limits) {
    *c = (struct http_conn){
        .limits = limits,
        .role = (uint8_t)role,
        .phase = role == HTTP_SERVER ? HTTP_PHASE_HEAD : HTTP_PHASE_DONE,
        .method = HTTP_METHOD_OTHER,
        .version_minor = 1,
        .persists = true,
    };
}

static size_t bad(struct http_conn *c, struct http_event *ev, const char *why) {
    c->phase = HTTP_PHASE_BROKEN;
    c->persists = false;
    *ev = (struct http_event){ .kind = HTTP_EV_BAD, .why = why };
    return 0;
}

static size_t event(struct http_event *ev, enum http_event_kind kind, size_t used) {
    *ev = (struct http_event){ .kind = kind };
    return used;
}

bool http_conn_is_complete(const struct http_conn *c) {
    if (c->phase != HTTP_PHASE_BODY)
        return c->phase == HTTP_PHASE_DONE;
    return c->body.framing == HTTP_FRAMING_NONE ||
           (c->body.framing == HTTP_FRAMING_LENGTH && c->body.left == 0);
}

/* RFC 9112 section 9.3. */
static bool head_persists(const struct http_head *head) {
    return !head->says_close && (head->version_minor > 0 || head->says_keep_alive);
}

static size_t begin_message(struct http_conn *c, const struct http_head *head,
                            enum http_framing framing, struct http_event *ev, size_t used) {
    if (framing == HTTP_FRAMING_LENGTH && head->content_length > c->limits->body_bytes)
        return bad(c, ev, http_err_body_large);
    c->version_minor = head->version_minor;
    c->phase = HTTP_PHASE_BODY;
    c->scanned = 0;
    c->persists = c->persists && head_persists(head) && framing != HTTP_FRAMING_CLOSE;
    http_body_init(&c->body, framing, head->content_length);
    return event(ev, HTTP_EV_HEAD, used);
}

static size_t got_request(struct http_conn *c, const struct http_head *head, struct http_event *ev,
                          size_t used) {
    c->method = (uint8_t)head->method;
    used = begin_message(c, head, head->framing, ev, used);
    c->asked_keep_alive = head->version_minor == 0 && c->persists;
    c->wants_continue = head->expects_continue && !http_conn_is_complete(c);
    return used;
}

size_t http_conn_begin(struct http_conn *c, const struct http_head *head, struct http_event *ev,
                       size_t used) {
    ASSERT(c->role == HTTP_SERVER && c->phase == HTTP_PHASE_HEAD);
    return got_request(c, head, ev, used);
}

static size_t got_response(struct http_conn *c, const struct http_head *head, struct http_event *ev,
                           size_t used) {
    enum http_method method = (enum http_method)c->method;
    c->noted |= head->noted;
    if (head->status == 101 && c->asks_upgrade)
        return begin_message(c, head, HTTP_FRAMING_CLOSE, ev, used);
    if (head->status / 100 == 1) {
        /* Nobody has asked for an upgrade, so 101 would switch to nothing. */
        if (head->status == 101 || c->interims == HTTP_INTERIMS_MAX)
            return bad(c, ev, http_err_interim);
        c->interims++;
        c->scanned = 0;
        return event(ev, HTTP_EV_INTERIM, used);
    }
    if (method == HTTP_METHOD_CONNECT && head->status / 100 == 2)
        c->persists = false; /* a tunnel follows */
    return begin_message(c, head, http_response_framing(head, method), ev, used);
}

static bool is_blank(struct slice input) {
    size_t i = 0;
    while (i < input.len && (input.ptr[i] == '\r' || input.ptr[i] == '\n'))
        i++;
    return i == input.len;
}

/* The head is incomplete. Nothing at all before an eof, to a server empty lines too, is no message.
 */
static size_t wait_for_head(struct http_conn *c, struct slice input, bool eof,
                            struct http_event *ev) {
    c->scanned = (uint32_t)input.len;
    if (!eof)
        return event(ev, HTTP_EV_MORE, 0);
    bool is_nothing = c->role == HTTP_SERVER ? is_blank(input) : input.len == 0 && c->interims == 0;
    if (!is_nothing)
        return bad(c, ev, http_err_truncated);
    c->persists = false;
    return event(ev, HTTP_EV_CLOSED, input.len);
}

static size_t feed_head(struct http_conn *c, struct slice input, bool eof, struct http_head *head,
                        struct http_event *ev) {
    if (input.len == 0)
        return wait_for_head(c, input, eof, ev);
    bool is_server = c->role == HTTP_SERVER;
    struct http_parse parse = is_server ? http_parse_request(input, c->scanned, c->limits, head)
                                        : http_parse_response(input, c->scanned, c->limits, head);
    switch (parse.kind) {
    case HTTP_PARSE_DONE:
        return is_server ? got_request(c, head, ev, parse.used)
                         : got_response(c, head, ev, parse.used);
    case HTTP_PARSE_BAD:
        return bad(c, ev, parse.why);
    case HTTP_PARSE_MORE:
        break;
    }
    return wait_for_head(c, input, eof, ev);
}

static size_t feed_body(struct http_conn *c, struct slice input, bool eof, struct http_event *ev) {
    struct http_body_step step = http_body_next(&c->body, input, eof, c->limits);
    switch (step.kind) {
    case HTTP_BODY_DATA:
        *ev = (struct http_event){ .kind = HTTP_EV_DATA, .data = step.data };
        return step.used;
    case HTTP_BODY_DONE:
        c->phase = HTTP_PHASE_DONE;
        return event(ev, HTTP_EV_END, step.used);
    case HTTP_BODY_BAD:
        return bad(c, ev, step.why);
    case HTTP_BODY_MORE:
        break;
    }
    return event(ev, HTTP_EV_MORE, step.used);
}

/* Nothing is expected. A server leaves what comes for the next message; a client has no next one
 * yet. */
static size_t feed_idle(struct http_conn *c, struct slice input, bool eof, struct http_event *ev) {
    if (input.len > 0 && c->role == HTTP_CLIENT)
        return bad(c, ev, http_err_unasked);
    if (input.len > 0 || !eof)
        return event(ev, HTTP_EV_MORE, 0);
    c->persists = false;
    return event(ev, HTTP_EV_CLOSED, 0);
}

size_t http_conn_feed(struct http_conn *c, struct slice input, bool eof, struct http_head *head,
                      struct http_event *ev) {
    switch ((enum http_phase)c->phase) {
    case HTTP_PHASE_HEAD:
        return feed_head(c, input, eof, head, ev);
    case HTTP_PHASE_BODY:
        return feed_body(c, input, eof, ev);
    case HTTP_PHASE_DONE:
        return feed_idle(c, input, eof, ev);
    case HTTP_PHASE_BROKEN:
        break;
    }
    return bad(c, ev, http_err_truncated);
}

bool http_conn_takes_continue(struct http_conn *c) {
    bool takes = c->wants_continue && !c->answered && c->body.decoded == 0;
    c->wants_continue = false;
    return takes;
}

/* RFC 9110 section 8.6 and RFC 9112 section 6.1: these say nothing about a length. */
static bool is_without_length(const struct http_conn *c, uint16_t status) {
    return status / 100 == 1 || status == 204 || status == 304 ||
           (c->method == HTTP_METHOD_CONNECT && status / 100 == 2);
}

int http_conn_answer(struct http_conn *c, struct buf *out, struct http_response_head *head,
                     bool *ret_sends_body) {
    ASSERT(c->role == HTTP_SERVER);
    bool has_body = !is_without_length(c, head->status);
    bool until_close = has_body && !head->has_content_length && !http_conn_chunks(c);
    if (until_close || head->close || !http_conn_is_complete(c))
        c->persists = false;

    head->has_content_length = has_body && head->has_content_length;
    head->chunked = has_body && !head->has_content_length && !until_close;
    head->close = !c->persists;
    head->keep_alive = c->persists && c->asked_keep_alive;
    head->version_minor = 1;
    *ret_sends_body = has_body && c->method != HTTP_METHOD_HEAD;
    int rc = http_encode_response(out, head);
    if (rc == 0)
        c->answered = true;
    return rc;
}

void http_conn_sent(struct http_conn *c, enum http_method method, bool close) {
    ASSERT(c->role == HTTP_CLIENT && c->phase == HTTP_PHASE_DONE);
    c->method = (uint8_t)method;
    c->phase = HTTP_PHASE_HEAD;
    c->scanned = 0;
    c->interims = 0;
    c->noted = 0;
    c->asks_upgrade = false;
    c->persists = c->persists && !close;
}

bool http_conn_next(struct http_conn *c) {
    if (!c->persists || !http_conn_is_complete(c))
        return false;
    if (c->role == HTTP_CLIENT) {
        c->phase = HTTP_PHASE_DONE;
        return true;
    }
    if (!c->answered)
        return false;
    c->phase = HTTP_PHASE_HEAD;
    c->method = HTTP_METHOD_OTHER; /* a bad head after a HEAD is refused with a body */
    c->answered = false;
    c->wants_continue = false;
    return true;
}
