/* SPDX-License-Identifier: MIT */
/* The second half of a request's life (loadgen/client.h): its answer, and what follows from it. The
 * hub is here, and the connections of a worker from their making to their end. */
#include "loadgen/client.h"
#include "base/alloc.h"
#include "http/error.h"
#include "loadgen/names.h"
#include <errno.h>
#include <unistd.h>

enum {
    RECV_BYTES = 65536,     /* room of the buffer that every recv goes to first */
    IN_BYTES_MAX = 2 << 20, /* above any head that the limits let through */
    IN_BYTES_STEP = 4096,   /* room for the rest of an unfinished head */
    TURN_BYTES = 1 << 20,   /* what one connection reads before others have their turn */
};

#define PARTING_SPAN  (200 * NSEC_PER_MSEC) /* for the server to close an answered connection */
#define RETRY_SPAN    NSEC_PER_MSEC         /* until a full backlog is tried again */
#define CONTINUE_SPAN NSEC_PER_SEC /* for a server's 100 Continue; then the body goes without it */

static void client_receive(struct load_client *c);
static void client_judge(struct load_client *c, bool clean, nsec_t now);
static void client_next(struct load_client *c, bool clean, nsec_t now);
static void client_resting_ready(struct load_client *c);
static void client_part(struct load_client *c, nsec_t now);

/* --- the hub ---------------------------------------------------------------------------------- */

void client_ready(struct watch *watch, unsigned what) {
    struct load_client *c = CONTAINER_OF(watch, struct load_client, watch);
    (void)what;
    if (c->state == LOAD_RESTING) {
        client_resting_ready(c);
    } else if (c->secure != NULL && c->state < LOAD_WAITING) {
        client_secure(c);
    } else if (c->state != LOAD_PARTING) {
        bool unsent = c->sent_bytes < request_length(c->request) && !c->write_failed;
        if (unsent && (c->watch.ready & IO_WRITE))
            client_send(c, clock_now());
        client_receive(c);
    } else if (parting_is_over(&c->worker->parting, watch)) {
        client_disconnect(c);
        client_start(c, clock_now());
    }
}

static void on_retry_expired(struct timeouts *q, struct timeout *t) {
    struct load_client *c = CONTAINER_OF(t, struct load_client, retry);
    (void)q;
    if (c->state == LOAD_PAUSED)
        client_go_on(c);
}

static void on_again(struct deferred *work) {
    struct load_client *c = CONTAINER_OF(work, struct load_client, again);
    if (c->worker->stopping)
        return;
    if (c->state == LOAD_PAUSED)
        client_go_on(c);
    else
        client_receive(c);
}

/* --- reading ---------------------------------------------------------------------------------- */

static void on_head_looked_at(struct load_client *c, const struct http_head *head) {
    struct load_worker *w = c->worker;
    if (c->holds_body != HOLD_NOT)
        client_forgo_body(c);
    if (w->users != NULL)
        users_head(w->users, (size_t)(c - w->clients), head, &w->answers.users);
    if (w->codings != NULL)
        codings_head(w->codings, (size_t)(c - w->clients), head);
    if (w->counters.server_times != NULL)
        server_times_head(w->counters.server_times, (size_t)(c - w->clients), head);
    if (c->stream != NULL && c->request->method != HTTP_METHOD_HEAD)
        streams_begin(w->counters.streams, c->stream, head, c->planned,
                      c->planned >= w->plan.measure_from);
}

static void on_head(struct load_client *c, const struct http_head *head) {
    struct load_worker *w = c->worker;
    c->status = head->status;
    if (!w->counters.has_document)
        counters_server(&w->counters, head);
    if (w->config->verbosity >= VERBOSE_HEADS)
        request_show_answer(head, w->config->verbosity);
    if (UNLIKELY(!w->is_plain))
        on_head_looked_at(c, head);
    if (w->starts_serially)
        clients_start_rest(w);
}

static enum failure closed_reason(const struct load_client *c) {
    if (c->state == LOAD_RECEIVING)
        return FAILURE_TRUNCATED;
    return c->exchanges > 1 ? FAILURE_CLOSED_REUSED : FAILURE_CLOSED_EARLY;
}

/* A server that closes an idle connection while a request is on its way answers that with a reset,
 * or is seen to have closed before: one event, which says nothing against the server. */
