/* SPDX-License-Identifier: MIT */
/* One exchange from accept to close: reads the request, waits, answers step by step. */
#include "slowapi/exchange.h"
#include "base/alloc.h"
#include "http/error.h"
#include "slowapi/journal.h"
#include "slowapi/plan.h"
#include "slowapi/reactor.h"
#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Least room for more of a head that is being kept; the buffer doubles from there. */
#define ROOM_BYTES 2048

static_assert(sizeof(struct exchange) <= 512, "a sleeping request is to cost well below 1 KB");

/* One callback does no more than so much for one connection: then the others have their turn. */
static bool is_tired(const struct exchange *e) {
    return e->work_bytes >= SLOWAPI_TURN_BYTES;
}

/* --- requests in flight ----------------------------------------------------------------------- */

static void begin_request(struct exchange *e) {
    e->in_flight = true;
    e->is_timed = false;
    e->client_left = false;
    truth_begin(&e->reactor->planner.truth);
}

/* What is made of the body and has not reached the kernel was not sent. */
static uint64_t sent_bytes(const struct exchange *e) {
    uint64_t made = e->reply != NULL ? e->reply->body_bytes : 0, held = buf_unread(&e->out).len;

    return made > held ? made - held : 0;
}

/* `status`: that went out, 0: none did. */
static void log_request(struct exchange *e, const char *outcome, uint16_t status) {
    static struct log_rate rate = { .per_second = 1 };
    struct reactor *r = e->reactor;

    if (r->access_log == NULL)
        return;
    const struct journal_facts facts = {
        .client = e->peer,
        .outcome = e->client_left ? "aborted" : outcome,
        .status = status,
        .has_begun = e->is_timed,
        .bytes = sent_bytes(e),
    };
    if (journal_write(r->access_log, e->reply, &facts))
        return;
    truth_count(&r->planner.truth, TRUTH_LOG_DROPPED);
    log_limited(&rate, LOG_LEVEL_WARN, "access log lines were dropped");
}

/* Ends the request in flight: counts and logs it, and frees its plan. `outcome` is for the log. */
static void settle_with(struct exchange *e, const char *outcome, uint16_t status) {
    struct reactor *r = e->reactor;

    if (!e->in_flight)
        return;
    e->in_flight = false;
    if (e->client_left)
        truth_count(&r->planner.truth, TRUTH_CLIENT_ABORTS);
    truth_end(&r->planner.truth, e->is_timed ? status : 0);
    log_request(e, outcome, status);
    reply_free(e->reply);
    e->reply = NULL;
}

static void settle(struct exchange *e, const char *outcome) {
    const struct reply *reply = e->reply;
    uint16_t status = 200;

    if (reply != NULL)
        status = reply->phase != REPLY_HEAD ? reply->status : 0;
    settle_with(e, outcome, status);
}

/* --- states ----------------------------------------------------------------------------------- */

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

static void drop(struct exchange *e) {
    if (e->state == EXCHANGE_CLOSED)
        return;

    settle(e, "dropped");
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
static void enter(struct exchange *e, enum exchange_state state, nsec_t deadline) {
    e->state = (uint8_t)state;
    e->deadline = deadline;
    if (timer_armed(&e->timer) && e->timer.at <= deadline)
        return;
    if (timer_set(e->reactor->loop, &e->timer, deadline) < 0)
        drop(e);
}

static nsec_t patience(const struct reactor *r) {
    nsec_t keep_alive = r->config->keep_alive, head = r->config->header_timeout;

    return keep_alive < head ? head : keep_alive;
}

static nsec_t after(const struct exchange *e, nsec_t span) {
    return deadline_after(loop_now(e->reactor->loop), span);
}

/* Closes our side; what the client still sends is thrown away, so that no reset overtakes. */
static void linger(struct exchange *e) {
    settle(e, "closed");
    buf_free(&e->in);
    if (shutdown(e->watch.fd, SHUT_WR) < 0)
        drop(e);
    else
        enter(e, EXCHANGE_LINGER, after(e, SLOWAPI_LINGER_TIME));
}

static void reset(struct exchange *e, const char *outcome) {
    const struct linger now = { .l_onoff = 1 };

    settle(e, outcome);
    setsockopt(e->watch.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    drop(e);
}

/* --- sleeping --------------------------------------------------------------------------------- */

static void leave(struct exchange *e) {
    e->client_left = true;
    drop(e);
}

/* Whether nobody waits for the answer any more. A FIN alone may come from a client that has shut
 * its sending side only, which --half-close decides. A reset connection and a closed unix socket
 * cannot take an answer; poll(2) tells them from a FIN. */
static bool is_gone(const struct exchange *e) {
    struct pollfd p = { .fd = e->watch.fd };

    if ((e->watch.ready & IO_HANGUP) && e->reactor->config->half_close == HALF_CLOSE_GONE)
        return true;
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLHUP)) != 0;
}

