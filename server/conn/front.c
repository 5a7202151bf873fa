/* SPDX-License-Identifier: MIT */
/* The life of a connection of `srv serve` that a loop serves, on callbacks, in this order:
 *
 *     front_accepted          a connection came: client_open takes it over, and reads
 *     client_notify           the hub: the descriptor has news, and the state says what follows
 *     client_late             the same for the clock: a time-out has passed
 *     client_resume           the switch, when an answer is made: keep, send, linger or close
 *     client_read             reads until the request is whole
 *     front_admit             decides about a whole request: serve, queue, or turn down
 *     front_enqueue           lets it wait for a slot
 *     front_pump              takes requests from the queue while there are slots
 *     front_dispatch          hands a request to the model
 *     front_return            takes it back from the model
 *     client_begin_sending    sends what the client did not take of its answer at once
 *     client_keep             waits for the next request, which may have been read already
 *     client_linger           waits for the client to close first, so that no answer is cut off
 *     client_end              closes
 *
 * A request that waits can be ended by its client: client_check looks into a hang-up, client_probe
 * asks a client that has closed its sending side, client_left gives the request up. How the whole
 * front stops is told in server/conn/front_stop.c. */
#include "server/conn/front.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "server/limits.h"
#include <errno.h>
#include <poll.h>
#include <unistd.h>

static void client_read(struct client *c);
static bool client_advance(struct client *c);
static void client_await(struct client *c, bool began);
static void client_readable(struct client *c);
static void front_admit(struct client *c);
static bool dispatch_at_once(struct client *c);
static void front_enqueue(struct client *c);
static void front_dequeue(struct client *c);
static void front_expire(struct client *c);
static void client_answer(struct client *c, enum session_end end);
static void front_pump(struct front *f);
static void front_dispatch(struct client *c);
static void client_begin_sending(struct client *c);
static bool client_send_rest(struct client *c);
static void client_keep(struct client *c);
static void client_linger(struct client *c);
static void client_drop_input(struct client *c);
static void client_refuse(struct client *c);
static void client_broken(struct client *c);
static void client_close(struct client *c);
static void client_end(struct client *c);
static void client_check(struct client *c);
static void client_probe(struct client *c);
static bool client_is_unsure(const struct client *c);
static void client_settle(struct client *c);

/* --- the hub and the switch ------------------------------------------------------------------- */

/* Time-outs of one connection replace each other all the time, and nearly always by later ones: the
 * timer is left alone then, and looks again when it fires. */
static void client_wake_at(struct client *c, nsec_t at) {
    if (timer_armed(&c->timer) && c->timer.at <= at)
        return;
    if (timer_set(c->front->loop, &c->timer, at) < 0)
        log_write(LOG_LEVEL_ERROR, "out of memory for a timer; a time-out may be missed");
}

/* Sets when client_late is to decide by the state what happens. */
static void client_set_deadline(struct client *c, nsec_t deadline) {
    c->deadline = deadline;
    client_wake_at(c, deadline);
}

static void client_set_time_out(struct client *c, nsec_t span) {
    client_set_deadline(c, deadline_after(loop_now(c->front->loop), span));
}

/* While a request waits, what is readable can wait, too, unless it may be an error. */
static void client_notify(struct watch *w, unsigned what) {
    struct client *c = CONTAINER_OF(w, struct client, watch);

    if (c->state == CLIENT_QUEUED || c->state == CLIENT_BUSY) {
        if ((what & IO_HANGUP) || ((what & IO_READ) && watch_may_be_broken(w)))
            client_check(c);
    } else if (c->state == CLIENT_SENDING) {
        (void)client_send_rest(c);
    } else if (what & (IO_READ | IO_HANGUP)) {
        client_readable(c);
    }
}

