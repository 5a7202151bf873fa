/* SPDX-License-Identifier: MIT */
/* The state machine of one connection of the load. */
#include "loadgen/client.h"
#include "http/error.h"
#include "loadgen/verbose.h"
#include "loadgen/worker.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

static const struct http_limits response_limits = HTTP_LIMITS_RESPONSE;

enum {
    IN_BYTES_MAX = 1 << 20,  /* above any head that the limits let through */
    IN_BYTES_STEP = 4096,    /* room for the rest of an unfinished head */
    ONE_SEGMENT_BYTES = 1200 /* what surely leaves in one packet */
};

static void on_ready(struct watch *watch, unsigned what);
static void on_again(struct deferred *work);

void client_init(struct client *c, struct worker *w) {
    *c = (struct client){ .worker = w, .again = { .run = on_again }, .watch = { .fd = -1 } };
    buf_init(&c->in, IN_BYTES_MAX);
}

void client_close(struct client *c) {
    buf_free(&c->in);
    if (c->state == CLIENT_IDLE || c->state == CLIENT_PAUSED)
        return;
    watch_close(&c->watch);
    close(c->watch.fd);
    c->state = CLIENT_IDLE;
}

/* --- ends ---------------------------------------------------------------------------------- */

static int64_t usec_between(nsec_t from, nsec_t to) {
    return (to - from + NSEC_PER_USEC / 2) / NSEC_PER_USEC;
}

static bool is_socket_error(enum failure reason) {
    return reason == FAILURE_REFUSED || reason == FAILURE_CONNECT || reason == FAILURE_RESET;
}

/* The first address that answers is the one to load: before that, the next one may be better. */
static bool moves_to_next_address(struct client *c) {
    struct worker *w = c->worker;
    if (w->tally.connections > 0 || c->address + 1U >= w->target->addresses.count)
        return false;
    if (w->address == c->address)
        w->address++;
    return true;
}

/* The next attempt comes from a fresh stack, so that failing at once cannot recurse. */
static void client_pause(struct client *c) {
    client_close(c);
    c->state = CLIENT_PAUSED;
    loop_defer(c->worker->loop, &c->again);
}

static void client_fail(struct client *c, enum failure reason, nsec_t now) {
    struct worker *w = c->worker;
    bool connecting = c->state != CLIENT_WAITING && c->state != CLIENT_RECEIVING;
    struct timing timing = { .total = usec_between(c->started, now) };
    timing.connect = connecting ? timing.total : usec_between(c->started, c->connected);
    if (!connecting)
        timing.wait = usec_between(c->written, c->state == CLIENT_RECEIVING ? c->first_byte : now);

    client_pause(c);
    if (connecting && moves_to_next_address(c))
        return;
    c->holds_request = false;
    timeouts_leave(&c->timeout);
    w->tally.body_bytes += c->body_bytes;
    tally_failure(&w->tally, reason, &timing);
    worker_request_ended(w, now);
    if (is_socket_error(reason) && !w->config->ignore_errors)
        worker_stop(w, WORKER_END_ERROR);
}

static void connect_failed(struct client *c, int rc, nsec_t now) {
    if (rc == -ECONNREFUSED) {
        client_fail(c, FAILURE_REFUSED, now);
    } else if (rc == -ETIMEDOUT) {
        client_fail(c, FAILURE_TIMEOUT_CONNECT, now);
    } else if (rc == -ECONNRESET) {
        client_fail(c, FAILURE_RESET, now);
    } else {
        c->worker->tally.connect_errno = -rc;
        client_fail(c, FAILURE_CONNECT, now);
    }
}

static enum failure closed_reason(const struct client *c) {
    if (c->state == CLIENT_RECEIVING)
        return FAILURE_TRUNCATED;
    return c->exchanges > 1 ? FAILURE_CLOSED_REUSED : FAILURE_CLOSED_EARLY;
}

void client_expired(struct client *c) {
    enum failure reason = FAILURE_TIMEOUT_CONNECT;
    if (c->state == CLIENT_WAITING)
        reason = FAILURE_TIMEOUT_FIRST_BYTE;
    else if (c->state == CLIENT_RECEIVING)
        reason = FAILURE_TIMEOUT_BODY;
    client_fail(c, reason, clock_now());
}

/* --- connecting and writing ---------------------------------------------------------------- */

static int open_socket(struct client *c) {
    struct worker *w = c->worker;
    c->address = (uint8_t)w->address;
    const struct address *to = &w->target->addresses.addresses[c->address];
    int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;

    /* A request of one segment is never held back by Nagle's algorithm, since the response that
     * came before it acknowledged everything: only larger ones need the extra system call. */
    int on = 1;
    int rc = 0;
    if (w->request_bytes.len > ONE_SEGMENT_BYTES)
        rc = setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (rc == 0)
        rc = connect(fd, &to->any, to->len);
    rc = rc == 0 || errno == EINPROGRESS ? 0 : -errno;
    if (rc == 0)
        rc = watch_open(&c->watch, w->loop, fd, on_ready);
    if (rc != 0) {
        close(fd);
        return rc;
    }
    /* Nothing is there to be read yet, and if it is, the registration reports it. */
    c->watch.ready &= ~(unsigned)IO_READ;
    return 0;
}

