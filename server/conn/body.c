/* SPDX-License-Identifier: MIT */
/* Decodes a body piece by piece, out of the session's `in`. */
#include "server/conn/body.h"
#include "http/error.h"
#include "net/socket.h"
#include <errno.h>

enum { SKIP_BYTES_MAX = 65536 };

/* Feeds no more than `size`, for data is never more than its input. Returns as body_take; -EINTR:
 * nothing came of it, and there is more. */
static ssize_t feed(struct session *s, void *data, size_t size, const char **ret_why) {
    struct slice all = buf_unread(&s->in), input = slice_take(all, size);
    struct http_event ev;
    size_t used = http_conn_feed(&s->http, input, s->eof && input.len == all.len, &s->head, &ev);

    if (ev.kind == HTTP_EV_DATA && data != NULL)
        memcpy(data, ev.data.ptr, ev.data.len);
    buf_consume(&s->in, used);
    if (ev.kind == HTTP_EV_DATA)
        return (ssize_t)ev.data.len;
    if (ev.kind == HTTP_EV_END)
        return 0;
    if (ev.kind == HTTP_EV_MORE)
        return used < all.len ? -EINTR : -EAGAIN;
    *ret_why = ev.why;
    return ev.why == http_err_truncated ? -ECANCELED : -EBADMSG;
}

ssize_t body_take(struct session *s, void *data, size_t size, const char **ret_why) {
    ssize_t n;

    do
        n = feed(s, data, size, ret_why);
    while (n == -EINTR);
    return n;
}

/* False when nothing has come. */
static bool receive(struct session *s) {
    ssize_t n = s->eof || session_reserve(s) < 0
                    ? -EAGAIN
                    : socket_recv(s->fd, buf_tail(&s->in), buf_room(&s->in));

    if (n < 0)
        return false;
    s->eof = n == 0;
    buf_added(&s->in, (size_t)n);
    return true;
}

/* A client that waits for 100 Continue sends no body. */
void body_skip(struct session *s) {
    size_t left = SKIP_BYTES_MAX;
    const char *why;

    while (session_in_body(s) && !s->http.wants_continue && left > 0) {
        ssize_t n = body_take(s, NULL, left, &why);

        if (n == -EAGAIN ? !receive(s) : n <= 0)
            return;
        left -= n > 0 ? (size_t)n : 0;
    }
}
