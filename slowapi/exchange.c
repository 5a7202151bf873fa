/* SPDX-License-Identifier: MIT */
/* Life of an exchange: its deadlines, its answer, and how it ends. */
#include "slowapi/exchange.h"
#include "base/alloc.h"
#include "slowapi/answer.h"
#include "slowapi/reactor.h"
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <unistd.h>

static_assert(sizeof(struct exchange) <= 512, "a sleeping request is to cost well below 1 KB");

static void on_later(struct deferred *later) {
    struct exchange *e = CONTAINER_OF(later, struct exchange, later);

    if (e->state == EXCHANGE_CLOSED)
        mem_free(e);
    else
        exchange_read(e);
}

static void link_to_reactor(struct exchange *e, struct reactor *r) {
    e->reactor = r;
    e->next = r->exchanges;
    if (e->next != NULL)
        e->next->prev = e;
    r->exchanges = e;
    r->open_count++;
}

static void unlink_from_reactor(struct exchange *e) {
    if (e->prev != NULL)
        e->prev->next = e->next;
    else
        e->reactor->exchanges = e->next;
    if (e->next != NULL)
        e->next->prev = e->prev;
    reactor_left(e->reactor);
}

void exchange_close(struct exchange *e) {
    if (e->state == EXCHANGE_CLOSED)
        return;

    e->state = EXCHANGE_CLOSED;
    timer_cancel(e->reactor->loop, &e->timer);
    watch_close(&e->watch);
    close(e->watch.fd);
    buf_free(&e->in);
    buf_free(&e->out);
    mem_free(e->refusal);
    unlink_from_reactor(e);
    loop_defer(e->reactor->loop, &e->later);
}

/* A deadline that moves away, as that of every request on a kept connection does, is only noted:
 * the timer finds out when it fires. */
void exchange_enter(struct exchange *e, enum exchange_state state, nsec_t deadline) {
    e->state = (uint8_t)state;
    e->deadline = deadline;
    if (timer_armed(&e->timer) && e->timer.at <= deadline)
        return;
    if (timer_set(e->reactor->loop, &e->timer, deadline) < 0)
        exchange_close(e);
}

static nsec_t after(const struct exchange *e, nsec_t span) {
    return deadline_after(loop_now(e->reactor->loop), span);
}

/* --- answering -------------------------------------------------------------------------------- */

static void linger(struct exchange *e) {
    buf_free(&e->in);
    if (shutdown(e->watch.fd, SHUT_WR) < 0)
        exchange_close(e);
    else
        exchange_enter(e, EXCHANGE_LINGER, after(e, SLOWAPI_LINGER_TIME));
}

/* The answer is written. Closing while input is unread would make the kernel reset the connection,
 * and a reset can overtake the answer. */
static void finish(struct exchange *e) {
    bool is_read = e->conn.phase == HTTP_PHASE_DONE && (e->eof || !(e->watch.ready & IO_READ));

    mem_free(e->refusal);
    e->refusal = NULL;
    if (http_conn_next(&e->conn))
        exchange_enter(e, EXCHANGE_IDLE, after(e, e->reactor->config->keep_alive));
    else if (is_read)
        exchange_close(e);
    else
        linger(e);
}

static void send_first(struct exchange *e, struct slice bytes) {
    ssize_t n = watch_send(&e->watch, bytes.ptr, bytes.len);
    if (n == (ssize_t)bytes.len) {
        finish(e);
        return;
    }

    bool is_full = n >= 0 || n == -EAGAIN;
    if (is_full && buf_append(&e->out, slice_drop(bytes, n > 0 ? (size_t)n : 0)) == 0)
        exchange_enter(e, EXCHANGE_SEND, after(e, SLOWAPI_SEND_TIMEOUT));
    else
        exchange_close(e);
}

static void send_rest(struct exchange *e) {
    struct slice rest = buf_unread(&e->out);

    ssize_t n = watch_send(&e->watch, rest.ptr, rest.len);
    if (n == -EAGAIN)
        return;
    if (n < 0) {
        exchange_close(e);
        return;
    }
    buf_consume(&e->out, (size_t)n);
    if ((size_t)n == rest.len) {
        buf_free(&e->out);
        finish(e);
    }
}

static void answer(struct exchange *e, uint16_t status, struct slice text, bool last) {
    struct reactor *r = e->reactor;
    const struct answer a = {
        .status = status,
        .text = text,
        .close = last || r->draining || r->config->keep_alive == 0,
    };

    buf_consume(&r->out, buf_unread(&r->out).len);
    if (answer_encode(&r->out, &e->conn, &a) < 0)
        exchange_close(e);
    else
        send_first(e, buf_unread(&r->out));
}

