/* SPDX-License-Identifier: MIT */
/* The life of one connection of the load: connecting, writing, failing. client_response.c reads. */
#include "loadgen/client.h"
#include "loadgen/worker.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

static const struct http_limits strict_limits = HTTP_LIMITS_RESPONSE;
static const struct http_limits lenient_limits = HTTP_LIMITS_LENIENT(&strict_limits);

enum {
    IN_BYTES_MAX = 2 << 20,  /* above any head that the limits let through */
    ONE_SEGMENT_BYTES = 1200 /* what surely leaves in one packet */
};

static void on_ready(struct watch *watch, unsigned what);
static void on_again(struct deferred *work);

void client_init(struct load_client *c, struct load_worker *w) {
    *c = (struct load_client){ .worker = w, .again = { .run = on_again }, .watch = { .fd = -1 } };
    buf_init(&c->in, IN_BYTES_MAX);
}

void client_close(struct load_client *c) {
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

struct timing client_timing(const struct load_client *c, nsec_t now) {
    worker_look_for_pause(c->worker, now);
    struct timing t = {
        .queue = usec_between(c->planned, c->started),
        .total = usec_between(c->started, now),
        .reused = c->exchanges > 1,
        .disturbed = c->planned < c->worker->pause_ended,
    };
    if (c->state != CLIENT_WAITING && c->state != CLIENT_RECEIVING) {
        t.reused = false; /* the count is still that of the connection before */
        t.connect = t.total;
        return t;
    }
    t.connect = t.reused ? 0 : usec_between(c->started, c->connected);
    t.send = usec_between(t.reused ? c->started : c->connected, c->written);
    t.wait = usec_between(c->written, c->state == CLIENT_RECEIVING ? c->first_byte : now);
    t.phase = PHASE_WAIT;
    if (c->state == CLIENT_RECEIVING) {
        t.phase = PHASE_RECEIVE;
        t.receive = usec_between(c->first_byte, now);
    } else if (c->sent_bytes < c->worker->request_bytes.len) {
        t.phase = PHASE_SEND;
        t.send += t.wait;
        t.wait = 0;
    }
    return t;
}

static bool is_socket_error(enum failure reason) {
    return reason == FAILURE_REFUSED || reason == FAILURE_CONNECT || reason == FAILURE_RESET;
}

/* How many of the addresses are not left out; at least one. */
static size_t addresses_in_use(const struct load_worker *w) {
    size_t count = 0;
    for (size_t i = 0; i < w->target->addresses.count; i++)
        count += w->answers.addresses[i].left_out == 0;
    return count;
}

/* Connections of all workers together take the addresses in use in turns. */
static uint8_t next_address(struct load_worker *w) {
    size_t turn = (w->turn++ * w->share.count + w->share.index) % addresses_in_use(w);
    for (uint8_t i = 0;; i++)
        if (w->answers.addresses[i].left_out == 0 && turn-- == 0)
            return i;
}

/* An address to which no connection was ever made is left out from now on, unless it is the last
 * one: a name may list a family that its server does not listen on. */
static bool leave_address_out(struct load_client *c, int error) {
    struct load_worker *w = c->worker;
    struct answers_address *addresses = w->answers.addresses;
    if (addresses[c->address].left_out != 0)
        return true;
    if (addresses[c->address].connections > 0 || addresses_in_use(w) < 2)
        return false;
    addresses[c->address].left_out = error;
    return true;
}

/* The next attempt comes from a fresh stack, so that failing at once cannot recurse. */
static void client_pause(struct load_client *c) {
    client_close(c);
    c->state = CLIENT_PAUSED;
    loop_defer(c->worker->loop, &c->again);
}

void client_fail(struct load_client *c, enum failure reason, nsec_t now) {
    struct load_worker *w = c->worker;
    struct timing timing = client_timing(c, now);

    client_pause(c);
    timeouts_leave(&c->timeout);
    w->tally.body_bytes += c->body_bytes;
    worker_failed(w, c, reason, &timing, now);
    if (is_socket_error(reason) && !w->config->ignore_errors)
        worker_stop(w, RUN_END_ERROR);
}

/* The backlog of a unix listener is full: connect(2) says so instead of queueing. */
static void retry_later(struct load_client *c, nsec_t now) {
    client_close(c);
    c->state = CLIENT_PAUSED;
    if (timeouts_join(&c->worker->retries, &c->retry, now) != 0)
        worker_stop(c->worker, RUN_END_ERROR);
}

static void connect_failed(struct load_client *c, int rc, nsec_t now) {
    if (rc == -EAGAIN) {
        retry_later(c, now);
    } else if (rc != -ETIMEDOUT && leave_address_out(c, -rc)) {
        client_pause(c); /* the request is still to be sent, elsewhere */
    } else if (rc == -ECONNREFUSED) {
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

void client_expired(struct load_client *c) {
    enum failure reason = FAILURE_TIMEOUT_CONNECT;
    if (c->state == CLIENT_WAITING)
        reason = FAILURE_TIMEOUT_FIRST_BYTE;
    else if (c->state == CLIENT_RECEIVING)
        reason = FAILURE_TIMEOUT_BODY;
    timeouts_leave(&c->retry);
    if (reason == FAILURE_TIMEOUT_CONNECT)
        (void)leave_address_out(c, ETIMEDOUT);
    client_fail(c, reason, clock_now());
}

/* --- connecting and writing ---------------------------------------------------------------- */

/* What most runs do not need, and therefore does not cost them a system call. */
static int set_options(const struct load_worker *w, int fd) {
    const struct loadgen_config *config = w->config;
    int on = 1, bytes = (int)config->window_bytes;
    /* A request of one segment is never held back by Nagle's algorithm, since the response that
     * came before it acknowledged everything: only larger ones need the extra system call. */
    if (w->request_bytes.len > ONE_SEGMENT_BYTES && w->target->is_tcp &&
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
        return -errno;
    if (bytes > 0 && (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)) != 0 ||
                      setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)) != 0))
        return -errno;
    return 0;
}

