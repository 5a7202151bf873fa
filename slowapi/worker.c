/* SPDX-License-Identifier: MIT */
/* Counts connections, handshakes and requests, and times and logs what comes of requests; waits,
 * sends answers step by step as reply.c says, and ends connections. */
#include "slowapi/worker.h"
#include "base/alloc.h"
#include "http/websocket.h"
#include "net/socket.h"
#include "relay/proxy.h"
#include "slowapi/access_log.h"
#include "slowapi/journal.h"
#include "slowapi/upstream.h"
#include <assert.h>
#include <errno.h>
#include <unistd.h>

static_assert(sizeof(struct slow_conn) <= 512, "a sleeping request is to cost well below 1 KB");

static void begin_to_send(struct slow_conn *c);
static void keep_or_linger(struct slow_conn *c);

/* --- the account: all is counted once, however it ends ---------------------------------------- */

void each_acceptor(struct slow_worker *w, void (*act)(struct acceptor *)) {
    for (size_t i = 0; i < w->listener_count; i++)
        act(&w->listeners[i].acceptor);
}

void worker_count(struct slow_worker *w, int change) {
    w->open_count += (size_t)change;
    crowd_count(w->place, change);
    if (change > 0)
        return;
    each_acceptor(w, acceptor_look_again);
    if (w->relay != NULL)
        relay_worker_look_again(w->relay);
    if (w->open_count == 0 && w->draining)
        loop_stop(w->loop);
}

void account_open(struct slow_conn *c, struct slow_worker *w) {
    c->worker = w;
    c->next = w->conns;
    if (c->next != NULL)
        c->next->prev = c;
    w->conns = c;
    worker_count(w, 1);
    atomic_fetch_add_explicit(&w->planner.stats.slot->open, 1, memory_order_relaxed);
}

static void account_close(struct slow_conn *c) {
    struct slow_worker *w = c->worker;

    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        w->conns = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    atomic_fetch_sub_explicit(&w->planner.stats.slot->open, 1, memory_order_relaxed);
    worker_count(w, -1);
}

void account_data(struct slow_conn *c, struct slice data) {
    if (c->reply != NULL && c->reply->journal != 0)
        journal_body(c->worker->planner.shared->journal, c->reply->journal, data);
}

static void account_time(struct slow_conn *c) {
    struct slow_stats *stats = &c->worker->planner.stats;
    nsec_t late = c->delay > 0 ? clock_now() - c->deadline : 0;

    c->is_timed = true;
    if (c->reply != NULL)
        c->reply->late = late;
    slow_stats_time(stats, SLOW_PLANNED, c->delay);
    slow_stats_time(stats, SLOW_ACTUAL, c->delay + late);
    slow_stats_time(stats, SLOW_LATE, late);
}

/* Counts the bytes of the body that were made and have reached the kernel. */
static uint64_t sent_bytes(const struct slow_conn *c) {
    uint64_t made = c->reply != NULL ? c->reply->body_bytes : 0, held = buf_unread(&c->out).len;

    return made > held ? made - held : 0;
}

/* From the head of the request to that of the upstream's answer; -1: there is none. */
static nsec_t upstream_time(const struct slow_conn *c) {
    const struct slow_exchange *x = c->reply != NULL ? c->reply->exchange : NULL;

    return x != NULL && x->head_at > 0 ? x->head_at - x->begun_at : -1;
}

static void account_log(struct slow_conn *c, const char *outcome, uint16_t status) {
    struct slow_worker *w = c->worker;

    if (w->access_log == NULL)
        return;
    bool is_open = c->watch.tls != NULL && tls_is_open(c->watch.tls);
    struct tls_facts tls;
    if (is_open)
        tls_describe(c->watch.tls, &tls);
    const struct access_log_facts facts = {
        .tls = is_open ? &tls : NULL,
        .client = c->peer,
        .outcome = c->client_left ? "aborted" : outcome,
        .status = status,
        .has_begun = c->is_timed,
        .bytes = sent_bytes(c),
        .upstream = upstream_time(c),
    };
    if (!slow_access_log_write(w->access_log, c->reply, &facts))
        slow_stats_count(&w->planner.stats, SLOW_LOG_DROPPED);
}

