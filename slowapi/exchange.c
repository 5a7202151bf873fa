/* SPDX-License-Identifier: MIT */
/* Life of an exchange: its deadlines, its request in flight, and how it ends. */
#include "slowapi/exchange.h"
#include "base/alloc.h"
#include "slowapi/journal.h"
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
    atomic_fetch_add_explicit(&r->planner.truth.slot->open, 1, memory_order_relaxed);
}

static void unlink_from_reactor(struct exchange *e) {
    if (e->prev != NULL)
        e->prev->next = e->next;
    else
        e->reactor->exchanges = e->next;
    if (e->next != NULL)
        e->next->prev = e->prev;
    atomic_fetch_sub_explicit(&e->reactor->planner.truth.slot->open, 1, memory_order_relaxed);
    reactor_left(e->reactor);
}

void exchange_close(struct exchange *e) {
    if (e->state == EXCHANGE_CLOSED)
        return;

    exchange_settle(e, "dropped");
    e->state = EXCHANGE_CLOSED;
    timer_cancel(e->reactor->loop, &e->timer);
    watch_close(&e->watch);
    close(e->watch.fd);
    buf_free(&e->in);
    buf_free(&e->out);
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

static nsec_t patience(const struct reactor *r) {
    nsec_t keep_alive = r->config->keep_alive, head = r->config->header_timeout;

    return keep_alive < head ? head : keep_alive;
}

static nsec_t after(const struct exchange *e, nsec_t span) {
    return deadline_after(loop_now(e->reactor->loop), span);
}

/* --- requests in flight ------------------------------------------------------------------------
 */

void exchange_begin(struct exchange *e) {
    e->in_flight = true;
    e->is_timed = false;
    e->client_left = false;
    truth_begin(&e->reactor->planner.truth);
}

void exchange_settle(struct exchange *e, const char *outcome) {
    struct reactor *r = e->reactor;
    uint16_t status = 200;

    if (!e->in_flight)
        return;
    e->in_flight = false;
    if (e->reply != NULL)
        status = e->reply->phase != REPLY_HEAD ? e->reply->status : 0;
    if (e->client_left)
        truth_count(&r->planner.truth, TRUTH_CLIENT_ABORTS);
    truth_end(&r->planner.truth, e->is_timed ? status : 0);
    if (r->access_log >= 0 && e->reply != NULL)
        journal_write(r->access_log, e->reply, e->client_left ? "aborted" : outcome);
    reply_free(e->reply);
    e->reply = NULL;
}

void exchange_linger(struct exchange *e) {
    exchange_settle(e, "closed");
    buf_free(&e->in);
    if (shutdown(e->watch.fd, SHUT_WR) < 0)
        exchange_close(e);
    else
        exchange_enter(e, EXCHANGE_LINGER, after(e, SLOWAPI_LINGER_TIME));
}

void exchange_reset(struct exchange *e) {
    const struct linger now = { .l_onoff = 1 };

    exchange_settle(e, "reset");
    setsockopt(e->watch.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    exchange_close(e);
}

/* --- sleeping --------------------------------------------------------------------------------- */

/* A client that has shut its side only (FIN) may still wait for the answer; one that reset the
 * connection, or closed a unix socket, cannot get it any more. poll(2) tells them apart. */
static bool is_gone(int fd) {
    struct pollfd p = { .fd = fd };

    return poll(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLHUP)) != 0;
}

static void leave(struct exchange *e) {
    e->client_left = true;
    exchange_close(e);
}

/* The clock is read again: counted from the begin of the turn, a request that came late in it would
 * be answered too early. A hang-up that came along with the request is not told again. */
void exchange_sleep(struct exchange *e) {
    if ((e->watch.ready & IO_HANGUP) && is_gone(e->watch.fd))
        leave(e);
    else
        exchange_enter(e, EXCHANGE_SLEEP, deadline_after(clock_now(), e->delay));
}

/* --- events ----------------------------------------------------------------------------------- */

static void on_ready(struct watch *watch, unsigned what) {
    struct exchange *e = CONTAINER_OF(watch, struct exchange, watch);

    switch ((enum exchange_state)e->state) {
    case EXCHANGE_SLEEP: /* what came stays in the kernel: that bounds it */
        if (what & IO_HANGUP)
            e->client_left = true;
        if ((what & (IO_READ | IO_HANGUP)) && is_gone(watch->fd))
            leave(e);
        return;
    case EXCHANGE_HANG: /* nothing would ever be sent to one that has shut its side */
        if (what & IO_HANGUP)
            leave(e);
        return;
    case EXCHANGE_SEND:
        if (what & IO_WRITE)
            exchange_send(e);
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
    case EXCHANGE_HANG: /* of a connection that was to be left alone at first */
        exchange_enter(e, EXCHANGE_IDLE, after(e, patience(e->reactor)));
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
    buf_init(&e->out, SLOWAPI_OUT_BYTES);
    link_to_reactor(e, r);
    exchange_enter(e, EXCHANGE_IDLE, deadline_after(loop_now(r->loop), patience(r)));
    return 0;
}

/* Faults that strike a connection as such. */
static void strike_accepted(struct exchange *e, const struct fault *fault) {
    struct reactor *r = e->reactor;
    struct fault copy = *fault;

    if (fault->place != FAULT_AT_ACCEPT || rng_unit(&r->planner.rng) >= fault->probability)
        return;
    reply_strike(&copy, &r->planner.truth);
    if (fault->kind == FAULT_SLOWACCEPT)
        reactor_pause_accepting(r, e->bind, fault->arg);
    else if (fault->kind == FAULT_FIN)
        exchange_linger(e);
    else if (fault->kind == FAULT_HANG)
        exchange_enter(e, EXCHANGE_HANG, deadline_after(clock_now(), fault->arg));
    else
        exchange_reset(e);
}

static uint64_t hash_peer(const struct address *peer) {
    if (peer->any.sa_family == AF_INET)
        return hash_bytes(HASH_SEED, &peer->v4.sin_addr, sizeof(peer->v4.sin_addr));
    if (peer->any.sa_family == AF_INET6)
        return hash_bytes(HASH_SEED, &peer->v6.sin6_addr, sizeof(peer->v6.sin6_addr));
    return HASH_SEED;
}

void exchange_open(struct reactor *r, int fd, unsigned bind, const struct address *peer) {
    static struct log_rate rate = { .per_second = 1 };
    const struct spec *defaults = &r->planner.defaults[bind];

    struct exchange *e = mem_calloc(1, sizeof(*e));
    int rc = e != NULL ? start(e, r, fd) : -ENOMEM;
    if (rc < 0) {
        log_limited(&rate, LOG_LEVEL_ERROR, "connection dropped error=\"%s\"", strerror(-rc));
        mem_free(e);
        close(fd);
        return;
    }
    e->bind = (uint8_t)bind;
    e->client = hash_peer(peer);
    truth_count(&r->planner.truth, TRUTH_CONNECTIONS);
    for (size_t i = 0; i < defaults->fault_count && e->state == EXCHANGE_IDLE; i++)
        strike_accepted(e, &defaults->faults[i]);
}

void exchange_drain_all(struct reactor *r) {
    for (struct exchange *e = r->exchanges, *next; e != NULL; e = next) {
        next = e->next;
        if (e->state == EXCHANGE_IDLE || e->state == EXCHANGE_HANG)
            exchange_close(e);
    }
}

void exchange_close_all(struct reactor *r) {
    while (r->exchanges != NULL)
        exchange_close(r->exchanges);
}