void exchange_answer(struct exchange *e) {
    struct slice text = e->refusal != NULL ? slice_str(e->refusal) : SLICE("slow api response");

    answer(e, e->status, text, false);
}

void exchange_refuse(struct exchange *e, uint16_t status, const char *text) {
    answer(e, status, slice_str(text), true);
}

/* --- sleeping --------------------------------------------------------------------------------- */

/* A client that has shut its side only (FIN) may still wait for the answer; one that reset the
 * connection, or closed a unix socket, cannot get it any more. poll(2) tells them apart. */
static bool is_gone(int fd) {
    struct pollfd p = { .fd = fd };

    return poll(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLHUP)) != 0;
}

/* The clock is read again: counted from the begin of the turn, a request that came late in it would
 * be answered too early. A hang-up that came along with the request is not told again. */
void exchange_sleep(struct exchange *e) {
    if ((e->watch.ready & IO_HANGUP) && is_gone(e->watch.fd))
        exchange_close(e);
    else
        exchange_enter(e, EXCHANGE_SLEEP, deadline_after(clock_now(), e->delay));
}

/* --- events ----------------------------------------------------------------------------------- */

static void on_ready(struct watch *watch, unsigned what) {
    struct exchange *e = CONTAINER_OF(watch, struct exchange, watch);

    switch ((enum exchange_state)e->state) {
    case EXCHANGE_SLEEP: /* what came stays in the kernel: that bounds it */
        if ((what & (IO_READ | IO_HANGUP)) && is_gone(watch->fd))
            exchange_close(e);
        return;
    case EXCHANGE_SEND:
        if (what & IO_WRITE)
            send_rest(e);
        break;
    case EXCHANGE_IDLE:
    case EXCHANGE_HEAD:
    case EXCHANGE_BODY:
    case EXCHANGE_LINGER:
    case EXCHANGE_CLOSED:
        break;
    }
    exchange_read(e);
}

static void on_deadline(struct timer *timer) {
    struct exchange *e = CONTAINER_OF(timer, struct exchange, timer);

    if (loop_now(e->reactor->loop) < e->deadline) { /* it moved since the timer was set */
        exchange_enter(e, (enum exchange_state)e->state, e->deadline);
        return;
    }
    switch ((enum exchange_state)e->state) {
    case EXCHANGE_SLEEP:
        exchange_answer(e);
        break;
    case EXCHANGE_HEAD:
        exchange_refuse(e, 408, "the request head took too long");
        break;
    case EXCHANGE_BODY:
        exchange_refuse(e, 408, "the request body took too long");
        break;
    case EXCHANGE_IDLE:
    case EXCHANGE_SEND:
    case EXCHANGE_LINGER:
    case EXCHANGE_CLOSED:
        exchange_close(e);
        break;
    }
    exchange_read(e);
}

/* --- beginning and end ------------------------------------------------------------------------ */

static int start(struct exchange *e, struct reactor *r, int fd) {
    nsec_t patience = r->config->keep_alive;

    if (patience < r->config->header_timeout)
        patience = r->config->header_timeout;

    int rc = watch_open(&e->watch, r->loop, fd, on_ready);
    if (rc < 0)
        return rc;

    /* The request is seldom there yet: its arrival is told, a try would be a system call for
     * nothing. */
    watch_drained(&e->watch, IO_READ);
    e->timer.fire = on_deadline;
    e->later.run = on_later;
    http_conn_init(&e->conn, HTTP_SERVER, &r->limits);
    buf_init(&e->in, r->limits.head_bytes + 2 * SLOWAPI_RECV_BYTES);
    buf_init(&e->out, SLOWAPI_ANSWER_BYTES);
    link_to_reactor(e, r);
    exchange_enter(e, EXCHANGE_IDLE, deadline_after(loop_now(r->loop), patience));
    return 0;
}

void exchange_open(struct reactor *r, int fd) {
    static struct log_rate rate = { .per_second = 1 };

    struct exchange *e = mem_calloc(1, sizeof(*e));
    int rc = e != NULL ? start(e, r, fd) : -ENOMEM;
    if (rc == 0)
        return;

    log_limited(&rate, LOG_LEVEL_ERROR, "connection dropped error=\"%s\"", strerror(-rc));
    mem_free(e);
    close(fd);
}

void exchange_drain_all(struct reactor *r) {
    for (struct exchange *e = r->exchanges, *next; e != NULL; e = next) {
        next = e->next;
        if (e->state == EXCHANGE_IDLE)
            exchange_close(e);
    }
}

void exchange_close_all(struct reactor *r) {
    while (r->exchanges != NULL)
        exchange_close(r->exchanges);
}
