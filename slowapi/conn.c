/* SPDX-License-Identifier: MIT */
/* The life of a connection of `srv slowapi`, on callbacks, in this order:
 *
 *     on_ready          the hub: bytes came, or room for some; on_deadline for the clock, on_later
 *                       for work that let others go first
 *     slow_conn_open    takes over a descriptor that was accepted
 *     read_request      reads and answers, until nothing is there or a request sleeps
 *     take_head         plans the answer; from here on a request is in flight
 *     wait_or_answer    the request is whole, and its delay begins
 *     wait_until        sleeps
 *     answer            sends, step by step as reply.c says; reply == NULL is the plain answer
 *     talk              a WebSocket, once its answer is written
 *     keep_or_linger    the answer is written: for the next request, or the end
 *
 * It ends in one of four ways: linger lets the client close first, drop closes, drop_gone does so
 * as the client has gone, reset closes with RST. refuse answers an error before it lingers. Each
 * goes through account_end, which counts and logs a request once. */
#include "slowapi/conn.h"
#include "base/alloc.h"
#include "http/error.h"
#include "http/websocket.h"
#include "net/socket.h"
#include "slowapi/request.h"
#include <assert.h>
#include <errno.h>
#include <unistd.h>

/* Least room for more of a head that is being kept; the buffer doubles from there. */
#define ROOM_BYTES 2048

static_assert(sizeof(struct slow_conn) <= 512, "a sleeping request is to cost well below 1 KB");

static void on_ready(struct watch *watch, unsigned what);
static void on_deadline(struct timer *timer);
static void on_later(struct deferred *later);
static void read_request(struct slow_conn *c);
static void take_head(struct slow_conn *c, const struct http_head *head);
static void take_data(struct slow_conn *c, struct slice data);
static void wait_or_answer(struct slow_conn *c);
static bool is_gone(const struct slow_conn *c);
static void wait_until(struct slow_conn *c, nsec_t at);
static void answer(struct slow_conn *c);
static void send_rest(struct slow_conn *c);
static void look_at_progress(struct slow_conn *c);
static void talk(struct slow_conn *c, struct slice input, bool ends);
static void keep_or_linger(struct slow_conn *c);
static void linger(struct slow_conn *c);
static void leave_tls(struct slow_conn *c);
static void answer_plainly(struct slow_conn *c, uint16_t status, struct slice text, bool last);
static void refuse(struct slow_conn *c, uint16_t status, const char *text);
static void drop(struct slow_conn *c);
static void drop_gone(struct slow_conn *c);
static void reset(struct slow_conn *c, const char *outcome);

/* --- states ----------------------------------------------------------------------------------- */

/* A deadline that moves away, as that of every request on a kept connection does, is only noted:
 * the timer finds out when it fires. */
static void enter(struct slow_conn *c, enum slow_conn_state state, nsec_t deadline) {
    c->state = (uint8_t)state;
    c->deadline = deadline;
    if (timer_armed(&c->timer) && c->timer.at <= deadline)
        return;
    if (timer_set(c->worker->loop, &c->timer, deadline) < 0)
        drop(c);
}

static nsec_t after(const struct slow_conn *c, nsec_t span) {
    return deadline_after(loop_now(c->worker->loop), span);
}

static nsec_t patience(const struct slow_worker *w) {
    nsec_t keep_alive = w->config->keep_alive, head = w->config->header_timeout;

    return keep_alive < head ? head : keep_alive;
}

/* One callback does no more than that for one connection: then the others have their turn. */
static bool is_tired(const struct slow_conn *c) {
    return c->work_bytes >= SLOWAPI_TURN_BYTES;
}

/* Others have their turn before it goes on. */
static void go_on_later(struct slow_conn *c) {
    loop_defer(c->worker->loop, &c->later);
}

static bool is_last(const struct slow_conn *c) {
    return c->worker->draining || c->worker->config->keep_alive == 0;
}

/* --- the hub ---------------------------------------------------------------------------------- */

/* A request that waits keeps what comes in the kernel, which bounds it. One that hangs would never
 * be answered, so its client's FIN ends it. */