static enum failure reset_reason(const struct load_client *c) {
    bool is_race = c->state == LOAD_WAITING && c->exchanges > 1;
    return is_race ? FAILURE_CLOSED_REUSED : FAILURE_RESET;
}

static enum failure read_failure(const struct load_client *c, int rc) {
    if (rc == -ENODATA)
        return c->state == LOAD_RECEIVING ? FAILURE_TLS_TRUNCATED : closed_reason(c);
    return rc == -EPROTO ? FAILURE_TLS_ERROR : reset_reason(c);
}

static void client_fail_malformed(struct load_client *c, const char *why, struct slice bytes,
                                  nsec_t now) {
    if (c->planned >= c->worker->plan.measure_from)
        answers_add_malformed(&c->worker->answers, why, bytes);
    client_fail(c, FAILURE_BAD_RESPONSE, now);
}

/* The text that the body of the answer should have. */
static const struct expect_body *body_expected(const struct load_client *c) {
    const struct request_expect *own = c->request->expect;
    return own != NULL && own->body != NULL ? own->body : c->worker->expect;
}

/* A piece of the body as its reader means it, for those who look into it. */
static void client_read_body(struct load_client *c, struct slice plain, nsec_t now) {
    if (body_expected(c)->text.len > 0)
        c->matched = expect_body_feed(body_expected(c), c->matched, plain);
    if (UNLIKELY(c->stream != NULL))
        streams_take(c->worker->counters.streams, c->stream, plain, now);
}

static void client_decode(struct load_client *c, struct slice data, nsec_t now) {
    struct load_worker *w = c->worker;
    struct answers_codings *counts = &w->answers.codings;
    struct slice plain;
    nsec_t began = clock_now();
    counts->coded_bytes += data.len;
    while (codings_next(w->codings, (size_t)(c - w->clients), &data, &plain)) {
        counts->decoded_bytes += plain.len;
        client_read_body(c, plain, now);
    }
    counts->spent += clock_now() - began;
}

static void client_look_at(struct load_client *c, struct slice data, nsec_t now) {
    if (c->worker->codings != NULL)
        client_decode(c, data, now);
    else
        client_read_body(c, data, now);
}

/* The server wants the body, or has let the wait for its word pass: the answer is still to come. */
static void client_continue(struct load_client *c) {
    timeouts_leave(&c->retry);
    c->holds_body = HOLD_NOT;
    c->state = LOAD_WAITING;
    client_send(c, clock_now());
}

static void on_continue_expired(struct timeouts *q, struct timeout *t) {
    (void)q;
    client_continue(CONTAINER_OF(t, struct load_client, retry));
}

/* The answer is a redirect that leads on: it is counted as a hop, and the request goes on. */
static bool client_follow(struct load_client *c, bool clean, nsec_t now) {
    struct load_worker *w = c->worker;
    if (w->users == NULL)
        return false;
    size_t user = (size_t)(c - w->clients);
    const struct request *next = c->request;
    uint64_t length = request_length(c->request);
    enum users_redirect redirect =
        users_redirect(w->users, user, c->status, &w->answers.users, &next);
    nsec_t span = users_hop(w->users, user, now);
    if (w->config->follow > 0 && c->planned >= w->plan.measure_from)
        hist_record(w->counters.ended[TIME_HOP], span / NSEC_PER_USEC);
    w->has_too_many_hops = redirect == USERS_TOO_MANY;
    if (redirect != USERS_HOP)
        return false;
    if (w->codings != NULL)
        (void)codings_end(w->codings, user, &w->answers.codings);
    w->counters.body_bytes += c->body_bytes;
    bool complete = c->sent_bytes == length;
    bool keeps = http_conn_next(&c->http) && complete && clean && !(c->watch.ready & IO_HANGUP);
    w->counters.kept_alive += keeps;
    c->request = next;
    client_resend(c, keeps, now);
    return true;
}