static uint32_t path_of(const struct slow_conn *c) {
    const struct reply *reply = c->reply;

    if (reply == NULL)
        return 0; /* the plain answer is that of `/` */
    return paths_still(&c->worker->planner.shared->paths, reply->path, reply->path_age);
}

/* Ends the exchange with the upstream, if there is one, and counts it. */
static void account_exchange(struct slow_conn *c) {
    static const int failures[] = {
        [EXCHANGE_UNREACHABLE] = SLOW_UPSTREAM_UNREACHABLE,
        [EXCHANGE_CLOSED] = SLOW_UPSTREAM_CLOSED,
        [EXCHANGE_MALFORMED] = SLOW_UPSTREAM_MALFORMED,
        [EXCHANGE_LATE] = SLOW_UPSTREAM_TIMEOUTS,
    };
    struct slow_stats *stats = &c->worker->planner.stats;
    _Atomic uint64_t *counters = stats->slot->counters;
    struct slow_exchange *x = c->reply != NULL ? c->reply->exchange : NULL;

    if (x == NULL)
        return;
    slow_stats_count(stats, SLOW_UPSTREAM_REQUESTS);
    slow_stats_add(&counters[SLOW_UPSTREAM_CONNECTIONS], x->dials);
    slow_stats_add(&counters[SLOW_UPSTREAM_RETRIES], x->was_retried);
    slow_stats_add(&counters[SLOW_UPSTREAM_SENT_BYTES], x->sent_bytes);
    slow_stats_add(&counters[SLOW_UPSTREAM_RECEIVED_BYTES], x->received_bytes);
    if (x->failure != EXCHANGE_WELL && x->failure != EXCHANGE_MEMORY)
        slow_stats_count(stats, (enum slow_stats_counter)failures[x->failure]);
    slow_exchange_free(x);
    c->reply->exchange = NULL;
}

static void account_end_as(struct slow_conn *c, const char *outcome, uint16_t status) {
    struct slow_worker *w = c->worker;

    if (!c->in_flight)
        return;
    c->in_flight = false;
    if (c->client_left)
        slow_stats_count(&w->planner.stats, SLOW_CLIENT_ABORTS);
    slow_stats_end(&w->planner.stats, path_of(c), status);
    account_log(c, outcome, status);
    if (c->reply != NULL && c->reply->journal != 0)
        journal_end(w->planner.shared->journal, c->reply->journal,
                    &(const struct journal_end){ .outcome = c->client_left ? "aborted" : outcome,
                                                 .status = status,
                                                 .has_begun = c->is_timed,
                                                 .delay = c->reply->delay,
                                                 .late = c->reply->late,
                                                 .upstream = upstream_time(c),
                                                 .bytes = sent_bytes(c),
                                                 .faults = reply_struck(c->reply) });
    account_exchange(c);
    plan_free(&w->planner, c->reply);
    c->reply = NULL;
}

static void account_end(struct slow_conn *c, const char *outcome) {
    const struct reply *reply = c->reply;
    uint16_t status = c->is_timed ? 200 : 0;

    if (reply != NULL)
        status = reply->phase != REPLY_HEAD ? reply->status : 0;
    account_end_as(c, outcome, status);
}

void account_handshake(struct slow_conn *c) {
    struct slow_stats *stats = &c->worker->planner.stats;
    const struct tls *t = c->watch.tls;

    if (!c->is_shaking)
        return;
    c->is_shaking = false;
    enum fault_kind asked = slow_secure_asked(t);
    if (asked != FAULT_KINDS)
        slow_stats_add(&stats->slot->faults[asked], 1);
    slow_stats_count(stats, tls_is_open(t) ? SLOW_TLS_HANDSHAKES : SLOW_TLS_FAILED);
    if (tls_is_open(t) && tls_is_resumed(t))
        slow_stats_count(stats, SLOW_TLS_RESUMED);
}

/* --- states ----------------------------------------------------------------------------------- */

static nsec_t after(const struct slow_conn *c, nsec_t span) {
    return deadline_after(loop_now(c->worker->loop), span);
}