static void look_for_hangup(struct slow_conn *c, unsigned what) {
    bool ends = c->state == CONN_HANG && (what & IO_HANGUP) != 0;

    if (ends || ((what & (IO_READ | IO_HANGUP)) != 0 && is_gone(c)))
        drop_gone(c);
}

static void on_ready(struct watch *watch, unsigned what) {
    struct slow_conn *c = CONTAINER_OF(watch, struct slow_conn, watch);

    c->work_bytes = 0;
    if (c->state == CONN_SLEEP || c->state == CONN_HANG) {
        look_for_hangup(c, what);
        return;
    }
    if (c->state == CONN_SEND && (what & IO_WRITE) != 0)
        send_rest(c);
    read_request(c);
}

static void on_deadline(struct timer *timer) {
    struct slow_conn *c = CONTAINER_OF(timer, struct slow_conn, timer);

    if (loop_now(c->worker->loop) < c->deadline) { /* the deadline moved since the timer was set */
        enter(c, (enum slow_conn_state)c->state, c->deadline);
        return;
    }
    c->work_bytes = 0;
    switch ((enum slow_conn_state)c->state) {
    case CONN_SLEEP:
        answer(c);
        break;
    case CONN_HEAD:
        refuse(c, 408, "the request head took too long");
        break;
    case CONN_BODY:
        refuse(c, 408, "the request body took too long");
        break;
    case CONN_HANG: /* a connection that was to be left alone at first */
        enter(c, CONN_IDLE, after(c, patience(c->worker)));
        break;
    case CONN_SEND:
        look_at_progress(c);
        break;
    case CONN_SOCKET:
        talk(c, SLICE(""), true);
        break;
    case CONN_IDLE:
    case CONN_LINGER:
    case CONN_CLOSED:
        drop(c);
        break;
    }
    read_request(c);
}

/* The others have had their turn. */
static void on_later(struct deferred *later) {
    struct slow_conn *c = CONTAINER_OF(later, struct slow_conn, later);

    if (c->state == CONN_CLOSED) {
        mem_free(c);
        return;
    }
    c->work_bytes = 0;
    if (c->state == CONN_SEND)
        send_rest(c);
    read_request(c);
}

/* --- accept ----------------------------------------------------------------------------------- */

static int start(struct slow_conn *c, struct slow_worker *w, int fd) {
    int rc = watch_open(&c->watch, w->loop, fd, on_ready);
    if (rc < 0)
        return rc;

    /* The request is seldom there yet: its arrival is told, a try would be a system call for
     * nothing. */
    watch_drained(&c->watch, IO_READ);
    c->timer.fire = on_deadline;
    c->later.run = on_later;
    http_conn_init(&c->http, HTTP_SERVER, &w->limits);
    buf_init(&c->in, w->limits.head_bytes + 2 * SLOWAPI_RECV_BYTES);
    buf_init(&c->out, SLOWAPI_OUT_BYTES);
    account_open(c, w);
    enter(c, CONN_IDLE, deadline_after(loop_now(w->loop), patience(w)));
    return 0;
}

/* A fault of the connection itself strikes. Returns for how long none is to be accepted then. */
static nsec_t strike(struct slow_conn *c, struct fault *fault) {
    struct injection at = { .counts = c->worker->planner.stats.slot->faults };

    if (fault_inject(fault, &at) < 0 || at.effect == FAULT_GOES_ON)
        return 0;
    if (at.effect == FAULT_PAUSES)
        return fault->arg;
    if (at.effect == FAULT_WAITS) {
        enter(c, CONN_HANG, deadline_after(clock_now(), fault->arg));
    } else if (at.effect == FAULT_RESETS) {
        reset(c, "reset");
    } else {
        leave_tls(c);
        if (at.effect == FAULT_ANSWERS)
            answer_plainly(c, 400, SLICE("this is no TLS"), true);
        else
            linger(c);
    }
    return 0;
}

/* Rolls for a fault of a connection that was accepted; returns as strike. */
static nsec_t inject_accepted(struct slow_conn *c, const struct fault *fault) {
    struct fault copy = *fault;

    if (fault->place != FAULT_AT_ACCEPT ||
        rng_unit_of(shared_roll(c->worker->planner.shared)) >= fault->probability)
        return 0;
    return strike(c, &copy);
}