/* A time-out has passed, or only one that was moved away since. */
static void client_late(struct timer *timer) {
    struct client *c = CONTAINER_OF(timer, struct client, timer);
    nsec_t now = loop_now(c->front->loop);
    bool waits = c->state == CLIENT_QUEUED || c->state == CLIENT_BUSY;

    client_settle(c);
    if (waits && now >= c->probe_at)
        client_probe(c);
    if (c->state == CLIENT_GONE)
        return;
    if (now < c->deadline) {
        client_wake_at(c, waits ? nsec_min(c->deadline, c->probe_at) : c->deadline);
        return;
    }
    if (c->state == CLIENT_QUEUED) {
        front_expire(c);
        return;
    }
    if (c->state == CLIENT_READING && session_began(&c->session)) {
        session_refuse(&c->session, 408, "the request did not arrive in time");
        client_refuse(c);
        return;
    }
    if (c->state == CLIENT_READING)
        client_close(c);
    else
        client_end(c);
}

/* The request is answered, or has come to nothing: goes on as its end says. */
static void client_resume(struct client *c, enum session_end end) {
    switch (end) {
    case SESSION_KEEP:
        client_keep(c);
        return;
    case SESSION_SEND:
        client_begin_sending(c);
        return;
    case SESSION_LINGER:
        client_linger(c);
        return;
    case SESSION_CLOSE:
        client_end(c);
        return;
    }
}

/* --- a connection is accepted ----------------------------------------------------------------- */

static void client_expect_request(struct client *c) {
    struct front *f = c->front;
    nsec_t until = deadline_after(loop_now(f->loop), SERVER_EXPECT_NSEC);

    if (!f->balance.on || timer_set(f->loop, &c->timer, until) < 0)
        return;
    c->expected = true;
    balance_expect(&f->balance);
}

/* Notes that its first request has come, or had its moment. */
static void client_settle(struct client *c) {
    if (!c->expected)
        return;
    c->expected = false;
    balance_settle(&c->front->balance);
}

/* Nothing has come of the first request. */
static bool client_is_silent(const struct client *c) {
    return c->state == CLIENT_READING && c->session.served == 0 && !session_began(&c->session);
}

/* Takes over the descriptor. The client may send a request, or close, at once. */
static void client_open(struct front *f, const struct accepted *accepted) {
    struct client *c = mem_calloc(1, sizeof(*c));
    int rc, fd = accepted->fd;

    if (c == NULL) {
        close(fd);
        return;
    }
    c->front = f;
    c->state = CLIENT_READING;
    c->timer.fire = client_late;
    session_init(&c->session, f->worker, fd);
    rc = session_accept(&c->session, accepted);
    c->session.last = f->worker->config->keep_alive == 0;
    if (rc == 0)
        rc = watch_open(&c->watch, f->loop, fd, client_notify);
    if (rc < 0) {
        static struct log_rate rate = { .per_second = 1 };
        log_limited(&rate, LOG_LEVEL_ERROR, "cannot watch a connection error=\"%s\"",
                    strerrordesc_np(-rc));
        close(fd);
        channel_close(&c->session.bytes, NULL, f->worker->stats);
        mem_free(c);
        return;
    }
    channel_lend(&c->session.bytes, &c->watch);
    TAILQ_INSERT_TAIL(&f->clients, c, link);
    f->count++;
    crowd_count(f->worker->place, 1);
    stats_add(f->worker->stats, STATS_connections, 1);
    stats_add(f->worker->stats, STATS_connections_opened, 1);
    client_set_time_out(c, f->worker->config->header_timeout);
    client_expect_request(c);
    client_read(c);
    if (c->state != CLIENT_GONE || c->session.served > 0) /* a port scanner tells nothing */
        balance_came(&f->balance, accepted->listener, !client_is_silent(c));
}

static void front_accepted(struct acceptor *a, int fd, const struct address *peer) {
    struct balance *b = a->arg;
    struct front *f = CONTAINER_OF(b, struct front, balance);
    struct accepted accepted = {
        .fd = fd,
        .listener = (unsigned)(a - b->acceptors),
        .peer = peer_of_address(peer),
    };

    client_open(f, &accepted);
    balance_accepted(b, f->count);
}