nsec_t conn_patience(const struct slow_worker *w) {
    nsec_t keep_alive = w->config->keep_alive, head = w->config->header_timeout;

    return keep_alive < head ? head : keep_alive;
}

void conn_arm(struct slow_conn *c) {
    if (timer_set(c->worker->loop, &c->timer, c->deadline) < 0)
        conn_drop(c);
}

/* --- wait ------------------------------------------------------------------------------------- */

/* Tells whether nobody waits for the answer any more. A FIN alone may come from a client that has
 * shut its sending side only, which --half-close decides. */
bool conn_is_gone(const struct slow_conn *c) {
    if ((c->watch.ready & IO_HANGUP) && c->worker->config->half_close == HALF_CLOSE_GONE)
        return true;
    return socket_is_dead(c->watch.fd);
}

/* A hang-up that came before is not told again, a reset not as one: both are looked for here. */
void conn_wait_until(struct slow_conn *c, nsec_t at) {
    if (conn_is_gone(c))
        conn_drop_gone(c);
    else
        conn_enter(c, CONN_SLEEP, at);
}

static bool is_tunnel(const struct slow_conn *c) {
    return c->reply != NULL && c->reply->exchange != NULL && c->reply->exchange->is_tunnel;
}

/* Sleeps until somebody else wakes it up. A reset is told by itself. */
void conn_await(struct slow_conn *c) {
    if ((c->watch.ready & IO_HANGUP) && !is_tunnel(c) && conn_is_gone(c))
        conn_drop_gone(c);
    else
        conn_enter(c, CONN_SLEEP, NSEC_NEVER);
}

/* Waits until the client closes its side; a hang-up that came before is not told again. */
static void hang(struct slow_conn *c) {
    if ((c->watch.ready & IO_HANGUP) || conn_is_gone(c))
        conn_drop_gone(c);
    else
        conn_enter(c, CONN_HANG, NSEC_NEVER);
}

/* --- answer ----------------------------------------------------------------------------------- */

/* The socket tells that it takes bytes when a third of its buffer is free. A slow reader needs long
 * for that, so its progress is looked for in between. */
static void wait_for_room(struct slow_conn *c) {
    nsec_t patience = c->worker->config->send_timeout;
    nsec_t look_at = deadline_after(clock_now(), patience / SLOWAPI_SEND_LOOKS + 1);

    if (patience == 0)
        conn_enter(c, CONN_SEND, NSEC_NEVER);
    else
        conn_enter(c, CONN_SEND, nsec_min(look_at, deadline_after(c->progress_at, patience)));
}

static void begin_to_send(struct slow_conn *c) {
    c->unacked_bytes = socket_unacknowledged(c->watch.fd);
    c->progress_at = clock_now();
    wait_for_room(c);
}

/* A reset drops bytes that the kernel has not sent; those before the fault are to go first. */
static void reset_when_sent(struct slow_conn *c) {
    nsec_t now = clock_now();

    if (c->step.until == 0)
        c->step.until = deadline_after(now, SLOWAPI_RST_PATIENCE);
    if (socket_unsent(c->watch.fd) == 0 || now >= c->step.until)
        conn_reset(c, "reset");
    else
        conn_enter(c, CONN_SEND, now + NSEC_PER_MSEC);
}

/* A reset, because the end of an answer without a length would look like its planned one. */
void conn_look_at_progress(struct slow_conn *c) {
    uint32_t unacked = socket_unacknowledged(c->watch.fd);
    nsec_t now = clock_now();

    if (c->step.act == REPLY_RST && buf_unread(&c->out).len == 0) {
        reset_when_sent(c);
        return;
    }
    if (unacked < c->unacked_bytes)
        c->progress_at = now;
    c->unacked_bytes = unacked;
    if (now < deadline_after(c->progress_at, c->worker->config->send_timeout)) {
        wait_for_room(c);
        return;
    }
    slow_stats_count(&c->worker->planner.stats, SLOW_SEND_TIMEOUTS);
    conn_reset(c, "send-timeout");
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
        conn_drop(c);
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
        conn_leave_tls(c);
    conn_linger(c);
}

