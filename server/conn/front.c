/* SPDX-License-Identifier: MIT */
/* Who is served when: accepts, queues whole requests, hands them to the model, stops; all on loop
 * callbacks. */
#include "server/conn/front.h"
#include "base/assert.h"
#include "base/log.h"
#include "proc/signals.h"
#include <errno.h>
#include <signal.h>

/* --- how many -------------------------------------------------------------- */

void front_remember(struct client *c) {
    struct front *f = c->front;

    TAILQ_INSERT_TAIL(&f->clients, c, link);
    f->count++;
    stats_add(f->worker->stats, STATS_connections, 1);
    stats_add(f->worker->stats, STATS_connections_opened, 1);
}

void front_forget(struct client *c) {
    struct front *f = c->front;

    TAILQ_REMOVE(&f->clients, c, link);
    f->count--;
    stats_add(f->worker->stats, STATS_connections, -1);
    if (f->stopping && f->count == 0)
        loop_stop(f->loop);
}

static void set_accepting(struct front *f, bool accepting) {
    for (size_t i = 0; i < f->worker->listen_count; i++) {
        if (accepting)
            acceptor_resume(&f->acceptors[i]);
        else
            acceptor_pause(&f->acceptors[i]);
    }
}

/* --- balance among workers ---------------------------------------------------
 *
 * A new connection wakes one idle worker, the first in a queue (net/acceptor.h). A worker goes to
 * the end of it when it has accepted a connection beside others, and when its only one turns out to
 * be kept: so connections that stay are dealt out evenly, and a trickle of short ones stays with
 * one worker. Of a model with slots a worker queues only while it has a slot for one more: a
 * connection counts as a request from its start to its first request, at the longest for
 * SERVER_FRESH_NSEC, so that a burst of connections is dealt out by slots although no request has
 * arrived yet. A full worker leaves new connections to the others and to the backlog. It may be
 * that the others are full, too: so it glances at the backlog after a while. With a bounded queue,
 * in length or in time, it takes what it finds there, if only to turn it down. Without one it takes
 * one connection, and only if a slot went from one of its connections to another since: these would
 * lock out all new ones. */

static bool queue_is_bounded(const struct front *f) {
    return f->worker->config->max_queue >= 0 || f->worker->config->queue_timeout > 0;
}

static bool is_full(const struct front *f) {
    return f->slots > 0 && f->busy + f->waiting + f->fresh >= f->slots;
}

/* A slot, the queue or a connection's freshness has changed. */
static void front_balance(struct front *f) {
    nsec_t span = queue_is_bounded(f) ? SERVER_GLANCE_NSEC : SERVER_RARE_GLANCE_NSEC;
    bool full = is_full(f);

    if (f->slots == 0 || f->stopping || f->worker->config->workers <= 1)
        return;
    set_accepting(f, !full);
    if (!full)
        f->passed_on = false;
    else if (!timer_armed(&f->glance) &&
             timer_set(f->loop, &f->glance, deadline_after(loop_now(f->loop), span)) < 0)
        set_accepting(f, true);
}

/* If it is full, it has been since before it could accept: a slot went from one of its connections
 * to another, or to the next request of the same. */
void front_pass_on(struct front *f) {
    f->passed_on = is_full(f);
}

static void front_glance(struct timer *timer) {
    struct front *f = CONTAINER_OF(timer, struct front, glance);
    unsigned burst = queue_is_bounded(f) ? SERVER_ACCEPT_BURST : f->passed_on;

    for (size_t i = 0; burst > 0 && !f->stopping && i < f->worker->listen_count; i++)
        acceptor_glance(&f->acceptors[i], burst);
    f->passed_on = false;
    front_balance(f);
}

static void let_others_go_first(struct front *f) {
    for (size_t i = 0; !f->stopping && i < f->worker->listen_count; i++)
        acceptor_yield(&f->acceptors[i]);
}

void front_keep(struct front *f) {
    if (f->count == 1)
        let_others_go_first(f);
}

/* Without slots or without others there is nothing to balance. */
void front_expect_request(struct client *c) {
    struct front *f = c->front;
    nsec_t until = deadline_after(loop_now(f->loop), SERVER_FRESH_NSEC);

    if (f->slots == 0 || f->worker->config->workers <= 1)
        return;
    if (timer_set(f->loop, &c->timer, until) < 0)
        return;
    c->fresh = true;
    f->fresh++;
    front_balance(f);
}

void front_settle(struct client *c) {
    if (!c->fresh)
        return;
    c->fresh = false;
    c->front->fresh--;
    front_balance(c->front);
}

/* --- the queue ------------------------------------------------------------- */

void front_dequeue(struct client *c) {
    TAILQ_REMOVE(&c->front->queue, c, queued);
    c->front->waiting--;
    if (client_is_doubted(c))
        c->front->doubted--;
    stats_add(c->front->worker->stats, STATS_queue_depth, -1);
}

