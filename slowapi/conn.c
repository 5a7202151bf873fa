/* SPDX-License-Identifier: MIT */
/* The life of a connection of `srv slowapi`, on callbacks, in this order:
 *
 *     on_ready          the hub: bytes came, or room for some; on_deadline for the clock, on_later
 *                       for work that let others go first
 *     slow_conn_open    takes over a descriptor that was accepted
 *     read_request      reads and answers, until nothing is there or a request sleeps
 *     take_head         plans the answer; from here on a request is in flight
 *     wait_or_answer    the request is whole, and its delay begins
 *     conn_answer       sends, and all that follows: worker.c */
#include "slowapi/conn.h"
#include "base/alloc.h"
#include "http/error.h"
#include "net/socket.h"
#include "slowapi/forward.h"
#include "slowapi/request.h"
#include <errno.h>
#include <unistd.h>

/* Least room for more of a head that is being kept; the buffer doubles from there. */
#define ROOM_BYTES 2048

static void on_ready(struct watch *watch, unsigned what);
static void on_deadline(struct timer *timer);
static void on_later(struct deferred *later);
static void read_request(struct slow_conn *c);
static void take_head(struct slow_conn *c, const struct http_head *head);
static void take_data(struct slow_conn *c, struct slice data);
static void wait_or_answer(struct slow_conn *c);
static void decide_without_body(struct slow_conn *c, struct slice data);
static void forward(struct slow_conn *c, const struct http_head *head);

/* --- the hub ---------------------------------------------------------------------------------- */

static nsec_t after(const struct slow_conn *c, nsec_t span) {
    return deadline_after(loop_now(c->worker->loop), span);
}

static bool is_forwarded(const struct slow_conn *c) {
    return UNLIKELY(c->reply != NULL) && c->reply->exchange != NULL;
}

/* Bytes of another protocol go both ways. */
static bool is_tunnel(const struct slow_conn *c) {
    return is_forwarded(c) && c->reply->exchange->is_tunnel;
}

/* More of a request, or of a tunnel, goes to the upstream, whatever its answer is at. */
static bool feeds(const struct slow_conn *c) {
    return is_forwarded(c) && c->state < CONN_LINGER && c->state != CONN_PACED && !c->eof &&
           (c->http.phase == HTTP_PHASE_BODY || is_tunnel(c));
}

/* A request that waits keeps what comes in the kernel, which bounds it. One that hangs would never
 * be answered, so its client's FIN ends it. */
static void look_for_hangup(struct slow_conn *c, unsigned what) {
    bool ends = c->state == CONN_HANG && (what & IO_HANGUP) != 0;

    if (ends || ((what & (IO_READ | IO_HANGUP)) != 0 && conn_is_gone(c)))
        conn_drop_gone(c);
}

/* Whether the body that comes is to be read no faster than a fault says. */
static bool paces_upload(const struct slow_conn *c) {
    return c->state == CONN_BODY && c->reply != NULL && c->reply->paces_upload;
}

static void on_ready(struct watch *watch, unsigned what) {
    struct slow_conn *c = CONTAINER_OF(watch, struct slow_conn, watch);

    c->work_bytes = 0;
    if (UNLIKELY(paces_upload(c))) /* the client had nothing until now */
        reply_upload(c->reply, c->worker->planner.stats.slot->faults, 0);
    if (c->state == CONN_HANG ||
        ((c->state == CONN_SLEEP || c->state == CONN_PACED) && !is_tunnel(c))) {
        look_for_hangup(c, what);
        if (!feeds(c))
            return;
    }
    if (c->state == CONN_SEND && (what & IO_WRITE) != 0)
        conn_send_rest(c);
    read_request(c);
}