/* Does what the step said. True: the next one may come at once. */
static bool act(struct slow_conn *c) {
    switch (c->step.act) {
    case REPLY_NEXT:
        return true;
    case REPLY_WAIT:
        conn_wait_until(c, c->step.until);
        break;
    case REPLY_AWAIT:
        c->reply->awaits = true;
        conn_await(c);
        break;
    case REPLY_HANG:
        hang(c);
        break;
    case REPLY_KEEP:
        keep_or_linger(c);
        break;
    case REPLY_WS:
        conn_enter(c, CONN_SOCKET, after(c, conn_patience(c->worker)));
        break;
    case REPLY_FIN:
        finish(c);
        break;
    case REPLY_RST:
        reset_when_sent(c);
        break;
    }
    return false;
}

static bool is_last(const struct slow_conn *c) {
    return c->worker->draining || c->worker->config->keep_alive == 0;
}

/* Steps until something has to be done beside sending, or a turn has had its part. */
static int make_steps(struct slow_conn *c) {
    struct slow_worker *w = c->worker;
    int rc;

    buf_consume(&w->out, buf_unread(&w->out).len);
    do {
        rc = reply_step(c->reply, &c->http, w->planner.stats.slot->faults, is_last(c), &w->out,
                        &c->step);
        c->work_bytes += SLOWAPI_STEP_COST;
    } while (rc == 0 && c->step.act == REPLY_NEXT &&
             c->work_bytes + buf_unread(&w->out).len < SLOWAPI_TURN_BYTES);
    return rc;
}

/* The upstream broke off, and so do we, with what had come. Where the close ends the body, a reset
 * tells that it was not the end. */
static void break_off(struct slow_conn *c, struct slice made) {
    bool is_unframed = !c->reply->is_chunked && c->reply->body.units == UINT64_MAX;

    if (made.len > 0)
        (void)watch_send(&c->watch, made.ptr, made.len);
    if (is_unframed) {
        conn_reset(c, "upstream");
    } else {
        account_end(c, "upstream");
        conn_linger(c);
    }
}

static void run_steps(struct slow_conn *c) {
    struct slow_worker *w = c->worker;

    while (!conn_is_tired(c)) {
        int rc = make_steps(c);
        if (rc < 0) {
            if (c->reply->exchange != NULL && c->reply->exchange->failure != EXCHANGE_WELL)
                break_off(c, buf_unread(&w->out));
            else
                conn_drop(c);
            return;
        }
        if (!send_now(c, buf_unread(&w->out)) || !act(c))
            return;
    }
    conn_enter(c, CONN_SEND, NSEC_NEVER);
    loop_defer(c->worker->loop, &c->later);
}

bool conn_cut(struct slow_conn *c) {
    struct slow_worker *w = c->worker;

    if (c->reply == NULL || c->reply->cut_at > loop_now(w->loop))
        return false;
    reply_cut(c->reply, w->planner.stats.slot->faults, &c->step);
    if (buf_unread(&c->out).len > 0 && c->watch.tls != NULL) {
        conn_leave_tls(c); /* in the middle of a record, which can neither be ended nor cut again */
        c->step.cuts = c->step.breaks = false;
    }
    buf_free(&c->out);
    if (c->step.act == REPLY_RST)
        conn_reset(c, "reset");
    else
        (void)act(c);
    return true;
}

void conn_answer_plainly(struct slow_conn *c, uint16_t status, struct slice text, bool last) {
    struct slow_worker *w = c->worker;

    c->step = (struct reply_step){ .act = REPLY_KEEP };
    c->work_bytes += SLOWAPI_STEP_COST;
    buf_consume(&w->out, buf_unread(&w->out).len);
    if (reply_plain(&c->http, status, text, last || is_last(c), &w->out) < 0)
        conn_drop(c);
    else if (send_now(c, buf_unread(&w->out)))
        keep_or_linger(c);
}