/* Tells the balance how many slots are used, and waited for. */
static void front_slots_changed(struct front *f) {
    if (f->balance.on)
        balance_use(&f->balance, f->busy + f->waiting, false);
}

/* Tells it that after an answer: the slot may have gone to another connection of this worker. */
static void front_slot_goes_on(struct front *f) {
    if (f->balance.on)
        balance_use(&f->balance, f->busy + f->waiting, true);
}

/* --- it is read ------------------------------------------------------------------------------- */

/* The PROXY header before TLS; true when TLS begins. */
static bool client_read_proxy(struct client *c) {
    enum session_step step = session_feed_proxy(&c->session);

    if (step == SESSION_READY)
        channel_lend(&c->session.bytes, &c->watch);
    else if (step == SESSION_MORE)
        watch_drained(&c->watch, IO_READ);
    else if (step == SESSION_REFUSED)
        client_refuse(c);
    else
        client_end(c);
    return step == SESSION_READY;
}

static void client_read(struct client *c) {
    struct session *s = &c->session;
    bool began;
    ssize_t n;

    if (s->bytes.begins_later && !client_read_proxy(c))
        return;
    do {
        if (session_reserve(s) < 0) {
            client_end(c);
            return;
        }
        n = watch_recv(&c->watch, buf_tail(&s->in), buf_room(&s->in));
        channel_count(&s->bytes, c->front->worker->stats);
        if (n == -EAGAIN) {
            if (session_began(s))
                client_settle(c); /* a slow one: no request soon */
            else
                session_shrink(s);
            return;
        }
        if (n < 0) {
            client_broken(c);
            return;
        }
        began = session_began(s);
        s->eof = n == 0;
        buf_added(&s->in, (size_t)n);
        if (!client_advance(c))
            return;
        if (!began || session_in_body(s))
            client_await(c, session_began(s));
    } while (!s->eof);
}

/* Acts on what session_feed makes of the bytes at hand; true when it wants more of them. */
static bool client_advance(struct client *c) {
    switch (session_feed(&c->session)) {
    case SESSION_MORE:
        return true;
    case SESSION_READY:
        client_settle(c);
        front_admit(c);
        return false;
    case SESSION_CLOSED:
        client_end(c);
        return false;
    case SESSION_REFUSED:
        client_refuse(c);
        return false;
    }
    return false;
}

/* Waits for more of a request that has `began`, or for the next one. The first request's header
 * time-out runs since the connection was accepted. */
static void client_await(struct client *c, bool began) {
    const struct serve_config *config = c->front->worker->config;

    if (began && session_in_body(&c->session))
        client_set_deadline(c, session_body_deadline(&c->session, loop_now(c->front->loop)));
    else if (c->session.served > 0 || c->front->stopping)
        client_set_time_out(c, began ? config->header_timeout : config->keep_alive);
}

static void client_readable(struct client *c) {
    if (c->state == CLIENT_READING)
        client_read(c);
    else if (c->state == CLIENT_LINGERING)
        client_drop_input(c);
    else if (c->state == CLIENT_SENDING)
        (void)client_send_rest(c);
}

static void client_read_deferred(struct deferred *work) {
    struct client *c = CONTAINER_OF(work, struct client, deferred);
    bool answered = c->state == CLIENT_READING;

    client_readable(c);
    if (answered) /* nobody was accepted since the answer */
        front_slot_goes_on(c->front);
}

/* Not now: what is read may be answered at once, and leads here again. */
static void client_defer_read(struct client *c) {
    c->deferred.run = client_read_deferred;
    loop_defer(c->front->loop, &c->deferred);
}

/* --- its request is served, queued, or turned down -------------------------------------------- */

static bool has_slot(const struct front *f) {
    return f->slots == 0 || f->busy < f->slots;
}

static bool queue_is_full(const struct front *f) {
    int64_t max = f->worker->config->max_queue;

    return max >= 0 && !has_slot(f) && f->waiting - f->unsure >= max;
}