static void on_deadline(struct timer *timer) {
    struct slow_conn *c = CONTAINER_OF(timer, struct slow_conn, timer);

    if (loop_now(c->worker->loop) < c->deadline) { /* the deadline moved since the timer was set */
        conn_enter(c, (enum slow_conn_state)c->state, c->deadline);
        return;
    }
    c->work_bytes = 0;
    if (UNLIKELY(conn_cut(c))) {
        read_request(c);
        return;
    }
    switch ((enum slow_conn_state)c->state) {
    case CONN_SLEEP:
        conn_answer(c);
        break;
    case CONN_PACED:
        conn_enter(c, CONN_BODY, after(c, SLOWAPI_BODY_IDLE));
        break;
    case CONN_HEAD:
        conn_refuse(c, 408, "the request head took too long");
        break;
    case CONN_BODY:
        conn_refuse(c, 408, "the request body took too long");
        break;
    case CONN_HANG: /* a connection that was to be left alone at first */
        conn_enter(c, CONN_IDLE, after(c, conn_patience(c->worker)));
        break;
    case CONN_SEND:
        conn_look_at_progress(c);
        break;
    case CONN_SOCKET:
        conn_talk(c, SLICE(""), true);
        break;
    case CONN_IDLE:
    case CONN_LINGER:
    case CONN_CLOSED:
        conn_drop(c);
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
        conn_send_rest(c);
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
    conn_enter(c, CONN_IDLE, deadline_after(loop_now(w->loop), conn_patience(w)));
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
        conn_enter(c, CONN_HANG, deadline_after(clock_now(), fault->arg));
    } else if (at.effect == FAULT_RESETS) {
        conn_reset(c, "reset");
    } else {
        conn_leave_tls(c);
        if (at.effect == FAULT_ANSWERS)
            conn_answer_plainly(c, 400, SLICE("this is no TLS"), true);
        else
            conn_linger(c);
    }
    return 0;
}

/* Rolls for a fault of a connection that was accepted; returns as strike. */
static nsec_t inject_accepted(struct slow_conn *c, const struct fault *fault) {
    struct shared *shared = c->worker->planner.shared;
    struct fault copy = *fault;

    if (fault->place != FAULT_AT_ACCEPT || rng_unit_of(shared_roll(shared)) >= fault->probability ||
        !shared_fault_is_on(shared, (enum fault_kind)fault->kind))
        return 0;
    return strike(c, &copy);
}

static void open_tls(struct slow_conn *c, const struct spec *defaults) {
    struct slow_worker *w = c->worker;
    struct fault list[SPEC_FAULTS_MAX];
    size_t count = 0;

    for (size_t i = 0; i < defaults->fault_count; i++) {
        const struct fault *fault = &defaults->faults[i];
        if ((fault->place & FAULT_AT_HANDSHAKE) != 0 &&
            rng_unit_of(shared_roll(w->planner.shared)) < fault->probability &&
            shared_fault_is_on(w->planner.shared, (enum fault_kind)fault->kind))
            list[count++] = *fault;
    }
    c->is_shaking = slow_secure_open(w->secure, &c->watch, list, count, &c->faults) == 0;
    if (!c->is_shaking)
        conn_drop(c);
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
    if (is_forwarded(c))
        return feeds(c) && slow_exchange_has_room(c->reply->exchange);
    return c->state <= CONN_SOCKET;
}

/* A request that goes to the upstream already cannot be answered any more. */
static void refuse_bytes(struct slow_conn *c, const char *why) {
    if (is_forwarded(c) && (why == http_err_truncated || c->is_timed))
        conn_drop_gone(c);
    else
        conn_refuse(c, http_err_status(why), why);
}

/* Feeds the codec all that `input` allows, or as many requests as one turn may answer. Returns how
 * much of it was used. */
