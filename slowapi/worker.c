/* SPDX-License-Identifier: MIT */
/* Counts connections, handshakes and requests, and times and logs what comes of requests. */
#include "slowapi/worker.h"
#include "slowapi/access_log.h"
#include "slowapi/journal.h"

void account_open(struct slow_conn *c, struct slow_worker *w) {
    c->worker = w;
    c->next = w->conns;
    if (c->next != NULL)
        c->next->prev = c;
    w->conns = c;
    w->open_count++;
    crowd_count(w->place, 1);
    atomic_fetch_add_explicit(&w->planner.stats.slot->open, 1, memory_order_relaxed);
}

void account_close(struct slow_conn *c) {
    struct slow_worker *w = c->worker;

    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        w->conns = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    atomic_fetch_sub_explicit(&w->planner.stats.slot->open, 1, memory_order_relaxed);
    crowd_count(w->place, -1);
    each_acceptor(w, acceptor_look_again);
    if (--w->open_count == 0 && w->draining)
        loop_stop(w->loop);
}

void account_data(struct slow_conn *c, struct slice data) {
    if (c->reply != NULL && c->reply->journal != 0)
        journal_body(c->worker->planner.shared->journal, c->reply->journal, data);
}

void account_time(struct slow_conn *c) {
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

void account_log(struct slow_conn *c, const char *outcome, uint16_t status) {
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
    };
    if (!slow_access_log_write(w->access_log, c->reply, &facts))
        slow_stats_count(&w->planner.stats, SLOW_LOG_DROPPED);
}

void account_end_as(struct slow_conn *c, const char *outcome, uint16_t status) {
    struct slow_worker *w = c->worker;

    if (!c->in_flight)
        return;
    c->in_flight = false;
    if (c->client_left)
        slow_stats_count(&w->planner.stats, SLOW_CLIENT_ABORTS);
    slow_stats_end(&w->planner.stats, c->is_timed ? status : 0);
    account_log(c, outcome, status);
    if (c->reply != NULL && c->reply->journal != 0)
        journal_end(w->planner.shared->journal, c->reply->journal,
                    &(const struct journal_end){ .outcome = c->client_left ? "aborted" : outcome,
                                                 .status = c->is_timed ? status : 0,
                                                 .delay = c->reply->delay });
    plan_free(&w->planner, c->reply);
    c->reply = NULL;
}

void account_end(struct slow_conn *c, const char *outcome) {
    const struct reply *reply = c->reply;
    uint16_t status = 200;

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