/* A hang-up that came before is not told again, so it is looked for here. */
static void sleep_until(struct exchange *e, nsec_t at) {
    if ((e->watch.ready & IO_HANGUP) && is_gone(e))
        leave(e);
    else
        enter(e, EXCHANGE_SLEEP, at);
}

/* --- writing ---------------------------------------------------------------------------------- */

static bool is_last(const struct exchange *e) {
    return e->reactor->draining || e->reactor->config->keep_alive == 0;
}

static void keep_alive(struct exchange *e) {
    if (!e->is_reused && e->reactor->open_count == 1)
        reactor_yield(e->reactor);
    e->is_reused = true;
    enter(e, EXCHANGE_IDLE, after(e, e->reactor->config->keep_alive));
}

/* The answer is written. Closing while input is unread would make the kernel reset the connection,
 * and a reset can overtake the answer. */
static void finish(struct exchange *e) {
    bool is_read = e->conn.phase == HTTP_PHASE_DONE && (e->eof || !(e->watch.ready & IO_READ));

    if (e->in_flight)
        truth_count(&e->reactor->planner.truth, TRUTH_ANSWERS);
    settle(e, "answered");
    if (http_conn_next(&e->conn))
        keep_alive(e);
    else if (is_read)
        drop(e);
    else
        linger(e);
}

/* Bytes in the kernel that the client's side has not acknowledged (tcp(7), unix(7): SIOCOUTQ). */
static uint32_t unacknowledged(const struct exchange *e) {
    int bytes = 0;

    return ioctl(e->watch.fd, SIOCOUTQ, &bytes) == 0 ? (uint32_t)bytes : 0;
}

/* The socket tells that it takes bytes when a third of its buffer is free. A slow reader needs long
 * for that, so its progress is looked for in between. */
static void wait_to_send(struct exchange *e) {
    nsec_t patience = e->reactor->config->send_timeout;
    nsec_t look_at = deadline_after(clock_now(), patience / SLOWAPI_SEND_LOOKS + 1);

    if (patience == 0)
        enter(e, EXCHANGE_SEND, NSEC_NEVER);
    else
        enter(e, EXCHANGE_SEND, nsec_min(look_at, deadline_after(e->progress_at, patience)));
}

static void begin_to_wait(struct exchange *e) {
    e->unacked_bytes = unacknowledged(e);
    e->progress_at = clock_now();
    wait_to_send(e);
}

/* A reset, because the end of an answer without a length would look like its planned one. */
static void look_at_progress(struct exchange *e) {
    uint32_t unacked = unacknowledged(e);
    nsec_t now = clock_now();

    if (unacked < e->unacked_bytes)
        e->progress_at = now;
    e->unacked_bytes = unacked;
    if (now < deadline_after(e->progress_at, e->reactor->config->send_timeout)) {
        wait_to_send(e);
        return;
    }
    truth_count(&e->reactor->planner.truth, TRUTH_SEND_TIMEOUTS);
    reset(e, "send-timeout");
}