static size_t feed(struct slow_conn *c, struct slice input) {
    struct http_head head;
    struct http_event ev;
    size_t used = 0;

    while ((c->state < CONN_SOCKET || feeds(c)) && !(c->state == CONN_IDLE && conn_is_tired(c))) {
        used += http_conn_feed(&c->http, slice_drop(input, used), c->eof, &head, &ev);
        switch (ev.kind) {
        case HTTP_EV_HEAD:
            take_head(c, &head);
            break;
        case HTTP_EV_END:
            wait_or_answer(c);
            break;
        case HTTP_EV_BAD:
            refuse_bytes(c, ev.why);
            break;
        case HTTP_EV_CLOSED:
            conn_drop(c);
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

/* Bytes of a tunnel, or its end. */
static size_t pass_bytes(struct slow_conn *c, struct slice input) {
    struct slow_exchange *x = c->reply->exchange;

    if (slow_exchange_write(x, input) < 0 || (c->eof && slow_exchange_end(x, SLICE("")) < 0))
        conn_drop(c);
    return input.len;
}

/* The time for more of a body. A service that takes nothing more holds its client back. */
static nsec_t body_patience(const struct slow_conn *c) {
    bool waits = is_forwarded(c) && !slow_exchange_has_room(c->reply->exchange);

    return waits ? NSEC_NEVER : after(c, SLOWAPI_BODY_IDLE);
}

/* More of the body is read as it comes, or when the links have carried what came. */
static void await_body(struct slow_conn *c) {
    nsec_t at = paces_upload(c) ? c->reply->upload_at : 0;

    if (at > 0 && at > clock_now())
        conn_enter(c, CONN_PACED, at);
    else
        conn_enter(c, CONN_BODY, body_patience(c));
}

/* `input` is the unread part of `in`, or lies in the shared buffer and `in` is empty. */
static void process(struct slow_conn *c, struct slice input) {
    size_t used = is_tunnel(c) ? pass_bytes(c, input) : feed(c, input);
    if (c->state == CONN_CLOSED || c->state == CONN_LINGER)
        return;
    if (is_forwarded(c))
        slow_exchange_flush(c->reply->exchange);
    if (c->state == CONN_SOCKET)
        conn_talk(c, slice_drop(input, used), false);
    else if (buf_keep(&c->in, input, used) < 0)
        conn_drop(c);
    else if (c->state == CONN_IDLE && conn_is_tired(c))
        loop_defer(c->worker->loop, &c->later);
    else if (c->state == CONN_IDLE && c->in.data != NULL)
        conn_enter(c, CONN_HEAD, after(c, c->worker->config->header_timeout));
    else if (c->state == CONN_BODY)
        await_body(c);
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
    conn_leave_tls(c);
    if (saw_http)
        conn_refuse(c, 400, "this port speaks TLS: ask it by https");
    else if (told) /* an alert has been sent, which is to be read */
        conn_linger(c);
    else
        conn_drop(c);
    return false;
}

/* Does one system call and what follows. False: the socket is dry, or the connection is closed. */
static bool read_some(struct slow_conn *c) {
    struct slow_worker *w = c->worker;
    struct slice input;

    if (UNLIKELY(c->is_shaking) && !shake_hands(c))
        return c->state == CONN_LINGER;
    size_t size = UNLIKELY(paces_upload(c)) ? reply_upload_portion(c->reply) : sizeof(w->in);
    ssize_t n = watch_recv_behind(&c->watch, &c->in, ROOM_BYTES, w->in, size, &input);
    if (n == -EAGAIN)
        return false;
    if (n == -ENOMEM)
        conn_drop(c);
    else if (n < 0)
        conn_drop_gone(c);
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
        conn_drop(c);
        break;
    case LINGER_DRY:
        break;
    }
    return false;
}

/* Reads and answers until the socket is dry, a request sleeps, or others should have a turn. */
static void read_request(struct slow_conn *c) {
    if (c->in.data != NULL && (c->state == CONN_IDLE || c->state == CONN_SOCKET ||
                               (is_tunnel(c) && takes_input(c)))) /* it came with the request */
        process(c, buf_unread(&c->in));

    while (!conn_is_tired(c)) {
        bool more = false;
        if (takes_input(c))
            more = read_some(c);
        else if (c->state == CONN_LINGER)
            more = discard_some(c);
        if (!more)
            return;
    }
    if (takes_input(c) || c->state == CONN_LINGER)
        loop_defer(c->worker->loop, &c->later);
}

/* --- plan ------------------------------------------------------------------------------------- */

/* A client whose socket is full of unread answers gets none: it may send the body anyway (RFC 9110
 * section 10.1.1). */
static void invite_body(struct slow_conn *c) {
    bool is_secure = c->watch.tls != NULL; /* bytes that TLS did not send would have to come next */
    struct slice text = HTTP_CONTINUE;

    if (is_secure && !socket_has_room(c->watch.fd))
        return;
    ssize_t n = watch_send(&c->watch, text.ptr, text.len);
    if (n != (ssize_t)text.len && (n != -EAGAIN || is_secure))
        conn_drop_gone(c);
}

/* Bytes that are not read yet wait in the kernel, and beyond its buffer with the client, whose send
 * blocks: a small buffer lets it feel the pace soon. */
static void hold_upload(struct slow_conn *c) {
    const int size = SLOWAPI_UPLOAD_BUFFER;

    setsockopt(c->watch.fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

/* Injects the faults that come before the answer is due. True: the request is dealt with. */
static bool inject_request_faults(struct slow_conn *c) {
    struct injection at = { .counts = c->worker->planner.stats.slot->faults };
    struct reply *reply = c->reply;

    int rc = fault_inject_all(reply->faults, reply->fault_count, FAULT_ON_REUSE, &at);
    if (rc == 0 && at.effect == FAULT_GOES_ON)
        rc = fault_inject_all(reply->faults, reply->fault_count, FAULT_ON_REQUEST, &at);
    if (rc < 0)
        conn_drop(c);
    else if (at.effect == FAULT_CLOSES)
        conn_linger(c);
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
        conn_drop(c);
        return;
    }
    c->delay = plan.delay;
    c->reply = plan.reply;
    conn_enter(c, CONN_BODY, after(c, SLOWAPI_BODY_IDLE));
    if (c->state == CONN_CLOSED || (c->reply != NULL && inject_request_faults(c)))
        return;
    if (UNLIKELY(paces_upload(c)))
        hold_upload(c);
    if (c->reply != NULL && c->reply->forwards)
        forward(c, head);
    if (!http_conn_takes_continue(&c->http) || is_forwarded(c)) /* the upstream invites */
        return;
    if (c->reply == NULL || c->reply->status < 400)
        invite_body(c);
    else
        wait_or_answer(c);
}

/* A body is thrown away, unless the answer is made of it. */
static void take_data(struct slow_conn *c, struct slice data) {
    const char *why = NULL;
    int rc = is_forwarded(c) ? slow_exchange_write(c->reply->exchange, data)
             : c->reply != NULL && c->reply->kept != NULL ? kept_add(c->reply->kept, data, &why)
                                                          : 0;

    account_data(c, data);
    if (rc == 413 && c->reply->kept->is_open) {
        decide_without_body(c, data);
        return;
    }
    if (UNLIKELY(paces_upload(c)))
        reply_upload(c->reply, c->worker->planner.stats.slot->faults, data.len);
    if (rc > 0)
        conn_refuse(c, (uint16_t)rc, why);
    else if (rc < 0)
        conn_drop(c);
}

/* --- in front of a service -------------------------------------------------------------------- */

/* 1xx answers of the upstream, while none of its own has begun. A client whose socket is full of
 * unread answers gets none, as RFC 9110 section 15.2 lets us. */
static void pass_interims(struct slow_conn *c, struct slow_exchange *x) {
    struct slice text = buf_unread(&x->interims);
    bool may = text.len > 0 && c->http.version_minor > 0 && !c->is_timed &&
               (c->watch.tls == NULL || socket_has_room(c->watch.fd));

    ssize_t n = may ? watch_send(&c->watch, text.ptr, text.len) : -EAGAIN;
    buf_consume(&x->interims, text.len);
    if (n != (ssize_t)text.len && n != -EAGAIN)
        conn_drop_gone(c);
}

/* The head of the answer has come, or never will: its delay begins. */
static void begin_answer(struct slow_conn *c, struct slow_exchange *x) {
    if (!x->has_head && forward_fail(c->reply, x) < 0) {
        conn_drop(c);
        return;
    }
    if (x->has_head && forward_look_ahead(c->reply, x) < 0) {
        c->reply->awaits = true;
        return;
    }
    nsec_t now = clock_now(), from = nsec_max(now, c->reply->upload_at);
    if (!x->has_head)
        c->delay = 0;
    if (c->delay > 0 || from > now)
        conn_wait_until(c, deadline_after(from, c->delay));
    else
        conn_answer(c);
}

static void on_exchange(struct slow_exchange *x) {
    struct slow_conn *c = x->owner;
    struct reply *reply = c->reply;

    c->work_bytes = 0;
    pass_interims(c, x);
    if (c->state != CONN_CLOSED && reply->awaits && (x->has_head || x->failure != EXCHANGE_WELL)) {
        reply->awaits = false;
        if (c->is_timed)
            conn_go_on(c);
        else
            begin_answer(c, x);
    }
    read_request(c);
}

/* Begins to pass a request on. */
static void forward(struct slow_conn *c, const struct http_head *head) {
    const struct slowapi_config *config = c->worker->config;
    const struct forward_origin origin = { .fd = c->watch.fd,
                                           .is_secure = c->watch.tls != NULL,
                                           .is_told = config->tells_forwarded };

    if (c->state != CONN_BODY)
        return;
    struct slow_exchange *x = forward_new(c->worker->upstream, c->reply, head, &origin);
    if (x == NULL) {
        conn_drop(c);
        return;
    }
    c->reply->exchange = x;
    c->reply->awaits = true;
    x->notify = on_exchange;
    x->owner = c;
    forward_begin(x, head);
}

/* All of the request has come. */
static void end_request(struct slow_conn *c) {
    if (!is_tunnel(c) && slow_exchange_end(c->reply->exchange, SLICE("")) < 0)
        conn_drop(c);
    else if (c->state == CONN_BODY)
        conn_await(c);
}

/* Passes on what was kept of a request until its rule was chosen. */
static void pass_kept(struct slow_conn *c, bool is_whole) {
    struct kept_request *kept = c->reply->kept;

    forward(c, &kept->head);
    if (!is_forwarded(c))
        return;
    int rc = slow_exchange_write(c->reply->exchange, kept->request.body);
    c->reply->kept = NULL;
    kept_free(kept);
    if (rc < 0)
        conn_drop(c);
    else if (is_whole)
        end_request(c);
}

/* The body is too long to be kept: no condition on it is met, and the rest of it is to come. */
static void decide_without_body(struct slow_conn *c, struct slice data) {
    c->reply->kept->request.is_cut = true;
    if (plan_finish(&c->worker->planner, c->reply, &c->delay) < 0) {
        conn_drop(c);
        return;
    }
    if (!c->reply->forwards) {
        (void)inject_request_faults(c);
        return;
    }
    pass_kept(c, false);
    if (is_forwarded(c) && slow_exchange_write(c->reply->exchange, data) < 0)
        conn_drop(c);
}

/* --- a request that is whole ----------------------------------------------------------------- */

/* Makes what is left of the plan of a request that was kept. True: its delay may begin. */
static bool finish_plan(struct slow_conn *c) {
    bool was_open = c->reply->kept->is_open;

    if (plan_finish(&c->worker->planner, c->reply, &c->delay) < 0) {
        conn_drop(c);
        return false;
    }
    if (was_open && c->reply->forwards) {
        pass_kept(c, true);
        return false;
    }
    return !was_open || !inject_request_faults(c);
}

/* The request is read, and its delay begins when its links have carried it. The clock is read
 * again: from the begin of the turn, a request that came late in it would be answered too early. */
static void wait_or_answer(struct slow_conn *c) {
    nsec_t came_at = paces_upload(c) ? c->reply->upload_at : 0;

    if (is_forwarded(c))
        end_request(c);
    else if (UNLIKELY(c->reply != NULL) && c->reply->kept != NULL && !finish_plan(c))
        return;
    else if (c->delay > 0 || came_at > 0)
        conn_wait_until(c, deadline_after(nsec_max(clock_now(), came_at), c->delay));
    else
        conn_answer(c);
}

/* --- all connections of a worker -------------------------------------------------------------- */

void slow_conn_drain_all(struct slow_worker *w) {
    nsec_t until = deadline_after(loop_now(w->loop), SLOWAPI_CLOSING_TIME);

    for (struct slow_conn *c = w->conns, *next; c != NULL; c = next) {
        next = c->next;
        if (c->state == CONN_HANG)
            conn_drop(c);
        else if (c->state == CONN_SOCKET)
            conn_talk(c, SLICE(""), true);
        else if (c->state == CONN_IDLE)
            conn_enter(c, CONN_IDLE, nsec_min(c->deadline, until));
    }
}

void slow_conn_close_all(struct slow_worker *w) {
    while (w->conns != NULL)
        conn_drop(w->conns);
}