/* Answers the request as planned. Bytes that the socket does not take at once are sent later. */
void conn_answer(struct slow_conn *c) {
    if (!c->is_timed)
        account_time(c);
    if (c->reply != NULL)
        run_steps(c);
    else
        conn_answer_plainly(c, 200, SLICE("slow api response"), false);
}

void conn_go_on(struct slow_conn *c) {
    run_steps(c);
}

/* The socket takes bytes again, or it never was full and others have had their turn. */
void conn_send_rest(struct slow_conn *c) {
    struct slice rest = buf_unread(&c->out);

    ssize_t n = rest.len > 0 ? watch_send(&c->watch, rest.ptr, rest.len) : 0;
    if (n == -EAGAIN)
        return;
    if (n < 0) {
        conn_drop_gone(c);
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
void conn_talk(struct slow_conn *c, struct slice input, bool ends) {
    struct buf *out = &c->worker->out;

    buf_consume(out, buf_unread(out).len);
    int rc = ends ? websocket_close(c->reply->socket, WEBSOCKET_GOING_AWAY, out)
                  : websocket_echo(c->reply->socket, input, out);
    buf_free(&c->in);
    c->step.act = rc > 0 ? REPLY_KEEP : REPLY_WS;
    if (rc < 0)
        conn_drop(c);
    else if (rc == 0 && c->eof)
        conn_drop_gone(c);
    else if (send_now(c, buf_unread(out)))
        (void)act(c);
}

/* --- keep or linger --------------------------------------------------------------------------- */

static void await_next(struct slow_conn *c) {
    if (!c->is_reused && c->worker->open_count == 1)
        each_acceptor(c->worker, acceptor_yield);
    c->is_reused = true;
    conn_enter(c, CONN_IDLE, after(c, c->worker->config->keep_alive));
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
        conn_drop(c);
    else
        conn_linger(c);
}

/* Back to bare bytes, without a word to the client. */
void conn_leave_tls(struct slow_conn *c) {
    account_handshake(c);
    slow_secure_leave(&c->watch, c->faults);
    c->faults = NULL;
}

/* Closes our side, and throws away what the client still sends, so that no reset overtakes the
 * answer. */
void conn_linger(struct slow_conn *c) {
    account_end(c, "closed");
    if (c->watch.tls != NULL && tls_shutdown(c->watch.tls) == -EAGAIN) {
        c->step.act = REPLY_FIN;
        begin_to_send(c);
        return;
    }
    conn_leave_tls(c);
    buf_free(&c->in);
    if (linger_begin(&c->linger, c->watch.fd))
        conn_enter(c, CONN_LINGER, after(c, LINGER_NSEC));
    else
        conn_drop(c);
}

/* --- end -------------------------------------------------------------------------------------- */

/* Refuses for good with a static text. */
void conn_refuse(struct slow_conn *c, uint16_t status, const char *text) {
    slow_stats_count(&c->worker->planner.stats, SLOW_MALFORMED);
    if (c->in_flight) {
        account_end_as(c, "malformed", status);
    } else {
        slow_stats_answer(&c->worker->planner.stats, PATHS_OTHER, status);
        account_log(c, "malformed", status);
    }
    conn_answer_plainly(c, status, slice_str(text), true);
}

void conn_drop(struct slow_conn *c) {
    if (c->state == CONN_CLOSED)
        return;
    bool is_whole = !c->in_flight; /* close_notify would make a part of an answer look whole */
    account_end(c, "dropped");
    if (is_whole && c->watch.tls != NULL)
        (void)tls_shutdown(c->watch.tls);
    conn_leave_tls(c);
    c->state = CONN_CLOSED;
    timer_cancel(c->worker->loop, &c->timer);
    watch_close(&c->watch);
    close(c->watch.fd);
    buf_free(&c->in);
    buf_free(&c->out);
    account_close(c);
    loop_defer(c->worker->loop, &c->later);
}

void conn_drop_gone(struct slow_conn *c) {
    c->client_left = true;
    conn_drop(c);
}

void conn_reset(struct slow_conn *c, const char *outcome) {
    const struct linger now = { .l_onoff = 1 };

    account_end(c, outcome);
    conn_leave_tls(c);
    setsockopt(c->watch.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    conn_drop(c);
}