/* True: all of it is written. Else the rest is sent later, or the exchange is closed. */
static bool send_now(struct exchange *e, struct slice bytes) {
    ssize_t n = bytes.len > 0 ? watch_send(&e->watch, bytes.ptr, bytes.len) : 0;

    e->work_bytes += (uint32_t)bytes.len;
    if (n == (ssize_t)bytes.len)
        return true;

    bool is_full = n >= 0 || n == -EAGAIN;
    e->client_left = !is_full;
    if (is_full && buf_append(&e->out, slice_drop(bytes, n > 0 ? (size_t)n : 0)) == 0)
        begin_to_wait(e);
    else
        drop(e);
    return false;
}

/* --- the plain answer ------------------------------------------------------------------------- */

static void answer_plainly(struct exchange *e, uint16_t status, struct slice text, bool last) {
    struct reactor *r = e->reactor;

    e->step = (struct reply_step){ .act = REPLY_KEEP };
    e->work_bytes += SLOWAPI_STEP_COST;
    buf_consume(&r->out, buf_unread(&r->out).len);
    if (reply_plain(&e->conn, status, text, last || is_last(e), &r->out) < 0)
        drop(e);
    else if (send_now(e, buf_unread(&r->out)))
        finish(e);
}

/* Refuses for good with a static text. */
static void refuse(struct exchange *e, uint16_t status, const char *text) {
    truth_count(&e->reactor->planner.truth, TRUTH_MALFORMED);
    if (e->in_flight)
        settle_with(e, "malformed", status);
    else
        log_request(e, "malformed", status);
    answer_plainly(e, status, slice_str(text), true);
}

/* --- step by step ----------------------------------------------------------------------------- */

/* For ever, that is until the client closes its side; one that has done so already would not be
 * told of again. */
static void hang(struct exchange *e) {
    if ((e->watch.ready & IO_HANGUP) || is_gone(e))
        leave(e);
    else
        enter(e, EXCHANGE_HANG, NSEC_NEVER);
}

/* What the step said. True: the next one may come at once. */
static bool act(struct exchange *e) {
    switch (e->step.act) {
    case REPLY_NEXT:
        return true;
    case REPLY_WAIT:
        sleep_until(e, e->step.until);
        break;
    case REPLY_HANG:
        hang(e);
        break;
    case REPLY_KEEP:
        finish(e);
        break;
    case REPLY_FIN:
        linger(e);
        break;
    case REPLY_RST:
        reset(e, "reset");
        break;
    }
    return false;
}

/* Others have their turn before it goes on. */
static void go_on_later(struct exchange *e) {
    loop_defer(e->reactor->loop, &e->later);
}

static void run_steps(struct exchange *e) {
    struct reactor *r = e->reactor;

    while (!is_tired(e)) {
        buf_consume(&r->out, buf_unread(&r->out).len);
        if (reply_step(e->reply, &e->conn, &r->planner.truth, is_last(e), &r->out, &e->step) < 0) {
            drop(e);
            return;
        }
        e->work_bytes += SLOWAPI_STEP_COST;
        if (!send_now(e, buf_unread(&r->out)) || !act(e))
            return;
    }
    enter(e, EXCHANGE_SEND, NSEC_NEVER);
    go_on_later(e);
}

/* Planned and actual are compared when the answer begins. */
static void note_time(struct exchange *e) {
    struct truth *truth = &e->reactor->planner.truth;
    nsec_t late = e->delay > 0 ? clock_now() - e->deadline : 0;

    e->is_timed = true;
    if (e->reply != NULL)
        e->reply->late = late;
    truth_time(truth, TRUTH_PLANNED, e->delay);
    truth_time(truth, TRUTH_ACTUAL, e->delay + late);
    truth_time(truth, TRUTH_LATE, late);
}

/* Answers what was planned. What the socket does not take at once is sent later. */
static void answer_request(struct exchange *e) {
    if (!e->is_timed)
        note_time(e);
    if (e->reply != NULL)
        run_steps(e);
    else
        answer_plainly(e, 200, SLICE("slow api response"), false);
}