static void client_feed(struct load_client *c, struct slice input, bool eof, nsec_t now) {
    struct slice rest = input;
    struct http_head head;
    struct http_event ev;
    bool has_head = c->http.phase == HTTP_PHASE_HEAD;
    for (;;) {
        rest = slice_drop(rest, http_conn_feed(&c->http, rest, eof, &head, &ev));
        switch (ev.kind) {
        case HTTP_EV_INTERIM:
            if (UNLIKELY(c->holds_body == HOLD_BODY) && head.status == 100)
                client_continue(c);
            if (c->state == LOAD_PAUSED)
                return; /* the rest of the request could not be sent */
            break;
        case HTTP_EV_HEAD:
            on_head(c, &head);
            break;
        case HTTP_EV_DATA:
            c->body_bytes += ev.data.len;
            if (UNLIKELY(!c->worker->is_plain))
                client_look_at(c, ev.data, now);
            break;
        case HTTP_EV_MORE:
            if (buf_keep(&c->in, input, input.len - rest.len) != 0)
                client_fail_malformed(c, http_err_memory, input, now);
            return;
        case HTTP_EV_END:
            buf_free(&c->in);
            if (UNLIKELY(!c->worker->is_plain) && client_follow(c, rest.len == 0, now))
                return;
            client_judge(c, rest.len == 0, now);
            client_next(c, rest.len == 0, now);
            return;
        case HTTP_EV_CLOSED:
            client_fail(c, closed_reason(c), now);
            return;
        case HTTP_EV_BAD:
            if (ev.why == http_err_truncated)
                client_fail(c, closed_reason(c), now);
            else
                client_fail_malformed(c, ev.why, has_head ? input : rest, now);
            return;
        }
    }
}

/* A server that sends faster than we read leaves time for other connections, and for timers. */
static void client_receive(struct load_client *c) {
    if (UNLIKELY(c->stream != NULL))
        streams_turn(c->stream);
    size_t left = TURN_BYTES;
    while (c->state == LOAD_WAITING || c->state == LOAD_RECEIVING) {
        struct slice input = { NULL, 0 };
        if (UNLIKELY(left == 0)) {
            loop_defer(c->worker->loop, &c->again);
            return;
        }
        ssize_t n =
            watch_recv_behind(&c->watch, &c->in, IN_BYTES_STEP, c->worker->in, RECV_BYTES, &input);
        if (n == -EAGAIN && !c->write_failed)
            return;
        nsec_t now = clock_now();
        if (n == -ENOBUFS || n == -ENOMEM) {
            client_fail_malformed(c, http_err_memory, buf_unread(&c->in), now);
            return;
        }
        if (n < 0 || (n == 0 && c->write_failed)) {
            client_fail(c, read_failure(c, (int)n), now);
            return;
        }
        if (n > 0 && c->state == LOAD_WAITING) {
            c->state = LOAD_RECEIVING;
            c->first_byte = now;
        }
        c->worker->counters.bytes_received += (size_t)n;
        left -= left < (size_t)n ? left : (size_t)n;
        client_feed(c, input, n == 0, now);
    }
}

/* --- what came of it -------------------------------------------------------------------------- */

static int64_t usec_between(nsec_t from, nsec_t to) {
    return (to - from + NSEC_PER_USEC / 2) / NSEC_PER_USEC;
}

/* Tells how far the client's request has come. */
static struct timing client_timing(const struct load_client *c, nsec_t now) {
    selfcheck_look(&c->worker->lateness, now);
    struct timing t = {
        .planned = c->planned,
        .queue = usec_between(c->planned, c->started),
        .total = usec_between(c->started, now),
        .reused = c->exchanges > 1,
        .disturbed = c->planned < c->worker->lateness.pause_ended,
    };
    if (c->state != LOAD_WAITING && c->state != LOAD_RECEIVING) {
        t.reused = false; /* the count is still that of the connection before */
        t.connect = t.total;
        if (c->state == LOAD_SECURING) {
            t.tls = usec_between(c->dialed, now);
            t.phase = PHASE_TLS;
        }
        return t;
    }
    t.connect = t.reused ? 0 : usec_between(c->started, c->connected);
    if (c->secure != NULL && !t.reused)
        t.tls = usec_between(c->dialed, c->connected);
    t.send = usec_between(t.reused ? c->started : c->connected, c->written);
    t.wait = usec_between(c->written, c->state == LOAD_RECEIVING ? c->first_byte : now);
    t.phase = PHASE_WAIT;
    if (c->state == LOAD_RECEIVING) {
        t.phase = PHASE_RECEIVE;
        t.receive = usec_between(c->first_byte, now);
    } else if (c->sent_bytes < request_length(c->request)) {
        t.phase = PHASE_SEND;
        t.send += t.wait;
        t.wait = 0;
    }
    return t;
}