static void open_tls(struct slow_conn *c, const struct spec *defaults) {
    struct slow_worker *w = c->worker;
    struct fault list[SPEC_FAULTS_MAX];
    size_t count = 0;

    for (size_t i = 0; i < defaults->fault_count; i++)
        if ((defaults->faults[i].place & FAULT_AT_HANDSHAKE) != 0 &&
            rng_unit_of(shared_roll(w->planner.shared)) < defaults->faults[i].probability)
            list[count++] = defaults->faults[i];
    c->is_shaking = slow_secure_open(w->secure, &c->watch, list, count, &c->faults) == 0;
    if (!c->is_shaking)
        drop(c);
}

nsec_t slow_conn_open(struct slow_worker *w, int fd, unsigned bind, const struct address *peer) {
    static struct log_rate rate = { .per_second = 1 };
    const struct spec *defaults = &w->planner.defaults[bind];
    nsec_t pause = 0;

    size_t peer_bytes = w->access_log != NULL ? ADDRESS_TEXT_BYTES : 0;
    struct slow_conn *c = mem_calloc(1, sizeof(*c) + peer_bytes);
    int rc = c != NULL ? start(c, w, fd) : -ENOMEM;
    if (rc < 0) {
        log_limited(&rate, LOG_LEVEL_ERROR, "connection dropped error=\"%s\"",
                    strerrordesc_np(-rc));
        mem_free(c);
        close(fd);
        return 0;
    }
    c->bind = (uint8_t)bind;
    c->client = address_hash_host(peer);
    if (peer_bytes > 0)
        address_format(peer, c->peer);
    slow_stats_count(&w->planner.stats, SLOW_CONNECTIONS);
    if (w->config->secure[bind])
        open_tls(c, defaults);
    for (size_t i = 0; i < defaults->fault_count && c->state == CONN_IDLE; i++)
        pause = nsec_max(pause, inject_accepted(c, &defaults->faults[i]));
    if (w->open_count > 1)
        each_acceptor(w, acceptor_yield);
    return pause;
}

/* --- read ------------------------------------------------------------------------------------- */

static bool takes_input(const struct slow_conn *c) {
    return c->state <= CONN_SOCKET;
}

/* Feeds the codec all that `input` allows, or as many requests as one turn may answer. Returns how
 * much of it was used. */
static size_t feed(struct slow_conn *c, struct slice input) {
    struct http_head head;
    struct http_event ev;
    size_t used = 0;

    while (c->state < CONN_SOCKET && !(c->state == CONN_IDLE && is_tired(c))) {
        used += http_conn_feed(&c->http, slice_drop(input, used), c->eof, &head, &ev);
        switch (ev.kind) {
        case HTTP_EV_HEAD:
            take_head(c, &head);
            break;
        case HTTP_EV_END:
            wait_or_answer(c);
            break;
        case HTTP_EV_BAD:
            refuse(c, http_err_status(ev.why), ev.why);
            break;
        case HTTP_EV_CLOSED:
            drop(c);
            break;
        case HTTP_EV_MORE:
            return used;
        case HTTP_EV_DATA:
            take_data(c, ev.data);
            break;
        case HTTP_EV_INTERIM:
            break;
        }
    }
    return used;
}

/* `input` is the unread part of `in`, or lies in the shared buffer and `in` is empty. */
static void process(struct slow_conn *c, struct slice input) {
    size_t used = feed(c, input);
    if (c->state == CONN_CLOSED || c->state == CONN_LINGER)
        return;
    if (c->state == CONN_SOCKET)
        talk(c, slice_drop(input, used), false);
    else if (buf_keep(&c->in, input, used) < 0)
        drop(c);
    else if (c->state == CONN_IDLE && is_tired(c))
        go_on_later(c);
    else if (c->state == CONN_IDLE && c->in.data != NULL)
        enter(c, CONN_HEAD, after(c, c->worker->config->header_timeout));
    else if (c->state == CONN_BODY)
        enter(c, CONN_BODY, after(c, SLOWAPI_BODY_IDLE));
}