/* Hands waiting requests to the model while it has slots. Not re-entrant: a model that serves or
 * fails at once comes back through front_return while this runs, and a client that pipelines has
 * the next request in the queue by then. So that it does not keep the loop from all the others, the
 * rest of a long burst waits for the end of the turn. */
static void front_pump(struct front *f) {
    unsigned burst = SERVER_SERVE_BURST;
    struct client *c;

    if (f->pumping || f->later.pending)
        return;
    f->pumping = true;
    while ((c = TAILQ_FIRST(&f->queue)) != NULL && (f->slots == 0 || f->busy < f->slots)) {
        if (burst-- == 0) {
            loop_defer(f->loop, &f->later);
            break;
        }
        front_dequeue(c);
        c->state = CLIENT_BUSY;
        c->deadline = NSEC_NEVER; /* the queue's, which may be due in this very turn */
        if (f->stopping)
            c->session.last = true;
        f->busy++;
        stats_add(f->worker->stats, STATS_slots_busy, 1);
        f->dispatch(c);
    }
    f->pumping = false;
    front_balance(f);
}

static void front_pump_later(struct deferred *work) {
    front_pump(CONTAINER_OF(work, struct front, later));
}

static bool queue_is_full(const struct front *f) {
    int64_t max = f->worker->config->max_queue;

    return max >= 0 && f->slots > 0 && f->busy >= f->slots && f->waiting - f->doubted >= max;
}

bool front_is_short(const struct front *f) {
    const struct stats *stats = f->worker->stats;

    return (f->slots > 0 && f->busy >= f->slots && f->waiting > 0) ||
           stats_get(stats, STATS_upstream_queued) > 0 || stats_get(stats, STATS_db_waiting) > 0;
}

/* When a request that still waits for a slot has waited long enough. */
static nsec_t queue_deadline(const struct client *c) {
    nsec_t span = c->front->worker->config->queue_timeout;

    return nsec_min(timeout_after(c->session.ready_at, span), session_deadline(&c->session));
}

void front_expire(struct client *c) {
    bool for_good = c->deadline >= session_deadline(&c->session);

    front_dequeue(c);
    stats_add(c->front->worker->stats, STATS_expired, 1);
    if (for_good)
        client_turn_down(c, 504, "the request took too long");
    else
        client_turn_down(c, 503, "no slot was free in time");
}

void front_enqueue(struct client *c) {
    static struct log_rate rate = { .per_second = 1 };
    struct front *f = c->front;

    session_ready(&c->session, loop_now(f->loop));
    c->asks = 0;
    c->ask_at = NSEC_NEVER;
    c->abandoned = false;
    if (session_asks_health(&c->session)) {
        if (f->stopping)
            c->session.last = true;
        client_tell_health(c);
        return;
    }
    if (queue_is_full(f)) {
        log_limited(&rate, LOG_LEVEL_WARN, "overloaded, refusing requests busy=%u waiting=%u",
                    f->busy, f->waiting);
        stats_add(f->worker->stats, STATS_shed, 1);
        client_turn_down(c, 503, "all slots are busy and the queue is full");
        return;
    }
    c->state = CLIENT_QUEUED;
    c->deadline = NSEC_NEVER;
    TAILQ_INSERT_TAIL(&f->queue, c, queued);
    f->waiting++;
    stats_add(f->worker->stats, STATS_queue_depth, 1);
    if (c->watch.ready & IO_HANGUP)
        client_doubt(c);
    front_pump(f);
    if (c->state == CLIENT_QUEUED)
        client_expect(c, queue_deadline(c));
}

/* Nobody wants it, or what stands behind it: the client has left, or the server stops at once. */
static enum session_end drop_answer(struct client *c, enum session_end end) {
    if (end == SESSION_SEND)
        return session_finish(&c->session, -ECANCELED, loop_now(c->front->loop));
    return SESSION_CLOSE;
}

void front_return(struct client *c, enum session_end end) {
    struct front *f = c->front;

    ASSERT(c->state == CLIENT_BUSY);
    f->busy--;
    stats_add(f->worker->stats, STATS_slots_busy, -1);
    c->state = CLIENT_READING;
    if (c->abandoned)
        end = drop_answer(c, end);
    client_resume(c, end);
    front_pump(f);
    front_pass_on(f);
}

/* The request was read to its end: nothing is lost by closing after the answer. */
void front_refuse(struct client *c, uint16_t status, const char *why) {
    struct slice out;

    session_refuse(&c->session, status, why);
    out = buf_unread(&c->session.out);
    if (watch_send(&c->watch, out.ptr, out.len) < 0)
        log_write(LOG_LEVEL_DEBUG, "client did not take its refusal");
    front_return(c, SESSION_LINGER);
}