static bool ends_measured(struct load_client *c) {
    c->holds_request = false;
    return c->planned >= c->worker->plan.measure_from;
}

static bool is_expected_status(const struct load_client *c) {
    const struct request_expect *own = c->request->expect;
    bool has_own = own != NULL && own->status.any_given;
    return expect_status_has(has_own ? &own->status : &c->worker->config->expect_status, c->status);
}

/* The request has come to its end; `status` is 0 without a response. */
static void client_count(struct load_client *c, int outcome, uint16_t status,
                         const struct timing *timing, nsec_t now) {
    struct counters *t = &c->worker->counters;
    counters_end(t, c->sample, outcome, status, c->body_bytes, timing, now);
    if (UNLIKELY(t->names != NULL))
        names_record(t->names, c->request->name, outcome, status, timing);
}

/* Judges an answer by the features that look into answers. */
static int judge_looked_at(struct load_client *c, bool is_decoded, nsec_t now) {
    struct load_worker *w = c->worker;
    bool is_whole_stream = c->stream == NULL || streams_end(w->counters.streams, c->stream, now);
    if (w->has_too_many_hops)
        return FAILURE_REDIRECTS;
    if (!is_expected_status(c))
        return FAILURE_STATUS;
    if (!expect_body_found(body_expected(c), c->matched))
        return FAILURE_BODY;
    if (!is_decoded)
        return FAILURE_CODING;
    return is_whole_stream ? OUTCOME_OK : FAILURE_STREAM_END;
}

/* `clean`: nothing was received beyond the response. */
static void client_judge(struct load_client *c, bool clean, nsec_t now) {
    struct load_worker *w = c->worker;
    const struct loadgen_config *config = w->config;
    struct timing timing = client_timing(c, now);
    int outcome = OUTCOME_OK;
    bool is_decoded = w->is_plain || w->codings == NULL ||
                      codings_end(w->codings, (size_t)(c - w->clients), &w->answers.codings);
    w->counters.body_bytes += c->body_bytes;
    if (!ends_measured(c))
        return;
    answers_add(&w->answers, c->status, c->body_bytes, http_conn_noted(&c->http));
    w->pools[c->pool].dialer.addresses[c->address].responses++;
    w->answers.overrun += !clean;
    if (UNLIKELY(!w->is_plain))
        outcome = judge_looked_at(c, is_decoded, now);
    else if (!expect_status_has(&config->expect_status, c->status))
        outcome = FAILURE_STATUS;
    if (outcome == OUTCOME_OK &&
        !counters_fits_document(&w->counters, c->status, c->body_bytes,
                                config->ab_strict && !config->variable_length))
        outcome = FAILURE_LENGTH;
    client_count(c, outcome, c->status, &timing, now);
    if (UNLIKELY(!w->is_plain) && w->counters.server_times != NULL)
        server_times_end(w->counters.server_times, (size_t)(c - w->clients), &timing);
    live_request_ended(w->live);
}

void client_fail(struct load_client *c, enum failure reason, nsec_t now) {
    struct load_worker *w = c->worker;
    struct timing timing = client_timing(c, now);
    if (c->secure != NULL && failure_has_words(reason))
        answers_add_words(&w->answers, reason, secure_words(c->secure));

    if (w->codings != NULL)
        codings_drop(w->codings, (size_t)(c - w->clients));
    client_pause(c);
    timeouts_leave(&c->timeout);
    w->counters.body_bytes += c->body_bytes;
    c->status = 0;
    if (ends_measured(c)) {
        if (c->stream != NULL)
            streams_break(w->counters.streams, c->stream, c->planned, failure_is_timeout(reason),
                          false, now);
        client_count(c, (int)reason, 0, &timing, now);
        live_request_ended(w->live);
    }
    if (w->starts_serially)
        clients_start_rest(w);
    if (failure_is_of_socket(reason) && !w->config->ignore_errors)
        clients_stop(w, RUN_END_ERROR);
}