/* The socket takes bytes again, or it never was full and others have had their turn. */
static void send_rest(struct exchange *e) {
    struct slice rest = buf_unread(&e->out);

    ssize_t n = rest.len > 0 ? watch_send(&e->watch, rest.ptr, rest.len) : 0;
    if (n == -EAGAIN)
        return;
    if (n < 0) {
        leave(e);
        return;
    }
    buf_consume(&e->out, (size_t)n);
    if ((size_t)n < rest.len) {
        begin_to_wait(e);
        return;
    }
    buf_free(&e->out);
    e->work_bytes += (uint32_t)rest.len;
    if (act(e))
        run_steps(e);
}

/* --- what the codec found --------------------------------------------------------------------- */

static bool takes_input(const struct exchange *e) {
    return e->state == EXCHANGE_IDLE || e->state == EXCHANGE_HEAD || e->state == EXCHANGE_BODY;
}

/* A client whose socket is full of unread answers gets none: it may send the body anyway (RFC 9110
 * section 10.1.1). */
static void invite_body(struct exchange *e) {
    struct slice text = HTTP_CONTINUE;

    ssize_t n = watch_send(&e->watch, text.ptr, text.len);
    if (n != (ssize_t)text.len && n != -EAGAIN)
        leave(e);
}

/* The clock is read again: counted from the begin of the turn, a request that came late in it would
 * be answered too early. */
static void on_end(struct exchange *e) {
    if (e->delay > 0)
        sleep_until(e, deadline_after(clock_now(), e->delay));
    else
        answer_request(e);
}

/* Faults that strike before the answer is due. True: the request is dealt with. */
static bool strike_early(struct exchange *e) {
    struct truth *truth = &e->reactor->planner.truth;
    struct fault *stale = reply_fault(e->reply, FAULT_STALE);
    struct fault *early = reply_fault(e->reply, FAULT_EARLY);

    if (stale != NULL) {
        reply_strike(stale, truth);
        linger(e);
        return true;
    }
    if (early == NULL)
        return false;
    reply_strike(early, truth);
    on_end(e);
    return true;
}

static void on_head(struct exchange *e, const struct http_head *head) {
    const struct plan_origin origin = { .client = e->client,
                                        .bind = e->bind,
                                        .is_reused = e->is_reused };
    struct slow_plan plan;

    begin_request(e);
    if (plan_make(&e->reactor->planner, head, &origin, &plan) < 0) {
        drop(e);
        return;
    }
    e->delay = plan.delay;
    e->reply = plan.reply;
    enter(e, EXCHANGE_BODY, after(e, SLOWAPI_BODY_IDLE));
    if (e->state == EXCHANGE_CLOSED || (e->reply != NULL && strike_early(e)))
        return;
    if (!http_conn_takes_continue(&e->conn))
        return;
    if (e->reply == NULL || e->reply->status < 400)
        invite_body(e);
    else
        on_end(e);
}

/* All that `input` allows, or as many requests as one turn may answer. Returns how much of it was
 * used. */
static size_t feed(struct exchange *e, struct slice input) {
    struct http_head head;
    struct http_event ev;
    size_t used = 0;

    while (takes_input(e) && !(e->state == EXCHANGE_IDLE && is_tired(e))) {
        used += http_conn_feed(&e->conn, slice_drop(input, used), e->eof, &head, &ev);
        switch (ev.kind) {
        case HTTP_EV_HEAD:
            on_head(e, &head);
            break;
        case HTTP_EV_END:
            on_end(e);
            break;
        case HTTP_EV_BAD:
            refuse(e, http_err_status(ev.why), ev.why);
            break;
        case HTTP_EV_CLOSED:
            drop(e);
            break;
        case HTTP_EV_MORE:
            return used;
        case HTTP_EV_DATA:
        case HTTP_EV_INTERIM:
            break;
        }
    }
    return used;
}

/* --- bytes ------------------------------------------------------------------------------------ */