/* Returns until when a request may wait for a slot. */
static nsec_t queue_deadline(const struct client *c) {
    nsec_t span = c->front->worker->config->queue_timeout;

    return nsec_min(timeout_after(c->session.ready_at, span), session_deadline(&c->session));
}

/* The request is complete: it is served, queued, or turned down. */
static void front_admit(struct client *c) {
    static struct log_rate rate = { .per_second = 1 };
    struct front *f = c->front;

    session_ready(&c->session, loop_now(f->loop));
    c->probes = 0;
    c->probe_at = NSEC_NEVER;
    c->abandoned = false;
    if (session_asks_health(&c->session)) {
        if (f->stopping)
            c->session.last = true;
        client_answer(c, session_tell_health(&c->session));
        return;
    }
    if (dispatch_at_once(c))
        return;
    if (!queue_is_full(f)) {
        front_enqueue(c);
        return;
    }
    log_limited(&rate, LOG_LEVEL_WARN, "overloaded, refusing requests busy=%u waiting=%u", f->busy,
                f->waiting);
    stats_add(f->worker->stats, STATS_shed, 1);
    client_answer(c,
                  session_turn_down(&c->session, 503, "all slots are busy and the queue is full"));
}

/* Hands the request to the model if it may go first; the queue is for all others. */
static bool dispatch_at_once(struct client *c) {
    struct front *f = c->front;

    if (f->pumping || f->rest.pending || !TAILQ_EMPTY(&f->queue) || !has_slot(f) ||
        (c->watch.ready & IO_HANGUP))
        return false;
    f->pumping = true;
    front_dispatch(c);
    f->pumping = false;
    front_pump(f);
    return true;
}

static void front_enqueue(struct client *c) {
    struct front *f = c->front;

    c->state = CLIENT_QUEUED;
    c->deadline = NSEC_NEVER;
    TAILQ_INSERT_TAIL(&f->queue, c, queued);
    f->waiting++;
    stats_add(f->worker->stats, STATS_queue_depth, 1);
    if (c->watch.ready & IO_HANGUP)
        client_check(c);
    front_pump(f);
    if (c->state == CLIENT_QUEUED)
        client_set_deadline(c, queue_deadline(c));
}

/* The request has waited in the queue for too long. */
static void front_expire(struct client *c) {
    bool for_good = c->deadline >= session_deadline(&c->session);

    front_dequeue(c);
    stats_add(c->front->worker->stats, STATS_expired, 1);
    client_answer(c, for_good ? session_turn_down(&c->session, 504, "the request took too long")
                              : session_turn_down(&c->session, 503, "no slot was free in time"));
}

/* Sends an answer of the front itself, to a whole request that no slot has seen: short, as in
 * client_refuse. */
static void client_answer(struct client *c, enum session_end end) {
    struct slice out = buf_unread(&c->session.out);

    if (out.len == 0 || watch_send(&c->watch, out.ptr, out.len) != (ssize_t)out.len)
        end = SESSION_CLOSE;
    buf_consume(&c->session.out, out.len);
    c->state = CLIENT_READING;
    client_resume(c, end);
}

static void front_dequeue(struct client *c) {
    TAILQ_REMOVE(&c->front->queue, c, queued);
    c->front->waiting--;
    if (client_is_unsure(c))
        c->front->unsure--;
    stats_add(c->front->worker->stats, STATS_queue_depth, -1);
}

/* Hands waiting requests to the model while it has slots. Not re-entrant: a model that serves or
 * fails at once comes back through front_return while this runs, and a client that pipelines has
 * the next request in the queue by then. The rest of a long burst waits for the end of the turn, so
 * that it does not keep the loop from all the others. */
static void front_pump(struct front *f) {
    unsigned burst = SERVER_SERVE_BURST;
    struct client *c;

    if (f->pumping || f->rest.pending)
        return;
    f->pumping = true;
    while ((c = TAILQ_FIRST(&f->queue)) != NULL && has_slot(f)) {
        if (burst-- == 0) {
            loop_defer(f->loop, &f->rest);
            break;
        }
        front_dequeue(c);
        front_dispatch(c);
    }
    f->pumping = false;
    front_slots_changed(f);
}