static void connection_begins(struct client *c, nsec_t now) {
    c->connected = now;
    c->state = CLIENT_WAITING;
    c->worker->tally.connections++;
}

static void client_connect(struct client *c);

/* A reused connection that refuses to take any byte was closed while idle: the request was not
 * sent, so that sending it on a new one is no retry. */
static void write_failed(struct client *c, int rc, nsec_t now) {
    if (c->state == CLIENT_CONNECTING) {
        connect_failed(c, rc, now);
    } else if (c->exchanges > 1 && c->sent_bytes == 0) {
        c->worker->tally.reconnects++;
        client_close(c);
        client_connect(c);
    } else {
        /* It may have answered before it stopped listening: that answer counts. */
        c->write_failed = true;
        loop_defer(c->worker->loop, &c->again);
    }
}

/* `now` is also taken for the end of writing: on loopback the server may answer within the system
 * call. */
static void client_write(struct client *c, nsec_t now) {
    struct worker *w = c->worker;
    while (c->sent_bytes < w->request_bytes.len) {
        struct slice left = slice_drop(w->request_bytes, c->sent_bytes);
        ssize_t n = watch_send(&c->watch, left.ptr, left.len);
        if (n == -EAGAIN)
            return;
        if (n < 0) {
            write_failed(c, (int)n, now);
            return;
        }
        if (c->state == CLIENT_CONNECTING)
            connection_begins(c, now);
        c->sent_bytes += (size_t)n;
        c->written = now;
        w->tally.bytes_sent += (size_t)n;
    }
}

static void begin_exchange(struct client *c) {
    const struct request *request = c->worker->request;
    c->sent_bytes = c->body_bytes = 0;
    c->write_failed = false;
    c->exchanges++;
    http_conn_sent(&c->http, request->method, request->close);
}

/* The first write is tried at once: on loopback the connection stands already when connect(2)
 * returns, elsewhere the send says EAGAIN, and reports the error of a connection that could not be
 * made. */
static void client_connect(struct client *c) {
    int rc = open_socket(c);
    nsec_t now = clock_now();
    if (rc != 0) {
        connect_failed(c, rc, now);
        return;
    }
    c->state = CLIENT_CONNECTING;
    c->exchanges = 0;
    http_conn_init(&c->http, HTTP_CLIENT, &response_limits);
    begin_exchange(c);
    client_write(c, now);
}

/* --- reading ------------------------------------------------------------------------------- */

/* Waiting for the server to close first leaves TIME_WAIT, and the port, on its side: a client that
 * closes first runs out of ports. A server that does not close is not waited for twice. */
static bool waits_for_close(struct client *c) {
    struct worker *w = c->worker;
    if (!w->server_closes || w->plan.left == 0 || (c->watch.ready & IO_HANGUP))
        return false;
    return watch_recv(&c->watch, w->in, WORKER_IN_BYTES) == -EAGAIN;
}

static void client_part(struct client *c, nsec_t now) {
    if (waits_for_close(c) && timeouts_join(&c->worker->partings, &c->timeout, now) == 0) {
        c->state = CLIENT_PARTING;
        return;
    }
    client_close(c);
    client_start(c, now);
}

void client_parting_expired(struct client *c) {
    c->worker->server_closes = false;
    client_close(c);
    client_start(c, clock_now());
}

static void parting_ready(struct client *c) {
    struct worker *w = c->worker;
    ssize_t n = watch_recv(&c->watch, w->in, WORKER_IN_BYTES);
    if (n > 0 || n == -EAGAIN)
        return;
    client_close(c);
    client_start(c, clock_now());
}

/* `clean`: nothing was received beyond the response. */
static void response_ended(struct client *c, bool clean, nsec_t now) {
    struct worker *w = c->worker;
    struct timing timing = {
        .connect = c->exchanges == 1 ? usec_between(c->started, c->connected) : 0,
        .wait = usec_between(c->written, c->first_byte),
        .total = usec_between(c->started, now),
    };
    tally_response(&w->tally, &timing, c->status, c->body_bytes, !w->config->variable_length);
    w->tally.body_bytes += c->body_bytes;
    c->holds_request = false;
    worker_request_ended(w, now);

    bool complete = c->sent_bytes == w->request_bytes.len;
    bool keeps = http_conn_next(&c->http) && complete && clean;
    if (!keeps) {
        client_part(c, now);
        return;
    }
    w->tally.kept_alive++;
    if (c->watch.ready & IO_HANGUP) {
        w->tally.reconnects++;
        client_close(c);
    }
    client_start(c, now);
}