/* Goes on with the handshake. True: it is complete. */
static bool shake_hands(struct slow_conn *c) {
    struct fault *due;
    int rc;

    do {
        rc = slow_secure_step(&c->watch, c->faults, &due);
        if (due != NULL)
            (void)strike(c, due);
    } while (due != NULL && c->state == CONN_IDLE);
    if (rc == -EAGAIN || c->state != CONN_IDLE)
        return false;

    bool saw_http = tls_saw_http(c->watch.tls), told = rc == -EPROTO || rc == -EKEYREJECTED;
    account_handshake(c);
    if (rc == 0)
        return true;
    log_write(LOG_LEVEL_DEBUG, "handshake failed error=\"%s\"", tls_reason(c->watch.tls));
    leave_tls(c);
    if (saw_http)
        refuse(c, 400, "this port speaks TLS: ask it by https");
    else if (told) /* an alert has been sent, which is to be read */
        linger(c);
    else
        drop(c);
    return false;
}

/* Does one system call and what follows. False: the socket is dry, or the connection is closed. */
static bool read_some(struct slow_conn *c) {
    struct slow_worker *w = c->worker;
    struct slice input;

    if (UNLIKELY(c->is_shaking) && !shake_hands(c))
        return c->state == CONN_LINGER;
    ssize_t n = watch_recv_behind(&c->watch, &c->in, ROOM_BYTES, w->in, sizeof(w->in), &input);
    if (n == -EAGAIN)
        return false;
    if (n == -ENOMEM)
        drop(c);
    else if (n < 0)
        drop_gone(c);
    if (n < 0)
        return false;
    c->eof = n == 0;
    c->work_bytes += (uint32_t)n;
    process(c, input);
    return true;
}

/* True: more may be there. */
static bool discard_some(struct slow_conn *c) {
    switch (linger_read(&c->linger, &c->watch)) {
    case LINGER_TIRED:
        c->work_bytes = SLOWAPI_TURN_BYTES;
        return true;
    case LINGER_OVER:
        drop(c);
        break;
    case LINGER_DRY:
        break;
    }
    return false;
}

/* Reads and answers until the socket is dry, a request sleeps, or others should have a turn. */
static void read_request(struct slow_conn *c) {
    if ((c->state == CONN_IDLE || c->state == CONN_SOCKET) && c->in.data != NULL)
        process(c, buf_unread(&c->in));

    while (!is_tired(c)) {
        bool more = false;
        if (takes_input(c))
            more = read_some(c);
        else if (c->state == CONN_LINGER)
            more = discard_some(c);
        if (!more)
            return;
    }
    if (takes_input(c) || c->state == CONN_LINGER)
        go_on_later(c);
}

/* --- plan ------------------------------------------------------------------------------------- */

/* A client whose socket is full of unread answers gets none: it may send the body anyway (RFC 9110
 * section 10.1.1). */
static void invite_body(struct slow_conn *c) {
    bool is_secure = c->watch.tls != NULL; /* what TLS did not send would have to come next */
    struct slice text = HTTP_CONTINUE;

    if (is_secure && !socket_has_room(c->watch.fd))
        return;
    ssize_t n = watch_send(&c->watch, text.ptr, text.len);
    if (n != (ssize_t)text.len && (n != -EAGAIN || is_secure))
        drop_gone(c);
}

/* Injects the faults that come before the answer is due. True: the request is dealt with. */
static bool inject_request_faults(struct slow_conn *c) {
    struct injection at = { .counts = c->worker->planner.stats.slot->faults };
    struct reply *reply = c->reply;

    int rc = fault_inject_all(reply->faults, reply->fault_count, FAULT_ON_REUSE, &at);
    if (rc == 0 && at.effect == FAULT_GOES_ON)
        rc = fault_inject_all(reply->faults, reply->fault_count, FAULT_ON_REQUEST, &at);
    if (rc < 0)
        drop(c);
    else if (at.effect == FAULT_CLOSES)
        linger(c);
    else if (at.effect == FAULT_ANSWERS)
        wait_or_answer(c);
    return rc < 0 || at.effect != FAULT_GOES_ON;
}