static void front_pump_rest(struct deferred *work) {
    front_pump(CONTAINER_OF(work, struct front, rest));
}

static void front_dispatch(struct client *c) {
    struct front *f = c->front;

    c->state = CLIENT_BUSY;
    c->deadline = NSEC_NEVER; /* the queue's, which may be due in this very turn */
    if (f->stopping)
        c->session.last = true;
    f->busy++;
    stats_add(f->worker->stats, STATS_slots_busy, 1);
    channel_take_back(&c->session.bytes, &c->watch);
    f->dispatch(c);
}

/* --- it comes back from the model ------------------------------------------------------------- */

void front_return(struct client *c, enum session_end end) {
    struct front *f = c->front;

    ASSERT(c->state == CLIENT_BUSY);
    channel_lend(&c->session.bytes, &c->watch);
    f->busy--;
    stats_add(f->worker->stats, STATS_slots_busy, -1);
    c->state = CLIENT_READING;
    if (c->abandoned && end == SESSION_SEND)
        end = session_finish(&c->session, -ECANCELED, loop_now(f->loop));
    if (c->abandoned) /* nobody wants the answer, or what stands behind it */
        end = SESSION_CLOSE;
    client_resume(c, end);
    front_pump(f);
    front_slot_goes_on(f);
}

/* The request was read to its end: nothing is lost by closing after the answer. */
void front_refuse(struct client *c, uint16_t status, const char *why) {
    struct slice out;

    session_refuse(&c->session, status, why);
    channel_lend(&c->session.bytes, &c->watch);
    out = buf_unread(&c->session.out);
    if (watch_send(&c->watch, out.ptr, out.len) < 0)
        log_write(LOG_LEVEL_DEBUG, "client did not take its refusal");
    front_return(c, SESSION_LINGER);
}

/* --- its answer is sent, and the connection is kept ------------------------------------------- */

static void client_begin_sending(struct client *c) {
    c->state = CLIENT_SENDING;
    c->deadline = NSEC_NEVER;
    if (client_send_rest(c))
        return;
    session_shrink(&c->session);
    client_set_time_out(c, c->front->worker->config->send_timeout);
}

/* Writes what the client takes of its answer; true when it is gone from here, answered or not. */
static bool client_send_rest(struct client *c) {
    uint64_t left = c->session.file.left;
    int rc = session_send(&c->session, &c->watch);

    if (rc == -EAGAIN) {
        if (c->session.file.left < left) /* a large one takes its time */
            client_set_time_out(c, c->front->worker->config->send_timeout);
        if (c->watch.ready & IO_WRITE)
            client_defer_read(c); /* the others have their turn first */
        return false;
    }
    if (rc < 0) {
        client_end(c);
    } else {
        c->state = CLIENT_READING;
        client_resume(c, session_finish(&c->session, 0, loop_now(c->front->loop)));
    }
    return true;
}

/* Reads the next request, which may be there already. */
static void client_keep(struct client *c) {
    bool began;

    watch_proven(&c->watch); /* an answer was written */
    if (c->session.served == 1)
        balance_kept(&c->front->balance, c->front->count);
    began = session_began(&c->session);
    if (began) {
        if (!client_advance(c))
            return;
        began = session_began(&c->session);
    }
    if (!began)
        session_shrink(&c->session);
    client_await(c, began);
    if (c->watch.ready & IO_READ)
        client_defer_read(c); /* edge-triggered: what came meanwhile is not announced again */
}

/* --- it lingers, or is closed ----------------------------------------------------------------- */

static void client_linger(struct client *c) {
    c->state = CLIENT_LINGERING;
    channel_close(&c->session.bytes, &c->watch, c->front->worker->stats);
    session_free(&c->session);
    if (!linger_begin(&c->linger, c->session.fd)) {
        client_end(c);
        return;
    }
    client_set_time_out(c, LINGER_NSEC);
    client_readable(c);
}

