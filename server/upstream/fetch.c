/* SPDX-License-Identifier: MIT */
/* Encodes a GET, decodes its answer, and says what is wrong with it. */
#include "server/upstream/fetch.h"
#include "server/limits.h"
#include <errno.h>

void fetch_init(struct fetch *x, const struct upstream_target *target, struct arena *arena) {
    *x = (struct fetch){ .target = target, .arena = arena };
    buf_init(&x->in, (size_t)target->limits.head_bytes + SERVER_RECV_BYTES);
}

void fetch_begin(struct fetch *x, uint32_t uses) {
    http_conn_init(&x->http, HTTP_CLIENT, &x->target->limits);
    buf_free(&x->in);
    x->body = (struct gather){ 0 };
    x->why = NULL;
    x->uses = uses;
    x->got_bytes = false;
}

int fetch_request(struct fetch *x, struct slice suffix, struct buf *out) {
    struct slice path = x->target->url.target;
    struct http_request_head head = {
        .method = HTTP_METHOD_GET,
        .host = slice_str(x->target->host),
        .version_minor = 1,
    };
    char *target = arena_alloc(x->arena, path.len + suffix.len);

    if (target == NULL)
        return -ENOMEM;
    memcpy(target, path.ptr, path.len);
    memcpy(target + path.len, suffix.ptr, suffix.len);
    head.target = slice_of(target, path.len + suffix.len);
    http_conn_sent(&x->http, HTTP_METHOD_GET, false);
    return http_encode_request(out, &head);
}

int fetch_room(struct fetch *x) {
    return buf_reserve(&x->in, SERVER_RECV_BYTES);
}

int fetch_fail(struct fetch *x, int rc, const char *what) {
    const char *text = arena_printf(x->arena, "upstream %s: %s", what, strerrordesc_np(-rc));

    if (rc == -ETIMEDOUT)
        x->why = "upstream did not answer in time";
    else
        x->why = text != NULL ? text : "upstream failed";
    return rc;
}

static int bad_answer(struct fetch *x, const char *why) {
    if (!x->got_bytes) {
        x->why = "upstream closed the connection without an answer";
        return -ECONNRESET;
    }
    x->why = arena_printf(x->arena, "upstream answered badly: %s", why);
    if (x->why == NULL)
        x->why = "upstream answered badly";
    return -EPROTO;
}

int fetch_take(struct fetch *x, size_t size) {
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
            return bad_answer(x, ev.kind == HTTP_EV_BAD ? ev.why : "closed");
        if (ev.kind == HTTP_EV_HEAD) {
            x->status = head.status;
            x->expected = head.has_content_length ? head.content_length : 0;
        }
        if (ev.kind == HTTP_EV_DATA) {
            rc = gather_add(&x->body, x->arena, ev.data, x->expected);
            if (rc < 0)
                return rc;
        }
        buf_consume(&x->in, used);
        if (ev.kind == HTTP_EV_MORE || ev.kind == HTTP_EV_END)
            return ev.kind == HTTP_EV_END;
    }
}

bool fetch_keeps(struct fetch *x) {
    return http_conn_next(&x->http) && buf_unread(&x->in).len == 0;
}

bool fetch_was_stale(const struct fetch *x, int rc) {
    return x->uses > 0 && !x->got_bytes && (rc == -ECONNRESET || rc == -EPIPE);
}

struct upstream_answer fetch_answer(const struct fetch *x) {
    return (struct upstream_answer){ .status = x->status, .body = gather_slice(&x->body) };
}

void fetch_end(struct fetch *x) {
    buf_free(&x->in);
}