static void on_expired(struct timeouts *q, struct timeout *t) {
    struct load_client *c = CONTAINER_OF(t, struct load_client, timeout);
    (void)q;
    enum failure reason = FAILURE_TIMEOUT_CONNECT;
    if (c->state == LOAD_WAITING)
        reason = FAILURE_TIMEOUT_FIRST_BYTE;
    else if (c->state == LOAD_SECURING)
        reason = FAILURE_TIMEOUT_TLS;
    else if (c->state == LOAD_RECEIVING)
        reason = FAILURE_TIMEOUT_BODY;
    timeouts_leave(&c->retry);
    if (reason == FAILURE_TIMEOUT_CONNECT)
        (void)target_leave_out(&c->worker->pools[c->pool].dialer, c->address, ETIMEDOUT);
    client_fail(c, reason, clock_now());
}

/* --- the next one ----------------------------------------------------------------------------- */

static void client_next(struct load_client *c, bool clean, nsec_t now) {
    struct load_worker *w = c->worker;
    int64_t limit = w->config->requests_per_connection;
    bool complete = c->sent_bytes == request_length(c->request);
    bool keeps = http_conn_next(&c->http) && complete && clean;
    if (!keeps) {
        client_part(c, now);
        return;
    }
    w->counters.kept_alive++;
    if (limit > 0 && c->exchanges >= limit) {
        client_disconnect(c);
    } else if (c->watch.ready & IO_HANGUP) {
        w->counters.reconnects++;
        client_disconnect(c);
    }
    client_start(c, now);
}

/* The server lost patience with an idle connection, or sends what nobody asked for. */
static void client_resting_ready(struct load_client *c) {
    struct load_worker *w = c->worker;
    ssize_t n = watch_recv(&c->watch, w->in, RECV_BYTES);
    if (n == -EAGAIN)
        return;
    w->answers.overrun += n > 0;
    w->counters.reconnects++;
    client_disconnect(c);
}

/* --- who closes first: an answered connection that is not kept -------------------------------- */

/* The client goes on, and its connection is watched apart, if none is yet. */
static void watch_apart(struct load_client *c, nsec_t now) {
    struct load_worker *w = c->worker;
    if (w->parting.is_open)
        return;
    secure_leave(&c->secure, &c->watch);
    c->state = LOAD_IDLE;
    parting_take(&w->parting, w->loop, c->watch.fd, now);
}

/* Waiting for the server to close first leaves TIME_WAIT, and the port, on its side: a client that
 * closes first runs out of ports. As long as it is not known whether the server closes, that costs
 * a small part of one response's time, and then nothing. */
static bool waits_for_close(struct load_client *c, nsec_t now) {
    struct load_worker *w = c->worker;
    if (w->parting.server_lingers || w->plan.left == 0)
        return false;
    if ((c->watch.ready & IO_HANGUP) || watch_recv(&c->watch, w->in, RECV_BYTES) != -EAGAIN) {
        w->parting.server_closes = true;
        return false;
    }
    if (w->parting.server_closes)
        return true;
    if (w->trial_is_over) {
        watch_apart(c, now);
        return false;
    }
    nsec_t trial = nsec_max((now - c->started) / 8, NSEC_PER_MSEC);
    bool began = w->trial_began;
    w->trial_began = true;
    return began || timer_set(w->loop, &w->trial_timer, now + trial) == 0;
}

static void client_part(struct load_client *c, nsec_t now) {
    if (waits_for_close(c, now) && timeouts_join(&c->worker->partings, &c->timeout, now) == 0) {
        c->state = LOAD_PARTING;
        return;
    }
    client_disconnect(c);
    client_start(c, now);
}

static void on_trial(struct timer *timer) {
    struct load_worker *w = CONTAINER_OF(timer, struct load_worker, trial_timer);
    w->trial_is_over = true;
    for (uint32_t i = 0; i < w->client_count && !w->parting.server_closes && !w->stopping; i++) {
        struct load_client *c = &w->clients[i];
        if (c->state != LOAD_PARTING)
            continue;
        nsec_t now = clock_now();
        timeouts_leave(&c->timeout);
        watch_apart(c, now);
        client_disconnect(c);
        client_start(c, now);
    }
}

static void on_parting_expired(struct timeouts *q, struct timeout *t) {
    struct load_worker *w = CONTAINER_OF(q, struct load_worker, partings);
    w->parting.server_lingers = true;
    if (t == &w->parting.timeout) {
        parting_close(&w->parting);
        return;
    }
    struct load_client *c = CONTAINER_OF(t, struct load_client, timeout);
    client_disconnect(c);
    client_start(c, clock_now());
}