static void client_drop_input(struct client *c) {
    enum linger_step step = linger_read(&c->linger, &c->watch);

    if (step == LINGER_TIRED)
        client_defer_read(c);
    else if (step == LINGER_OVER)
        client_end(c);
}

/* Ends a connection between two requests: what the client has not taken of its answer is not cut
 * off. */
static void client_close(struct client *c) {
    if (session_close(&c->session) == SESSION_LINGER)
        client_linger(c);
    else
        client_end(c);
}

/* An error answer is short, and nothing of ours is in flight: the socket takes it whole, or the
 * client does not read. */
static void client_refuse(struct client *c) {
    struct slice out = buf_unread(&c->session.out);

    if (watch_send(&c->watch, out.ptr, out.len) < 0)
        client_end(c);
    else
        client_linger(c);
}

/* The connection failed. A client that spoke HTTP where TLS is spoken learns so. */
static void client_broken(struct client *c) {
    channel_take_back(&c->session.bytes, &c->watch);
    if (session_refuse_bare(&c->session))
        client_refuse(c);
    else
        client_end(c);
}

static void client_free(struct deferred *work) {
    mem_free(CONTAINER_OF(work, struct client, deferred));
}

/* The client does not get its answer, or the rest of it. */
static void client_give_up(struct client *c) {
    nsec_t now = loop_now(c->front->loop);
    enum session_end end = c->state == CLIENT_QUEUED ? session_drop(&c->session, now)
                                                     : session_finish(&c->session, -ECANCELED, now);

    ASSERT(end == SESSION_CLOSE);
}

/* Not while BUSY. Its memory stays until the turn of the loop ends. */
static void client_end(struct client *c) {
    struct front *f = c->front;

    ASSERT(c->state != CLIENT_BUSY && c->state != CLIENT_GONE);
    client_settle(c);
    if (c->state == CLIENT_QUEUED)
        front_dequeue(c);
    if (c->state == CLIENT_QUEUED || c->state == CLIENT_SENDING)
        client_give_up(c);
    c->state = CLIENT_GONE;
    timer_cancel(f->loop, &c->timer);
    channel_close(&c->session.bytes, &c->watch, f->worker->stats);
    watch_close(&c->watch);
    close(c->session.fd);
    session_free(&c->session);
    c->deferred.run = client_free;
    loop_defer(f->loop, &c->deferred);
    TAILQ_REMOVE(&f->clients, c, link);
    balance_left(&f->balance);
    stats_add(f->worker->stats, STATS_connections, -1);
    if (--f->count == 0 && f->stopping)
        loop_stop(f->loop);
}

/* --- clients that leave while their request waits --------------------------------------------- */

/* Nobody wants this answer any more: closes the connection, or cancels what serves it. */
static void client_left(struct client *c) {
    if (c->state == CLIENT_QUEUED) {
        client_end(c);
    } else if (!c->abandoned) {
        c->abandoned = true;
        c->front->abandon(c);
    }
}

/* Tells whether the client closed its sending side and was not probed yet: in the queue such a one
 * does not fill it. */
static bool client_is_unsure(const struct client *c) {
    return c->probes == 0 && c->probe_at != NSEC_NEVER;
}

/* Do requests wait for others to end: for a slot, for a place among the calls of the upstream, or
 * for a database connection? */
static bool others_wait(const struct front *f) {
    const struct stats *stats = f->worker->stats;

    return (!has_slot(f) && f->waiting > 0) || stats_get(stats, STATS_upstream_queued) > 0 ||
           stats_get(stats, STATS_db_waiting) > 0;
}

/* Returns when a half-closed client is probed, or whether to probe it is looked at again. */
static nsec_t next_probe(const struct client *c, nsec_t now) {
    if (others_wait(c->front))
        return deadline_after(now, SERVER_PROBE_SOON_NSEC);
    return nsec_min(c->probe_by, deadline_after(now, SERVER_PROBE_LOOK_NSEC));
}