/* Keeps what was not used, and nothing when there is no such thing. False: out of memory. */
static bool keep(struct exchange *e, struct slice input, size_t used, bool is_own) {
    bool ok = true;

    if (is_own)
        buf_consume(&e->in, used);
    else if (used < input.len)
        ok = buf_append(&e->in, slice_drop(input, used)) == 0;

    if (buf_unread(&e->in).len == 0)
        buf_free(&e->in);
    return ok;
}

/* `input` is the unread part of `in`, or lies in the shared buffer and `in` is empty. */
static void process(struct exchange *e, struct slice input) {
    bool is_own = e->in.data != NULL;

    size_t used = feed(e, input);
    if (e->state == EXCHANGE_CLOSED || e->state == EXCHANGE_LINGER)
        return;
    if (!keep(e, input, used, is_own))
        drop(e);
    else if (e->state == EXCHANGE_IDLE && is_tired(e))
        go_on_later(e);
    else if (e->state == EXCHANGE_IDLE && e->in.data != NULL)
        enter(e, EXCHANGE_HEAD, after(e, e->reactor->config->header_timeout));
    else if (e->state == EXCHANGE_BODY)
        enter(e, EXCHANGE_BODY, after(e, SLOWAPI_BODY_IDLE));
}

/* As watch_recv; `*ret` is all that is unread then, earlier bytes included. */
static ssize_t receive(struct exchange *e, struct slice *ret) {
    ssize_t n;

    if (e->in.data == NULL) {
        struct reactor *r = e->reactor;
        n = watch_recv(&e->watch, r->in, sizeof(r->in));
        *ret = slice_of(r->in, n > 0 ? (size_t)n : 0);
        return n;
    }

    int rc = buf_reserve(&e->in, ROOM_BYTES);
    if (rc < 0)
        return rc;
    n = watch_recv(&e->watch, buf_tail(&e->in), buf_room(&e->in));
    if (n > 0)
        buf_added(&e->in, (size_t)n);
    *ret = buf_unread(&e->in);
    return n;
}

/* One system call and what follows from it. False: the socket is dry, or the exchange is closed. */
static bool read_some(struct exchange *e) {
    struct slice input;

    ssize_t n = receive(e, &input);
    if (n == -EAGAIN)
        return false;
    if (n == -ENOMEM)
        drop(e);
    else if (n < 0)
        leave(e);
    if (n < 0)
        return false;
    e->eof = n == 0;
    e->work_bytes += (uint32_t)n;
    process(e, input);
    return true;
}

static bool discard_some(struct exchange *e) {
    struct reactor *r = e->reactor;

    ssize_t n = watch_recv(&e->watch, r->in, sizeof(r->in));
    if (n == -EAGAIN)
        return false;
    if (n > 0) {
        e->lingered_bytes += (uint32_t)n;
        e->work_bytes += (uint32_t)n;
    }
    if (n <= 0 || e->lingered_bytes > SLOWAPI_LINGER_BYTES)
        drop(e);
    return true;
}

/* Reads and answers until the socket is dry, a request sleeps, or others should have a turn. */
static void read_on(struct exchange *e) {
    if (e->state == EXCHANGE_IDLE && e->in.data != NULL)
        process(e, buf_unread(&e->in));

    while (!is_tired(e)) {
        bool more = false;
        if (takes_input(e))
            more = read_some(e);
        else if (e->state == EXCHANGE_LINGER)
            more = discard_some(e);
        if (!more)
            return;
    }
    if (takes_input(e) || e->state == EXCHANGE_LINGER)
        go_on_later(e);
}

/* --- events ----------------------------------------------------------------------------------- */

static void on_later(struct deferred *later) {
    struct exchange *e = CONTAINER_OF(later, struct exchange, later);

    if (e->state == EXCHANGE_CLOSED) {
        mem_free(e);
        return;
    }
    e->work_bytes = 0;
    if (e->state == EXCHANGE_SEND)
        send_rest(e);
    read_on(e);
}