static void on_head(struct client *c, const struct http_head *head) {
    struct worker *w = c->worker;
    c->status = head->status;
    if (!w->tally.has_document)
        tally_server(&w->tally, head);
    if (w->config->verbosity >= VERBOSE_STATUS)
        verbose_response(head, w->config->verbosity);
}

/* Keeps what belongs to an unfinished head or line. */
static int keep_rest(struct client *c, struct slice all, struct slice rest) {
    if (buf_unread(&c->in).len == 0)
        return rest.len == 0 ? 0 : buf_append(&c->in, rest);
    buf_consume(&c->in, all.len - rest.len);
    if (rest.len == 0)
        buf_free(&c->in);
    return 0;
}

static void client_feed(struct client *c, struct slice input, bool eof, nsec_t now) {
    struct slice rest = input;
    struct http_head head;
    struct http_event ev;
    for (;;) {
        rest = slice_drop(rest, http_conn_feed(&c->http, rest, eof, &head, &ev));
        switch (ev.kind) {
        case HTTP_EV_INTERIM:
            break;
        case HTTP_EV_HEAD:
            on_head(c, &head);
            break;
        case HTTP_EV_DATA:
            c->body_bytes += ev.data.len;
            break;
        case HTTP_EV_MORE:
            if (keep_rest(c, input, rest) != 0)
                client_fail(c, FAILURE_BAD_RESPONSE, now);
            return;
        case HTTP_EV_END:
            buf_free(&c->in);
            response_ended(c, rest.len == 0, now);
            return;
        case HTTP_EV_CLOSED:
            client_fail(c, closed_reason(c), now);
            return;
        case HTTP_EV_BAD:
            client_fail(c, ev.why == http_err_truncated ? closed_reason(c) : FAILURE_BAD_RESPONSE,
                        now);
            return;
        }
    }
}

/* What came last from a connection with an unfinished head goes behind it; all else goes to the
 * shared buffer. */
static ssize_t client_recv(struct client *c, struct slice *ret_input) {
    struct worker *w = c->worker;
    if (buf_unread(&c->in).len == 0) {
        ssize_t n = watch_recv(&c->watch, w->in, WORKER_IN_BYTES);
        *ret_input = slice_of(w->in, n > 0 ? (size_t)n : 0);
        return n;
    }
    int rc = buf_reserve(&c->in, IN_BYTES_STEP);
    if (rc != 0)
        return rc;
    ssize_t n = watch_recv(&c->watch, buf_tail(&c->in), buf_room(&c->in));
    if (n > 0)
        buf_added(&c->in, (size_t)n);
    *ret_input = buf_unread(&c->in);
    return n;
}

static void client_read(struct client *c) {
    while (c->state == CLIENT_WAITING || c->state == CLIENT_RECEIVING) {
        struct slice input = { NULL, 0 };
        ssize_t n = client_recv(c, &input);
        if (n == -EAGAIN && !c->write_failed)
            return;
        nsec_t now = clock_now();
        if (n == -ENOBUFS || n == -ENOMEM) {
            client_fail(c, FAILURE_BAD_RESPONSE, now);
            return;
        }
        if (n < 0 || (n == 0 && c->write_failed)) {
            client_fail(c, FAILURE_RESET, now);
            return;
        }
        if (n > 0 && c->state == CLIENT_WAITING) {
            c->state = CLIENT_RECEIVING;
            c->first_byte = now;
        }
        c->worker->tally.bytes_received += (size_t)n;
        client_feed(c, input, n == 0, now);
    }
}

/* --- events -------------------------------------------------------------------------------- */

static void on_ready(struct watch *watch, unsigned what) {
    struct client *c = CONTAINER_OF(watch, struct client, watch);
    (void)what;
    if (c->state == CLIENT_PARTING) {
        parting_ready(c);
        return;
    }
    bool unsent = c->sent_bytes < c->worker->request_bytes.len && !c->write_failed;
    if (unsent && (c->watch.ready & IO_WRITE))
        client_write(c, clock_now());
    client_read(c);
}

static void on_again(struct deferred *work) {
    struct client *c = CONTAINER_OF(work, struct client, again);
    if (c->state != CLIENT_PAUSED) {
        client_read(c);
        return;
    }
    c->state = CLIENT_IDLE;
    if (c->holds_request)
        client_connect(c);
    else
        client_start(c, clock_now());
}

void client_start(struct client *c, nsec_t now) {
    struct worker *w = c->worker;
    if (w->stopping || !plan_take(&w->plan)) {
        timeouts_leave(&c->timeout);
        client_close(c);
        worker_client_rests(w);
        return;
    }
    c->holds_request = true;
    c->started = now;
    c->body_bytes = 0;
    if (timeouts_join(&w->timeouts, &c->timeout, now) != 0) {
        worker_stop(w, WORKER_END_ERROR);
        return;
    }
    if (c->state == CLIENT_IDLE) {
        client_connect(c);
        return;
    }
    c->state = CLIENT_WAITING;
    begin_exchange(c);
    client_write(c, now);
}