/* Plans the request when its head is read: from here on it is in flight. */
static void take_head(struct slow_conn *c, const struct http_head *head) {
    const struct plan_origin origin = {
        .client = c->client, .bind = c->bind, .fd = c->watch.fd, .is_reused = c->is_reused
    };
    struct slow_plan plan;

    c->in_flight = true;
    c->is_timed = false;
    c->client_left = false;
    slow_stats_begin(&c->worker->planner.stats);
    if (plan_make(&c->worker->planner, head, &origin, &plan) < 0) {
        drop(c);
        return;
    }
    c->delay = plan.delay;
    c->reply = plan.reply;
    enter(c, CONN_BODY, after(c, SLOWAPI_BODY_IDLE));
    if (c->state == CONN_CLOSED || (c->reply != NULL && inject_request_faults(c)))
        return;
    if (!http_conn_takes_continue(&c->http))
        return;
    if (c->reply == NULL || c->reply->status < 400)
        invite_body(c);
    else
        wait_or_answer(c);
}

/* A body is thrown away, unless the answer is made of it. */
static void take_data(struct slow_conn *c, struct slice data) {
    const char *why = NULL;
    int rc = c->reply != NULL && c->reply->kept != NULL ? kept_add(c->reply->kept, data, &why) : 0;

    account_data(c, data);
    if (rc > 0)
        refuse(c, (uint16_t)rc, why);
    else if (rc < 0)
        drop(c);
}

/* --- wait ------------------------------------------------------------------------------------- */

/* The request is read, and its delay begins. The clock is read again: counted from the begin of the
 * turn, a request that came late in it would be answered too early. */
static void wait_or_answer(struct slow_conn *c) {
    if (c->reply != NULL && c->reply->kept != NULL &&
        plan_finish(&c->worker->planner, c->reply, &c->delay) < 0)
        drop(c);
    else if (c->delay > 0)
        wait_until(c, deadline_after(clock_now(), c->delay));
    else
        answer(c);
}

/* Tells whether nobody waits for the answer any more. A FIN alone may come from a client that has
 * shut its sending side only, which --half-close decides. */
static bool is_gone(const struct slow_conn *c) {
    if ((c->watch.ready & IO_HANGUP) && c->worker->config->half_close == HALF_CLOSE_GONE)
        return true;
    return socket_is_dead(c->watch.fd);
}

/* A hang-up that came before is not told again, a reset not as one: both are looked for here. */
static void wait_until(struct slow_conn *c, nsec_t at) {
    if (is_gone(c))
        drop_gone(c);
    else
        enter(c, CONN_SLEEP, at);
}

/* Waits until the client closes its side; a hang-up that came before is not told again. */
static void hang(struct slow_conn *c) {
    if ((c->watch.ready & IO_HANGUP) || is_gone(c))
        drop_gone(c);
    else
        enter(c, CONN_HANG, NSEC_NEVER);
}

/* --- answer ----------------------------------------------------------------------------------- */

/* The socket tells that it takes bytes when a third of its buffer is free. A slow reader needs long
 * for that, so its progress is looked for in between. */
static void wait_for_room(struct slow_conn *c) {
    nsec_t patience = c->worker->config->send_timeout;
    nsec_t look_at = deadline_after(clock_now(), patience / SLOWAPI_SEND_LOOKS + 1);

    if (patience == 0)
        enter(c, CONN_SEND, NSEC_NEVER);
    else
        enter(c, CONN_SEND, nsec_min(look_at, deadline_after(c->progress_at, patience)));
}

static void begin_to_send(struct slow_conn *c) {
    c->unacked_bytes = socket_unacknowledged(c->watch.fd);
    c->progress_at = clock_now();
    wait_for_room(c);
}

/* A reset, because the end of an answer without a length would look like its planned one. */
static void look_at_progress(struct slow_conn *c) {
    uint32_t unacked = socket_unacknowledged(c->watch.fd);
    nsec_t now = clock_now();

    if (unacked < c->unacked_bytes)
        c->progress_at = now;
    c->unacked_bytes = unacked;
    if (now < deadline_after(c->progress_at, c->worker->config->send_timeout)) {
        wait_for_room(c);
        return;
    }
    slow_stats_count(&c->worker->planner.stats, SLOW_SEND_TIMEOUTS);
    reset(c, "send-timeout");
}