/* --- accepting ------------------------------------------------------------- */

static void front_accepted(struct acceptor *a, int fd, const struct address *peer) {
    struct front *f = a->arg;
    struct accepted accepted = {
        .fd = fd,
        .listener = (unsigned)(a - f->acceptors),
        .peer = peer_of_address(peer),
    };

    client_open(f, &accepted);
    if (f->count > 1)
        let_others_go_first(f);
}

int front_open(struct front *f, struct error *err) {
    TAILQ_INIT(&f->clients);
    TAILQ_INIT(&f->queue);
    f->glance.fire = front_glance;
    f->later.run = front_pump_later;
    stats_add(f->worker->stats, STATS_slots, (int)f->slots);
    for (size_t i = 0; i < f->worker->listen_count; i++) {
        int rc =
            acceptor_open(&f->acceptors[i], f->loop, f->worker->listen_fds[i], SERVER_ACCEPT_BURST,
                          f->worker->config->workers > 1, front_accepted, f);
        if (rc < 0)
            return error_set(err, rc, "cannot accept connections: %s", strerrordesc_np(-rc));
    }
    return 0;
}

/* --- stopping -------------------------------------------------------------- */

/* Who waits goes first, or the slots that the cancelled leave would be given away. Cancelling one
 * request may end others: clients that are gone stay readable until the turn ends. */
static void abandon_all(struct front *f) {
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

static void out_of_patience(struct timer *timer) {
    struct front *f = CONTAINER_OF(timer, struct front, patience);

    if (f->busy + f->waiting > 0)
        log_write(LOG_LEVEL_WARN, "graceful stop takes too long, cancelling requests=%u", f->busy);
    abandon_all(f);
}

/* No new connections, and each answer from here on is its connection's last. Idle connections stay
 * until then: a client that was told that its connection is kept may be sending the next request.
 */
static void stop_accepting(struct front *f) {
    struct client *c;

    for (size_t i = 0; !f->stopping && i < f->worker->listen_count; i++)
        acceptor_close(&f->acceptors[i]);
    if (!f->stopping)
        worker_stopping(f->worker, f->retiring);
    f->stopping = true;
    TAILQ_FOREACH(c, &f->clients, link) {
        c->session.last = true;
    }
}

/* Who has not asked for anything yet may be about to. */
static void hurry_silent(struct front *f) {
    nsec_t until = deadline_after(loop_now(f->loop), SERVER_SILENCE_NSEC);
    struct client *c;

    TAILQ_FOREACH(c, &f->clients, link) {
        if (c->state == CLIENT_READING && c->session.served == 0 && !session_began(&c->session))
            client_expect(c, nsec_min(until, c->deadline));
    }
}

static void wait_for_clients(struct front *f, nsec_t patience) {
    nsec_t until = deadline_after(loop_now(f->loop), patience);

    f->patience.fire = out_of_patience;
    if (f->count == 0)
        loop_stop(f->loop);
    else if (patience == 0 || timer_set(f->loop, &f->patience, until) < 0)
        abandon_all(f);
}

void front_stop(struct front *f, nsec_t patience) {
    f->retiring = false;
    timer_cancel(f->loop, &f->delay);
    stop_accepting(f);
    hurry_silent(f);
    wait_for_clients(f, patience);
}

static void delay_over(struct timer *timer) {
    struct front *f = CONTAINER_OF(timer, struct front, delay);

    front_stop(f, f->worker->config->graceful_timeout);
}

/* Load balancers get a moment to notice. With a master that gives them the moment. */
static void front_leave(struct front *f) {
    nsec_t span = worker_delay(f->worker);

    f->delay.fire = delay_over;
    if (span > 0 && !f->stopping &&
        timer_set(f->loop, &f->delay, deadline_after(loop_now(f->loop), span)) == 0)
        worker_leaving(f->worker);
    else
        front_stop(f, f->worker->config->graceful_timeout);
}

void front_retire(struct front *f) {
    if (f->stopping)
        return;
    f->retiring = true;
    stop_accepting(f);
    wait_for_clients(f, f->worker->config->graceful_timeout);
}

void front_signal(void *front, int signo) {
    struct front *f = front;

    if (signo == SIGRETIRE)
        front_retire(f);
    else if (signo == SIGTERM && (!f->stopping || f->retiring) && !timer_armed(&f->delay))
        front_leave(f);
    else if (signo == SIGTERM || signo == SIGINT || signo == SIGQUIT)
        front_stop(f, 0);
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

void front_close(struct front *f) {
    timer_cancel(f->loop, &f->patience);
    timer_cancel(f->loop, &f->glance);
    timer_cancel(f->loop, &f->delay);
    loop_undefer(f->loop, &f->later);
    ASSERT(f->count == 0);
}
