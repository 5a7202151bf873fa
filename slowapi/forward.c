/* SPDX-License-Identifier: MIT */
/* Turns heads of requests into those for the upstream, and its answers into replies. */
#include "slowapi/forward.h"
#include "base/alloc.h"
#include "base/log.h"
#include "net/peer.h"
#include "slowapi/limits.h"
#include <errno.h>

/* --- the answer ------------------------------------------------------------------------------- */

static int take_reason(struct reply *reply, const struct http_head *head) {
    if (slice_eq(head->reason, slice_str(http_status_reason(head->status))) ||
        head->reason.len == 0)
        return 0;
    reply->reason = slice_dup(head->reason);
    return reply->reason != NULL ? 0 : -ENOMEM;
}

/* The length that the upstream tells is told to the client; otherwise the end comes by itself. */
static void take_length(struct slow_exchange *x, struct reply *reply,
                        const struct http_head *head) {
    bool has_length = head->has_content_length;

    reply->body = (struct body){ .kind = BODY_SOURCE,
                                 .type = "",
                                 .source = &x->body,
                                 .piece = SLOWAPI_PIECE_BYTES,
                                 .units = has_length ? head->content_length : UINT64_MAX,
                                 .is_chunked = !has_length };
    reply->switches = x->is_tunnel;
}

static int take_head(struct slow_exchange *x, const struct http_head *head) {
    struct reply *reply = x->body.owner;
    struct slice value;
    struct buf lines;

    reply->status = head->status;
    reply->has_status_fields = true;
    reply->has_date = x->is_tunnel || http_field_find(head, SLICE("Date"), &value);
    take_length(x, reply, head);
    reply_set_pace(reply);
    buf_init(&lines, 4 * head->fields.len + 1024);
    int rc = gateway_fields(&lines, head, slow_upstream_route(x->upstream));
    if (rc == 0)
        rc = buf_append(&lines, slice_of("", 1));
    if (rc == 0)
        rc = take_reason(reply, head);
    if (rc == 0)
        rc = reply_add_fields(reply, buf_unread(&lines).ptr);
    buf_free(&lines);
    return rc;
}

static bool has_percentage(const struct reply *reply) {
    for (size_t i = 0; i < reply->fault_count; i++)
        if (reply->faults[i].place == FAULT_AT_PERCENT && reply->faults[i].share < 1)
            return true;
    return false;
}

int forward_look_ahead(struct reply *reply, struct slow_exchange *x) {
    if (reply->body.units != UINT64_MAX || x->is_tunnel || !has_percentage(reply))
        return 0;
    ssize_t known = slow_exchange_look_ahead(x, SLOWAPI_AHEAD_BYTES);
    if (known < 0)
        return -EAGAIN;
    reply->body.known = (uint64_t)known;
    return 0;
}

int forward_fail(struct reply *reply, const struct slow_exchange *x) {
    static struct log_rate rate = { .per_second = 1 };

    log_limited(&rate, LOG_LEVEL_WARN, "upstream failed error=\"%s\"", x->why.text);
    return reply_replace(reply, x->failure == EXCHANGE_LATE ? 504 : 502, x->why.text);
}

/* --- the request ------------------------------------------------------------------------------ */

struct slow_exchange *forward_new(struct slow_upstream *u, struct reply *reply,
                                  const struct http_head *head,
                                  const struct forward_origin *origin) {
    struct slow_exchange *x = slow_exchange_new(u);
    struct gateway_client client = { .address = { "", 0 } };
    char text[PEER_TEXT_BYTES];

    if (x == NULL)
        return NULL;
    if (origin->is_told) {
        struct peer peer = peer_of_socket(origin->fd);
        client.address = slice_str(peer_format(&peer, text));
        client.scheme = origin->is_secure ? SLICE("https") : SLICE("http");
    }
    x->body.owner = reply;
    x->take_head = take_head;
    if (gateway_request(&x->out, head, slow_upstream_route(u), &client,
                        (struct slice){ .ptr = NULL }) < 0) {
        slow_exchange_free(x);
        return NULL;
    }
    return x;
}

void forward_begin(struct slow_exchange *x, const struct http_head *head) {
    const struct slow_exchange_how how = { .method = head->method,
                                           .has_body = head->framing != HTTP_FRAMING_NONE,
                                           .is_chunked = head->chunked,
                                           .asks_upgrade = gateway_upgrades(head) };

    slow_exchange_begin(x, &how);
}