/* True: all is written. Else the rest is sent later, or the connection is closed. */
static bool send_now(struct slow_conn *c, struct slice bytes) {
    bool ends = c->step.act == REPLY_KEEP && !c->http.persists;
    ssize_t n = bytes.len == 0 ? 0
                : ends         ? watch_send_last(&c->watch, bytes.ptr, bytes.len)
                               : watch_send(&c->watch, bytes.ptr, bytes.len);

    c->work_bytes += (uint32_t)bytes.len;
    if (n == (ssize_t)bytes.len)
        return true;

    c->client_left = n < 0 && n != -EAGAIN;
    if (!c->client_left && buf_append(&c->out, slice_drop(bytes, n > 0 ? (size_t)n : 0)) == 0)
        begin_to_send(c);
    else
        drop(c);
    return false;
}

/* Closes as the step says. A record is cut as soon as the socket has room for it. */
static void finish(struct slow_conn *c) {
    if (c->step.cuts && !socket_has_room(c->watch.fd)) {
        watch_drained(&c->watch, IO_WRITE);
        begin_to_send(c);
        return;
    }
    if (c->step.cuts)
        slow_secure_cut(&c->watch);
    if (c->step.cuts || c->step.breaks)
        leave_tls(c);
    linger(c);
}

/* Does what the step said. True: the next one may come at once. */
static bool act(struct slow_conn *c) {
    switch (c->step.act) {
    case REPLY_NEXT:
        return true;
    case REPLY_WAIT:
        wait_until(c, c->step.until);
        break;
    case REPLY_HANG:
        hang(c);
        break;
    case REPLY_KEEP:
        keep_or_linger(c);
        break;
    case REPLY_WS:
        enter(c, CONN_SOCKET, after(c, patience(c->worker)));
        break;
    case REPLY_FIN:
        finish(c);
        break;
    case REPLY_RST:
        reset(c, "reset");
        break;
    }
    return false;
}

static void run_steps(struct slow_conn *c) {
    struct slow_worker *w = c->worker;

    while (!is_tired(c)) {
        buf_consume(&w->out, buf_unread(&w->out).len);
        if (reply_step(c->reply, &c->http, w->planner.stats.slot->faults, is_last(c), &w->out,
                       &c->step) < 0) {
            drop(c);
            return;
        }
        c->work_bytes += SLOWAPI_STEP_COST;
        if (!send_now(c, buf_unread(&w->out)) || !act(c))
            return;
    }
    enter(c, CONN_SEND, NSEC_NEVER);
    go_on_later(c);
}

static void answer_plainly(struct slow_conn *c, uint16_t status, struct slice text, bool last) {
    struct slow_worker *w = c->worker;

    c->step = (struct reply_step){ .act = REPLY_KEEP };
    c->work_bytes += SLOWAPI_STEP_COST;
    buf_consume(&w->out, buf_unread(&w->out).len);
    if (reply_plain(&c->http, status, text, last || is_last(c), &w->out) < 0)
        drop(c);
    else if (send_now(c, buf_unread(&w->out)))
        keep_or_linger(c);
}

/* Answers the request as planned. Bytes that the socket does not take at once are sent later. */
static void answer(struct slow_conn *c) {
    if (!c->is_timed)
        account_time(c);
    if (c->reply != NULL)
        run_steps(c);
    else
        answer_plainly(c, 200, SLICE("slow api response"), false);
}

/* The socket takes bytes again, or it never was full and others have had their turn. */
static void send_rest(struct slow_conn *c) {
    struct slice rest = buf_unread(&c->out);

    ssize_t n = rest.len > 0 ? watch_send(&c->watch, rest.ptr, rest.len) : 0;
    if (n == -EAGAIN)
        return;
    if (n < 0) {
        drop_gone(c);
        return;
    }
    buf_consume(&c->out, (size_t)n);
    if ((size_t)n < rest.len) {
        begin_to_send(c);
        return;
    }
    buf_free(&c->out);
    c->work_bytes += (uint32_t)rest.len;
    if (act(c))
        run_steps(c);
}

/* --- a WebSocket: the request is in flight until it closes ------------------------------------ */

