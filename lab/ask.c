/* SPDX-License-Identifier: MIT */
/* Sends a request to a control endpoint, and collects the answer. */
#include "lab/ask.h"
#include "playground/process.h"
#include <errno.h>
#include <unistd.h>

#define BODY_BYTES_MAX (8u << 20)
#define READ_BYTES     65536

static const struct http_limits limits = HTTP_LIMITS_RESPONSE;

void asker_init(struct asker *a, struct loop *loop,
                void (*answered)(void *arg, int status, struct slice body), void *arg) {
    *a = (struct asker){ .loop = loop, .answered = answered, .arg = arg, .fd = -1 };
    buf_init(&a->out, BODY_BYTES_MAX);
    buf_init(&a->in, BODY_BYTES_MAX);
    buf_init(&a->body, BODY_BYTES_MAX);
}

void asker_close(struct asker *a) {
    if (a->is_open) {
        watch_close(&a->watch);
        close(a->fd);
    }
    a->is_open = a->is_busy = false;
    buf_free(&a->out);
    buf_free(&a->in);
    buf_free(&a->body);
}

/* The body is handed over before it is freed; the caller may ask again at once. */
static void fail(struct asker *a) {
    bool was_busy = a->is_busy;
    asker_close(a);
    if (was_busy)
        a->answered(a->arg, 0, SLICE(""));
}

static void finish(struct asker *a) {
    struct buf body = a->body;
    buf_init(&a->body, BODY_BYTES_MAX);
    a->is_busy = false;
    if (!http_conn_next(&a->http))
        asker_close(a);
    a->answered(a->arg, a->status, buf_unread(&body));
    buf_free(&body);
}

/* Feeds what has come. 1: the answer is complete; 0: more is to come; or -errno. */
static int feed(struct asker *a) {
    for (;;) {
        struct http_head head;
        struct http_event event;
        size_t used = http_conn_feed(&a->http, buf_unread(&a->in), false, &head, &event);
        if (event.kind == HTTP_EV_BAD || event.kind == HTTP_EV_CLOSED)
            return -EPROTO;
        if (event.kind == HTTP_EV_HEAD)
            a->status = head.status;
        int rc = event.kind == HTTP_EV_DATA ? buf_append(&a->body, event.data) : 0;
        buf_consume(&a->in, used);
        if (rc < 0)
            return rc;
        if (event.kind == HTTP_EV_MORE)
            return 0;
        if (event.kind == HTTP_EV_END)
            return 1;
    }
}

static int send_out(struct asker *a) {
    while (buf_unread(&a->out).len > 0) {
        struct slice left = buf_unread(&a->out);
        ssize_t n = watch_send(&a->watch, left.ptr, left.len);
        if (n < 0)
            return n == -EAGAIN ? 0 : (int)n;
        buf_consume(&a->out, (size_t)n);
    }
    return 0;
}

/* 1: an answer is complete; 0: nothing more to be done now; or -errno. */
static int receive(struct asker *a) {
    for (;;) {
        int rc = buf_reserve(&a->in, READ_BYTES);
        if (rc < 0)
            return rc;
        ssize_t n = watch_recv(&a->watch, buf_tail(&a->in), buf_room(&a->in));
        if (n == -EAGAIN)
            return 0;
        if (n <= 0)
            return n == 0 ? -ECONNRESET : (int)n;
        buf_added(&a->in, (size_t)n);
        rc = a->is_busy ? feed(a) : -EPROTO;
        if (rc != 0)
            return rc;
    }
}

static void on_ready(struct watch *watch, unsigned what UNUSED) {
    struct asker *a = CONTAINER_OF(watch, struct asker, watch);
    int rc = send_out(a);
    if (rc == 0)
        rc = receive(a);
    if (rc == 1)
        finish(a);
    else if (rc < 0)
        fail(a);
}

static int open_connection(struct asker *a, const struct address *at) {
    bool pending;
    a->fd = socket_connect(at, &pending);
    if (a->fd < 0)
        return a->fd;
    int rc = watch_open(&a->watch, a->loop, a->fd, on_ready);
    if (rc < 0) {
        close(a->fd);
        return rc;
    }
    if (pending)
        a->watch.ready = 0;
    a->is_open = true;
    http_conn_init(&a->http, HTTP_CLIENT, &limits);
    return 0;
}

int asker_ask(struct asker *a, const char *url, const char *method, const char *path,
              struct slice body) {
    struct address at;
    char host[ADDRESS_TEXT_BYTES];
    if (a->is_busy)
        return -EBUSY;
    int rc = process_address(url, &at);
    if (rc == 0 && !a->is_open)
        rc = open_connection(a, &at);
    if (rc == 0)
        rc = buf_printf(&a->out, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %zu\r\n\r\n",
                        method, path, address_format(&at, host), body.len);
    if (rc == 0)
        rc = buf_append(&a->out, body);
    if (rc == 0) {
        http_conn_sent(&a->http, HTTP_METHOD_GET, false);
        a->is_busy = true;
        a->asked_at = clock_now();
        rc = send_out(a);
    }
    if (rc < 0)
        asker_close(a);
    return rc;
}

void asker_give_up(struct asker *a, nsec_t span) {
    if (a->is_busy && clock_now() - a->asked_at > span)
        fail(a);
}