/* --- all connections of a worker -------------------------------------------------------------- */

int clients_init(struct load_worker *w) {
    w->clients = mem_calloc(w->client_count, sizeof(*w->clients));
    w->in = mem_alloc(RECV_BYTES);
    timeouts_init(&w->timeouts, w->loop, w->config->timeout, on_expired);
    timeouts_init(&w->partings, w->loop, PARTING_SPAN, on_parting_expired);
    w->parting.timeouts = &w->partings;
    timeouts_init(&w->retries, w->loop, RETRY_SPAN, on_retry_expired);
    timeouts_init(&w->continues, w->loop, CONTINUE_SPAN, on_continue_expired);
    w->trial_timer.fire = on_trial;
    if (w->config->stream != STREAM_OFF)
        w->streams = mem_calloc(w->client_count, sizeof(*w->streams));
    if (w->config->compressed)
        w->codings = codings_new(w->client_count);
    bool remembers = w->config->follow > 0 || w->config->cookie_policy == LOADGEN_COOKIES_KEEP;
    if (remembers)
        w->users = users_new(w->config, w->pools[0].dialer.target, w->request, w->client_count);
    w->answers.users.follows = w->config->follow > 0;
    w->answers.users.keeps_cookies = w->config->cookie_policy == LOADGEN_COOKIES_KEEP;
    if (w->config->body_stream != NULL)
        w->piece = mem_alloc(BODY_PIECE_BYTES);
    if (w->clients == NULL || w->in == NULL ||
        (w->config->stream != STREAM_OFF && w->streams == NULL) ||
        (w->config->compressed && w->codings == NULL) ||
        (w->config->body_stream != NULL && w->piece == NULL) || (remembers && w->users == NULL))
        return -ENOMEM;
    w->answers.codings.asked = w->config->compressed;
    for (uint32_t i = 0; i < w->client_count; i++) {
        struct load_client *c = &w->clients[i];
        *c = (struct load_client){ .worker = w,
                                   .request = w->request,
                                   .pool = (uint8_t)(i / w->at_once),
                                   .again = { .run = on_again },
                                   .watch = { .fd = -1 } };
        c->stream = w->streams != NULL ? &w->streams[i] : NULL;
        buf_init(&c->in, IN_BYTES_MAX);
    }
    return 0;
}

void clients_stop(struct load_worker *w, enum run_end end) {
    if (w->stopping)
        return;
    w->stopping = true;
    w->end = end;
    if (end == RUN_END_ERROR || end == RUN_END_SIGNAL || end == RUN_END_CHANGE)
        live_stop(w->live, end);
    loop_stop(w->loop);
}

static void timers_close(struct load_worker *w) {
    timer_cancel(w->loop, &w->arrival_timer);
    timer_cancel(w->loop, &w->ramp_timer);
    timer_cancel(w->loop, &w->trial_timer);
    timer_cancel(w->loop, &w->stage_timer);
    for (uint32_t i = 0; w->thinkers != NULL && i < w->client_count; i++)
        timer_cancel(w->loop, &w->thinkers[i].timer);
    timeouts_close(&w->timeouts);
    timeouts_close(&w->partings);
    timeouts_close(&w->retries);
    timeouts_close(&w->continues);
}

void clients_end(struct load_worker *w, nsec_t now) {
    if (!w->is_warm && w->config->warmup > 0)
        clients_warm_up_end(w);
    w->stopping = true; /* deferred work comes to nothing */
    selfcheck_probe(&w->lateness, now);
    for (uint32_t i = 0; i < w->client_count; i++) {
        struct load_client *c = &w->clients[i];
        struct timing timing = client_timing(c, now);
        if (c->holds_request && ends_measured(c)) {
            if (c->stream != NULL)
                streams_break(w->counters.streams, c->stream, c->planned, true, true, now);
            client_count(c, OUTCOME_UNFINISHED, 0, &timing, now);
        }
        client_disconnect(c);
    }
    parting_close(&w->parting);
    clients_drop_due(w, now);
    timers_close(w);
}

void clients_close(struct load_worker *w) {
    for (uint32_t i = 0; w->clients != NULL && i < w->client_count; i++)
        client_disconnect(&w->clients[i]);
    parting_close(&w->parting);
    timers_close(w);
}