/* The port is left to connect(2), which knows the destination: each source address then has all
 * ports for it (ip(7), IP_BIND_ADDRESS_NO_PORT). */
static int bind_source(struct load_worker *w, int fd) {
    const struct loadgen_sources *sources = w->sources;
    if (sources == NULL)
        return 0;
    const struct address *from = &sources->addresses[w->source++ % sources->count];
    int on = 1;
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) != 0 ||
        bind(fd, &from->any, from->len) != 0)
        return -errno;
    return 0;
}

static int open_socket(struct load_client *c) {
    struct load_worker *w = c->worker;
    c->address = next_address(w);
    const struct address *to = &w->target->addresses.addresses[c->address];
    int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;

    int rc = set_options(w, fd);
    if (rc == 0)
        rc = bind_source(w, fd);
    if (rc == 0 && connect(fd, &to->any, to->len) != 0 && errno != EINPROGRESS)
        rc = -errno;
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

static void connection_begins(struct load_client *c, nsec_t now) {
    c->connected = c->written = now;
    c->state = CLIENT_WAITING;
    c->worker->tally.connections++;
    c->worker->answers.addresses[c->address].connections++;
}

static void client_connect(struct load_client *c);

/* A reused connection that refuses to take any byte was closed while idle: the request was not
 * sent, so that sending it on a new one is no retry. */
static void write_failed(struct load_client *c, int rc, nsec_t now) {
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
static void client_write(struct load_client *c, nsec_t now) {
    struct load_worker *w = c->worker;
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

static void begin_exchange(struct load_client *c) {
    const struct request *request = c->worker->request;
    c->sent_bytes = c->body_bytes = 0;
    c->matched = 0;
    c->write_failed = false;
    c->exchanges++;
    http_conn_sent(&c->http, request->method, request->close);
}

/* The first write is tried at once: on loopback the connection stands already when connect(2)
 * returns, elsewhere the send says EAGAIN, and reports the error of a connection that could not be
 * made. */
static void client_connect(struct load_client *c) {
    int rc = open_socket(c);
    nsec_t now = clock_now();
    if (rc != 0) {
        connect_failed(c, rc, now);
        return;
    }
    c->state = CLIENT_CONNECTING;
    c->exchanges = 0;
    http_conn_init(&c->http, HTTP_CLIENT,
                   c->worker->config->strict ? &strict_limits : &lenient_limits);
    begin_exchange(c);
    client_write(c, now);
}

/* --- events -------------------------------------------------------------------------------- */

static void on_ready(struct watch *watch, unsigned what) {
    struct load_client *c = CONTAINER_OF(watch, struct load_client, watch);
    (void)what;
    if (c->state == CLIENT_PARTING) {
        client_parting_ready(c);
        return;
    }
    if (c->state == CLIENT_RESTING) {
        client_resting_ready(c);
        return;
    }
    bool unsent = c->sent_bytes < c->worker->request_bytes.len && !c->write_failed;
    if (unsent && (c->watch.ready & IO_WRITE))
        client_write(c, clock_now());
    client_read(c);
}

static void go_on(struct load_client *c) {
    c->state = CLIENT_IDLE;
    if (c->holds_request)
        client_connect(c);
    else
        client_start(c, clock_now());
}

void client_retry_expired(struct load_client *c) {
    if (c->state == CLIENT_PAUSED)
        go_on(c);
}

static void on_again(struct deferred *work) {
    struct load_client *c = CONTAINER_OF(work, struct load_client, again);
    if (c->worker->stopping)
        return;
    if (c->state == CLIENT_PAUSED)
        go_on(c);
    else
        client_read(c);
}

/* An open connection is kept for the next planned request, unless the run is over. */
static void client_rest(struct load_client *c) {
    struct load_worker *w = c->worker;
    timeouts_leave(&c->timeout);
    if (w->stopping || !plan_is_open(&w->plan) || c->state == CLIENT_IDLE)
        client_close(c);
    else
        c->state = CLIENT_RESTING;
    worker_client_rests(w, c);
}

void client_start(struct load_client *c, nsec_t now) {
    struct load_worker *w = c->worker;
    if (w->stopping || !worker_take(w, now, c)) {
        client_rest(c);
        return;
    }
    c->holds_request = true;
    c->started = now;
    c->body_bytes = 0;
    if (timeouts_join(&w->timeouts, &c->timeout, now) != 0) {
        worker_stop(w, RUN_END_ERROR);
        return;
    }
    if (c->state == CLIENT_IDLE) {
        client_connect(c);
        return;
    }
    c->state = CLIENT_WAITING;
    c->written = now;
    begin_exchange(c);
    client_write(c, now);
}