static void client_half_closed(struct client *c) {
    nsec_t now = loop_now(c->front->loop), span = session_probe_span(&c->session);

    if (span == 0) {
        client_left(c);
        return;
    }
    if (span == NSEC_NEVER)
        return;
    c->probe_by = deadline_after(now, span);
    c->probe_at = next_probe(c, now);
    if (c->state == CLIENT_QUEUED)
        c->front->unsure++;
    client_wake_at(c, c->probe_at);
}

/* Looks into a hang-up, or an error, while a request waits. A client that has closed its sending
 * side is probed after a while: naive clients take what probes them for their answer. Dead ones
 * must not keep slots from others, though. */
static void client_check(struct client *c) {
    struct pollfd poll_fd = { .fd = c->session.fd, .events = POLLRDHUP };

    if (poll(&poll_fd, 1, 0) <= 0)
        return;
    if (poll_fd.revents & (POLLERR | POLLHUP))
        client_left(c);
    else if (c->probes == 0 && c->probe_at == NSEC_NEVER)
        client_half_closed(c);
}

static void client_probe(struct client *c) {
    nsec_t now = loop_now(c->front->loop);

    if (c->probes == 0 && now < c->probe_by && !others_wait(c->front)) {
        c->probe_at = next_probe(c, now);
        client_wake_at(c, c->probe_at);
        return;
    }
    if (c->state == CLIENT_QUEUED && client_is_unsure(c))
        c->front->unsure--;
    c->probe_at = NSEC_NEVER;
    if (!session_probe(&c->session)) {
        client_left(c);
        return;
    }
    c->probe_at = io_probe_again_at(now, ++c->probes);
    if (c->probe_at != NSEC_NEVER)
        client_wake_at(c, c->probe_at);
}

/* --- all clients ------------------------------------------------------------------------------ */

/* Ends requests that wait first, or the slots that the cancelled leave would be given away.
 * Cancelling one request may end others: clients that are gone stay readable until the turn ends.
 */
void front_abandon(struct front *f) {
    struct client *c, *next;

    for (c = TAILQ_FIRST(&f->clients); c != NULL; c = next) {
        next = TAILQ_NEXT(c, link);
        if (c->state != CLIENT_BUSY)
            client_end(c);
    }
    for (c = TAILQ_FIRST(&f->clients); c != NULL; c = next) {
        next = TAILQ_NEXT(c, link);
        if (c->state == CLIENT_BUSY)
            client_left(c);
    }
}

void front_hurry_silent(struct front *f) {
    nsec_t until = deadline_after(loop_now(f->loop), SERVER_SILENCE_NSEC);
    struct client *c;

    TAILQ_FOREACH(c, &f->clients, link) {
        if (client_is_silent(c))
            client_set_deadline(c, nsec_min(until, c->deadline));
    }
}

/* --- start and end ---------------------------------------------------------------------------- */

int front_open(struct front *f, struct error *err) {
    int rc;

    TAILQ_INIT(&f->clients);
    TAILQ_INIT(&f->queue);
    f->rest.run = front_pump_rest;
    stats_add(f->worker->stats, STATS_slots, (int)f->slots);
    rc = balance_open(&f->balance, f->worker, f->loop, f->slots, front_accepted);
    if (rc < 0)
        error_set(err, rc, "cannot accept connections: %s", strerrordesc_np(-rc));
    return rc;
}

static void front_close(struct front *f) {
    timer_cancel(f->loop, &f->patience);
    balance_close(&f->balance);
    timer_cancel(f->loop, &f->delay);
    loop_undefer(f->loop, &f->rest);
    ASSERT(f->count == 0);
}

int front_run(struct front *f, struct error *err) {
    int rc;

    worker_ready(f->worker);
    rc = loop_run(f->loop);
    front_close(f);
    if (rc < 0)
        error_set(err, rc, "the event loop failed: %s", strerrordesc_np(-rc));
    return rc;
}