/* Takes all of `input`, or ends the WebSocket. A client that closes without a Close has gone. */
static void talk(struct slow_conn *c, struct slice input, bool ends) {
    struct buf *out = &c->worker->out;

    buf_consume(out, buf_unread(out).len);
    int rc = ends ? websocket_close(c->reply->socket, WEBSOCKET_GOING_AWAY, out)
                  : websocket_echo(c->reply->socket, input, out);
    buf_free(&c->in);
    c->step.act = rc > 0 ? REPLY_KEEP : REPLY_WS;
    if (rc < 0)
        drop(c);
    else if (rc == 0 && c->eof)
        drop_gone(c);
    else if (send_now(c, buf_unread(out)))
        (void)act(c);
}

/* --- keep or linger --------------------------------------------------------------------------- */

static void await_next(struct slow_conn *c) {
    if (!c->is_reused && c->worker->open_count == 1)
        each_acceptor(c->worker, acceptor_yield);
    c->is_reused = true;
    enter(c, CONN_IDLE, after(c, c->worker->config->keep_alive));
}

/* Ends a request whose answer is written. Closing while input is unread would make the kernel reset
 * the connection, and a reset can overtake the answer. */
static void keep_or_linger(struct slow_conn *c) {
    bool is_read = c->http.phase == HTTP_PHASE_DONE && (c->eof || !(c->watch.ready & IO_READ));

    if (c->in_flight)
        slow_stats_count(&c->worker->planner.stats, SLOW_ANSWERS);
    account_end(c, "answered");
    if (http_conn_next(&c->http))
        await_next(c);
    else if (is_read)
        drop(c);
    else
        linger(c);
}

/* Back to bare bytes, without a word to the client. */
static void leave_tls(struct slow_conn *c) {
    account_handshake(c);
    slow_secure_leave(&c->watch, c->faults);
    c->faults = NULL;
}

/* Closes our side, and throws away what the client still sends, so that no reset overtakes the
 * answer. */
static void linger(struct slow_conn *c) {
    account_end(c, "closed");
    if (c->watch.tls != NULL && tls_shutdown(c->watch.tls) == -EAGAIN) {
        c->step.act = REPLY_FIN;
        begin_to_send(c);
        return;
    }
    leave_tls(c);
    buf_free(&c->in);
    if (linger_begin(&c->linger, c->watch.fd))
        enter(c, CONN_LINGER, after(c, LINGER_NSEC));
    else
        drop(c);
}

/* --- end -------------------------------------------------------------------------------------- */

/* Refuses for good with a static text. */
static void refuse(struct slow_conn *c, uint16_t status, const char *text) {
    slow_stats_count(&c->worker->planner.stats, SLOW_MALFORMED);
    if (c->in_flight)
        account_end_as(c, "malformed", status);
    else
        account_log(c, "malformed", status);
    answer_plainly(c, status, slice_str(text), true);
}

static void drop(struct slow_conn *c) {
    if (c->state == CONN_CLOSED)
        return;
    bool is_whole = !c->in_flight; /* close_notify would make a part of an answer look whole */
    account_end(c, "dropped");
    if (is_whole && c->watch.tls != NULL)
        (void)tls_shutdown(c->watch.tls);
    leave_tls(c);
    c->state = CONN_CLOSED;
    timer_cancel(c->worker->loop, &c->timer);
    watch_close(&c->watch);
    close(c->watch.fd);
    buf_free(&c->in);
    buf_free(&c->out);
    account_close(c);
    loop_defer(c->worker->loop, &c->later);
}

static void drop_gone(struct slow_conn *c) {
    c->client_left = true;
    drop(c);
}

static void reset(struct slow_conn *c, const char *outcome) {
    const struct linger now = { .l_onoff = 1 };

    account_end(c, outcome);
    leave_tls(c);
    setsockopt(c->watch.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    drop(c);
}

/* --- all connections of a worker -------------------------------------------------------------- */

void slow_conn_drain_all(struct slow_worker *w) {
    nsec_t until = deadline_after(loop_now(w->loop), SLOWAPI_CLOSING_TIME);

    for (struct slow_conn *c = w->conns, *next; c != NULL; c = next) {
        next = c->next;
        if (c->state == CONN_HANG)
            drop(c);
        else if (c->state == CONN_SOCKET)
            talk(c, SLICE(""), true);
        else if (c->state == CONN_IDLE)
            enter(c, CONN_IDLE, nsec_min(c->deadline, until));
    }
}

void slow_conn_close_all(struct slow_worker *w) {
    while (w->conns != NULL)
        drop(w->conns);
}