static void on_ready(struct watch *watch, unsigned what) {
    struct exchange *e = CONTAINER_OF(watch, struct exchange, watch);

    e->work_bytes = 0;
    switch ((enum exchange_state)e->state) {
    case EXCHANGE_SLEEP: /* what came stays in the kernel: that bounds it */
        if ((what & (IO_READ | IO_HANGUP)) && is_gone(e))
            leave(e);
        return;
    case EXCHANGE_HANG: /* nothing would ever be sent to one that has shut its side */
        if ((what & IO_HANGUP) || ((what & IO_READ) && is_gone(e)))
            leave(e);
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
    read_on(e);
}

static void on_deadline(struct timer *timer) {
    struct exchange *e = CONTAINER_OF(timer, struct exchange, timer);

    if (loop_now(e->reactor->loop) < e->deadline) { /* it moved since the timer was set */
        enter(e, (enum exchange_state)e->state, e->deadline);
        return;
    }
    e->work_bytes = 0;
    switch ((enum exchange_state)e->state) {
    case EXCHANGE_SLEEP:
        answer_request(e);
        break;
    case EXCHANGE_HEAD:
        refuse(e, 408, "the request head took too long");
        break;
    case EXCHANGE_BODY:
        refuse(e, 408, "the request body took too long");
        break;
    case EXCHANGE_HANG: /* of a connection that was to be left alone at first */
        enter(e, EXCHANGE_IDLE, after(e, patience(e->reactor)));
        break;
    case EXCHANGE_SEND:
        look_at_progress(e);
        break;
    case EXCHANGE_IDLE:
    case EXCHANGE_LINGER:
    case EXCHANGE_CLOSED:
        drop(e);
        break;
    }
    read_on(e);
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
    enter(e, EXCHANGE_IDLE, deadline_after(loop_now(r->loop), patience(r)));
    return 0;
}

/* Faults that strike a connection as such. */
static void strike_accepted(struct exchange *e, const struct fault *fault) {
    struct reactor *r = e->reactor;
    struct fault copy = *fault;

    if (fault->place != FAULT_AT_ACCEPT ||
        rng_unit_of(planner_roll(&r->planner)) >= fault->probability)
        return;
    reply_strike(&copy, &r->planner.truth);
    if (fault->kind == FAULT_SLOWACCEPT)
        reactor_pause_accepting(r, e->bind, fault->arg);
    else if (fault->kind == FAULT_FIN)
        linger(e);
    else if (fault->kind == FAULT_HANG)
        enter(e, EXCHANGE_HANG, deadline_after(clock_now(), fault->arg));
    else
        reset(e, "reset");
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

    size_t peer_bytes = r->access_log != NULL ? ADDRESS_TEXT_BYTES : 0;
    struct exchange *e = mem_calloc(1, sizeof(*e) + peer_bytes);
    int rc = e != NULL ? start(e, r, fd) : -ENOMEM;
    if (rc < 0) {
        log_limited(&rate, LOG_LEVEL_ERROR, "connection dropped error=\"%s\"", strerror(-rc));
        mem_free(e);
        close(fd);
        return;
    }
    e->bind = (uint8_t)bind;
    e->client = hash_peer(peer);
    if (peer_bytes > 0)
        address_format(peer, e->peer);
    truth_count(&r->planner.truth, TRUTH_CONNECTIONS);
    for (size_t i = 0; i < defaults->fault_count && e->state == EXCHANGE_IDLE; i++)
        strike_accepted(e, &defaults->faults[i]);
}

void exchange_drain_all(struct reactor *r) {
    nsec_t until = deadline_after(loop_now(r->loop), SLOWAPI_PARTING_TIME);

    for (struct exchange *e = r->exchanges, *next; e != NULL; e = next) {
        next = e->next;
        if (e->state == EXCHANGE_HANG)
            drop(e);
        else if (e->state == EXCHANGE_IDLE)
            enter(e, EXCHANGE_IDLE, nsec_min(e->deadline, until));
    }
}

void exchange_close_all(struct reactor *r) {
    while (r->exchanges != NULL)
        drop(r->exchanges);
}
