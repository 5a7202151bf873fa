/* SPDX-License-Identifier: MIT */
/* The life of a request, from the moment it is due to the next one:
 *
 *     on_arrival, on_ramp     a request is due, or a connection's turn has come
 *     client_start            takes the request from the plan, and a connection if one was kept
 *     client_connect          opens a connection otherwise
 *     client_secure           and with https, the tunnel and TLS
 *     on_ready                the hub: a connection has news, and the state says what follows
 *     client_send             writes the request
 *     client_receive          reads the response as it comes
 *     client_judge            says whether it is what was asked for, and counts it
 *     client_next             keeps the connection and starts again
 *     client_part             or lets the server close it first, if it does
 *
 * A request that comes to nothing goes through client_fail, which starts again, too. */
#include "loadgen/client.h"
#include "base/alloc.h"
#include "http/error.h"
#include <errno.h>
#include <unistd.h>

static const struct http_limits strict_limits = HTTP_LIMITS_RESPONSE;
static const struct http_limits lenient_limits = HTTP_LIMITS_LENIENT(&strict_limits);

enum {
    RECV_BYTES = 65536,     /* room of the buffer that every recv goes to first */
    IN_BYTES_MAX = 2 << 20, /* above any head that the limits let through */
    IN_BYTES_STEP = 4096,   /* room for the rest of an unfinished head */
};

#define PARTING_SPAN (200 * NSEC_PER_MSEC) /* for the server to close an answered connection */
#define RETRY_SPAN   NSEC_PER_MSEC         /* until a full backlog is tried again */

static void client_start(struct load_client *c, nsec_t now);
static void client_connect(struct load_client *c);
static void client_secure(struct load_client *c);
static void client_send(struct load_client *c, nsec_t now);
static void client_receive(struct load_client *c);
static void client_judge(struct load_client *c, bool clean, nsec_t now);
static void client_next(struct load_client *c, bool clean, nsec_t now);
static void client_fail(struct load_client *c, enum failure reason, nsec_t now);
static void client_disconnect(struct load_client *c);
static void on_ready(struct watch *watch, unsigned what);
static void client_resting_ready(struct load_client *c);
static void client_part(struct load_client *c, nsec_t now);

/* --- the hub ---------------------------------------------------------------------------------- */

/* A connection has news: the state says what follows. */
static void on_ready(struct watch *watch, unsigned what) {
    struct load_client *c = CONTAINER_OF(watch, struct load_client, watch);
    (void)what;
    if (c->state == LOAD_RESTING) {
        client_resting_ready(c);
    } else if (c->secure != NULL && c->state < LOAD_WAITING) {
        client_secure(c);
    } else if (c->state != LOAD_PARTING) {
        bool unsent = c->sent_bytes < c->worker->request_bytes.len && !c->write_failed;
        if (unsent && (c->watch.ready & IO_WRITE))
            client_send(c, clock_now());
        client_receive(c);
    } else if (parting_is_over(&c->worker->parting, watch)) {
        client_disconnect(c);
        client_start(c, clock_now());
    }
}

static void go_on(struct load_client *c) {
    c->state = LOAD_IDLE;
    if (c->holds_request)
        client_connect(c);
    else
        client_start(c, clock_now());
}

static void on_retry_expired(struct timeouts *q, struct timeout *t) {
    struct load_client *c = CONTAINER_OF(t, struct load_client, retry);
    (void)q;
    if (c->state == LOAD_PAUSED)
        go_on(c);
}

static void on_again(struct deferred *work) {
    struct load_client *c = CONTAINER_OF(work, struct load_client, again);
    if (c->worker->stopping)
        return;
    if (c->state == LOAD_PAUSED)
        go_on(c);
    else
        client_receive(c);
}

/* --- a request is due ------------------------------------------------------------------------- */

/* Open model: wakes up for the next planned request, when a client is idle. Otherwise the one that
 * becomes free looks at the plan first. */
static int arm_arrival(struct load_worker *w) {
    return w->idle != NULL ? timer_set(w->loop, &w->arrival_timer, plan_next_at(&w->plan)) : 0;
}

static void on_arrival(struct timer *timer) {
    struct load_worker *w = CONTAINER_OF(timer, struct load_worker, arrival_timer);
    while (w->idle != NULL && !w->stopping && plan_next_at(&w->plan) <= clock_now()) {
        struct load_client *c = w->idle;
        w->idle = c->next_idle;
        w->busy++;
        if (w->busy > w->counters.busy_max)
            w->counters.busy_max = w->busy;
        w->found_idle = true;
        client_start(c, clock_now());
        w->found_idle = false;
    }
    if (!w->stopping && arm_arrival(w) != 0)
        clients_stop(w, RUN_END_ERROR);
}

/* Connections of several workers interleave. */
static nsec_t ramp_at(const struct load_worker *w) {
    return w->start + (nsec_t)(w->started * w->share.count + w->share.index) * w->config->ramp;
}

static void on_ramp(struct timer *timer) {
    struct load_worker *w = CONTAINER_OF(timer, struct load_worker, ramp_timer);
    while (w->started < w->client_count && !w->stopping && ramp_at(w) <= clock_now())
        client_start(&w->clients[w->started++], clock_now());
    bool more = w->started < w->client_count && !w->stopping;
    if (more && timer_set(w->loop, &w->ramp_timer, ramp_at(w)) != 0)
        clients_stop(w, RUN_END_ERROR);
}

/* Closed loop without a ramp: all of those that have not started yet. */
static void start_rest(struct load_worker *w) {
    w->starts_serially = false;
    while (w->started < w->client_count && !w->stopping)
        client_start(&w->clients[w->started++], clock_now());
}

/* The first request that counts begins: forgets what the warm-up counted, and how late we were. */
static void warm_up_ends(struct load_worker *w) {
    counters_restart(&w->counters, w->plan.measure_from);
    answers_restart(&w->answers);
    w->counters.busy_max = w->busy;
    w->is_warm = true;
    if (w->config->warmup == 0)
        return;
    hist_reset(w->lateness.lag);
    w->cpu_began = clock_thread_cpu();
}

/* A planned request that could not begin in time. A connection was free, or its time came within a
 * pause of ours: then it is our fault. */
static void count_starved(struct load_worker *w, nsec_t planned) {
    bool in_pause = planned >= w->lateness.pause_began && planned < w->lateness.pause_ended;
    w->counters.starved += w->found_idle || w->idle != NULL || in_pause;
}

/* Takes the next request of the plan, if one is due: its planned time, and its record. */
static bool take(struct load_client *c, nsec_t now) {
    struct load_worker *w = c->worker;
    if (!plan_take(&w->plan, now, &c->planned))
        return false;
    if (c->planned < w->plan.measure_from)
        return true;
    if (UNLIKELY(!w->is_warm))
        warm_up_ends(w);
    bool is_planned = plan_is_open(&w->plan);
    bool is_late = is_planned && now - c->planned > COUNTERS_LATE_USEC * NSEC_PER_USEC;
    if (is_late) {
        selfcheck_look(&w->lateness, now);
        count_starved(w, c->planned);
    }
    c->sample = counters_begin(&w->counters, c->planned, is_planned, is_late);
    return true;
}

/* Whether nothing is left to do and nothing to wait for. A time limit ends the run by itself. */
static bool is_done(const struct load_worker *w) {
    if (w->busy > 0 || w->stopping)
        return false;
    if (!plan_is_open(&w->plan))
        return true;
    return plan_next_at(&w->plan) == NSEC_NEVER &&
           (w->plan.stop_at == NSEC_NEVER || w->plan.left == 0);
}

/* An open connection waits for the next planned request, unless the run is over. */
static void client_rest(struct load_client *c) {
    struct load_worker *w = c->worker;
    timeouts_leave(&c->timeout);
    if (w->stopping || !plan_is_open(&w->plan) || c->state == LOAD_IDLE)
        client_disconnect(c);
    else
        c->state = LOAD_RESTING;
    w->busy--;
    if (plan_is_open(&w->plan)) {
        c->next_idle = w->idle;
        w->idle = c;
        if (!w->stopping && arm_arrival(w) != 0)
            clients_stop(w, RUN_END_ERROR);
    }
    if (is_done(w))
        loop_stop(w->loop);
}

static void begin_exchange(struct load_client *c) {
    const struct request *request = c->worker->request;
    c->sent_bytes = c->body_bytes = 0;
    c->matched = 0;
    c->write_failed = false;
    c->exchanges++;
    http_conn_sent(&c->http, request->method, request->close);
}

static void client_start(struct load_client *c, nsec_t now) {
    struct load_worker *w = c->worker;
    if (w->stopping || !take(c, now)) {
        client_rest(c);
        return;
    }
    c->holds_request = true;
    c->started = now;
    c->body_bytes = 0;
    if (timeouts_join(&w->timeouts, &c->timeout, now) != 0) {
        clients_stop(w, RUN_END_ERROR);
        return;
    }
    if (c->state == LOAD_IDLE) {
        client_connect(c);
        return;
    }
    c->state = LOAD_WAITING;
    c->written = now;
    begin_exchange(c);
    client_send(c, now);
}

/* --- connecting ------------------------------------------------------------------------------- */

/* The next attempt comes from a fresh stack, so that failing at once cannot recurse. */
static void client_pause(struct load_client *c) {
    client_disconnect(c);
    c->state = LOAD_PAUSED;
    loop_defer(c->worker->loop, &c->again);
}

/* The backlog of a unix listener is full: connect(2) says so instead of queueing. */
static void retry_later(struct load_client *c, nsec_t now) {
    client_disconnect(c);
    c->state = LOAD_PAUSED;
    if (timeouts_join(&c->worker->retries, &c->retry, now) != 0)
        clients_stop(c->worker, RUN_END_ERROR);
}

static void connect_failed(struct load_client *c, int rc, nsec_t now) {
    if (rc == -EAGAIN) {
        retry_later(c, now);
    } else if (rc != -ETIMEDOUT && target_leave_out(&c->worker->dialer, c->address, -rc)) {
        client_pause(c); /* the request is still to be sent, elsewhere */
    } else if (rc == -ECONNREFUSED) {
        client_fail(c, FAILURE_REFUSED, now);
    } else if (rc == -ETIMEDOUT) {
        client_fail(c, FAILURE_TIMEOUT_CONNECT, now);
    } else if (rc == -ECONNRESET) {
        client_fail(c, FAILURE_RESET, now);
    } else {
        c->worker->counters.connect_errno = -rc;
        client_fail(c, FAILURE_CONNECT, now);
    }
}

static int open_connection(struct load_client *c) {
    int fd = target_dial(&c->worker->dialer, &c->address);
    int rc = fd < 0 ? fd : watch_open(&c->watch, c->worker->loop, fd, on_ready);
    if (fd >= 0 && rc == 0)
        rc = secure_open(&c->secure, c->worker->secure, &c->worker->session, &c->watch);
    if (fd >= 0 && rc != 0)
        close(fd);
    /* Nothing is there to be read yet, and if it is, the registration reports it. */
    if (rc == 0)
        c->watch.ready &= ~(unsigned)IO_READ;
    return rc;
}

/* The first write is tried at once: on loopback the connection stands already when connect(2)
 * returns, elsewhere the send says EAGAIN, and reports the error of a connection that could not be
 * made. */
static void client_connect(struct load_client *c) {
    int rc = open_connection(c);
    nsec_t now = clock_now();
    if (rc != 0) {
        connect_failed(c, rc, now);
        return;
    }
    c->state = LOAD_CONNECTING;
    c->exchanges = 0;
    http_conn_init(&c->http, HTTP_CLIENT,
                   c->worker->config->strict ? &strict_limits : &lenient_limits);
    begin_exchange(c);
    if (c->secure != NULL)
        client_secure(c);
    else
        client_send(c, now);
}

static void connection_begins(struct load_client *c, nsec_t now) {
    c->connected = c->written = now;
    c->state = LOAD_WAITING;
    c->worker->counters.connections++;
    c->worker->answers.addresses[c->address].connections++;
}

/* Goes on with what comes before the first request of a connection to https. */
static void client_secure(struct load_client *c) {
    int rc = secure_step(c->secure, &c->watch);
    nsec_t now = clock_now();
    if (c->state == LOAD_CONNECTING && secure_is_dialed(c->secure)) {
        c->state = LOAD_SECURING;
        c->dialed = now;
    }
    if (rc == 0) {
        answers_add_handshake(&c->worker->answers, c->secure->tls);
        connection_begins(c, now);
        client_send(c, now);
    } else if (rc != -EAGAIN && c->state == LOAD_CONNECTING) {
        connect_failed(c, rc, now);
    } else if (rc != -EAGAIN) {
        client_fail(c, secure_failure(c->secure), now);
    }
}

static void client_disconnect(struct load_client *c) {
    buf_free(&c->in);
    if (c->state == LOAD_IDLE || c->state == LOAD_PAUSED)
        return;
    secure_leave(&c->secure, &c->watch);
    close(c->watch.fd);
    c->state = LOAD_IDLE;
}

/* --- writing and reading ---------------------------------------------------------------------- */

/* A reused connection that refuses to take any byte was closed while idle: the request was not
 * sent, so that sending it on a new one is no retry. */
static void write_failed(struct load_client *c, int rc, nsec_t now) {
    if (c->state == LOAD_CONNECTING) {
        connect_failed(c, rc, now);
    } else if (c->exchanges > 1 && c->sent_bytes == 0) {
        c->worker->counters.reconnects++;
        client_disconnect(c);
        client_connect(c);
    } else {
        /* The server may have answered before it stopped listening: that answer counts. */
        c->write_failed = true;
        loop_defer(c->worker->loop, &c->again);
    }
}

/* `now` is also taken for the end of writing: on loopback the server may answer within the system
 * call. */
static void client_send(struct load_client *c, nsec_t now) {
    struct load_worker *w = c->worker;
    while (c->sent_bytes < w->request_bytes.len) {
        struct slice left = slice_drop(w->request_bytes, c->sent_bytes);
        ssize_t n = watch_send(&c->watch, left.ptr, left.len);
        if (n == -EAGAIN)
            return;
        if (n < 0) {
            write_failed(c, (int)n, now);
            return;
        }
        if (c->state == LOAD_CONNECTING)
            connection_begins(c, now);
        c->sent_bytes += (size_t)n;
        c->written = now;
        w->counters.bytes_sent += (size_t)n;
    }
}

static void on_head(struct load_client *c, const struct http_head *head) {
    struct load_worker *w = c->worker;
    c->status = head->status;
    if (!w->counters.has_document)
        counters_server(&w->counters, head);
    if (w->config->verbosity >= VERBOSE_HEADS)
        request_show_answer(head, w->config->verbosity);
    if (w->starts_serially)
        start_rest(w);
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

static void client_feed(struct load_client *c, struct slice input, bool eof, nsec_t now) {
    struct slice rest = input;
    struct http_head head;
    struct http_event ev;
    bool has_head = c->http.phase == HTTP_PHASE_HEAD;
    for (;;) {
        rest = slice_drop(rest, http_conn_feed(&c->http, rest, eof, &head, &ev));
        switch (ev.kind) {
        case HTTP_EV_INTERIM:
            break;
        case HTTP_EV_HEAD:
            on_head(c, &head);
            break;
        case HTTP_EV_DATA:
            c->body_bytes += ev.data.len;
            if (c->worker->expect->text.len > 0)
                c->matched = expect_body_feed(c->worker->expect, c->matched, ev.data);
            break;
        case HTTP_EV_MORE:
            if (buf_keep(&c->in, input, input.len - rest.len) != 0)
                client_fail_malformed(c, http_err_memory, input, now);
            return;
        case HTTP_EV_END:
            buf_free(&c->in);
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

static void client_receive(struct load_client *c) {
    while (c->state == LOAD_WAITING || c->state == LOAD_RECEIVING) {
        struct slice input = { NULL, 0 };
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
    } else if (c->sent_bytes < c->worker->request_bytes.len) {
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

/* `clean`: nothing was received beyond the response. */
static void client_judge(struct load_client *c, bool clean, nsec_t now) {
    struct load_worker *w = c->worker;
    const struct loadgen_config *config = w->config;
    struct timing timing = client_timing(c, now);
    int outcome = OUTCOME_OK;
    w->counters.body_bytes += c->body_bytes;
    if (!ends_measured(c))
        return;
    answers_add(&w->answers, c->status, c->body_bytes, http_conn_noted(&c->http));
    w->answers.addresses[c->address].responses++;
    w->answers.overrun += !clean;
    if (!expect_status_has(&config->expect_status, c->status))
        outcome = FAILURE_STATUS;
    else if (!expect_body_found(w->expect, c->matched))
        outcome = FAILURE_BODY;
    else if (!counters_fits_document(&w->counters, c->status, c->body_bytes,
                                     config->ab_strict && !config->variable_length))
        outcome = FAILURE_LENGTH;
    counters_end(&w->counters, c->sample, outcome, c->status, c->body_bytes, &timing, now);
    live_request_ended(w->live);
}

/* The request came to its end without a response. The client goes on after the turn. */
static void client_fail(struct load_client *c, enum failure reason, nsec_t now) {
    struct load_worker *w = c->worker;
    struct timing timing = client_timing(c, now);
    if (c->secure != NULL && failure_has_words(reason))
        answers_add_words(&w->answers, reason, secure_words(c->secure));

    client_pause(c);
    timeouts_leave(&c->timeout);
    w->counters.body_bytes += c->body_bytes;
    c->status = 0;
    if (ends_measured(c)) {
        counters_end(&w->counters, c->sample, (int)reason, 0, c->body_bytes, &timing, now);
        live_request_ended(w->live);
    }
    if (w->starts_serially)
        start_rest(w);
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
        (void)target_leave_out(&c->worker->dialer, c->address, ETIMEDOUT);
    client_fail(c, reason, clock_now());
}

/* --- the next one ----------------------------------------------------------------------------- */

static void client_next(struct load_client *c, bool clean, nsec_t now) {
    struct load_worker *w = c->worker;
    int64_t limit = w->config->requests_per_connection;
    bool complete = c->sent_bytes == w->request_bytes.len;
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
    w->arrival_timer.fire = on_arrival;
    w->ramp_timer.fire = on_ramp;
    w->trial_timer.fire = on_trial;
    if (w->clients == NULL || w->in == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < w->client_count; i++) {
        struct load_client *c = &w->clients[i];
        *c = (struct load_client){ .worker = w,
                                   .again = { .run = on_again },
                                   .watch = { .fd = -1 } };
        buf_init(&c->in, IN_BYTES_MAX);
    }
    return 0;
}

int clients_start(struct load_worker *w) {
    w->busy = w->client_count;
    if (plan_is_open(&w->plan)) {
        for (uint32_t i = w->client_count; i-- > 0;) {
            w->clients[i].next_idle = w->idle;
            w->idle = &w->clients[i];
        }
        w->started = w->client_count;
        w->busy = 0;
        return arm_arrival(w);
    }
    if (w->config->ramp > 0)
        return timer_set(w->loop, &w->ramp_timer, ramp_at(w));
    w->starts_serially = w->config->ab_strict;
    if (w->starts_serially)
        client_start(&w->clients[w->started++], clock_now());
    else
        start_rest(w);
    return 0;
}

void clients_stop(struct load_worker *w, enum run_end end) {
    if (w->stopping)
        return;
    w->stopping = true;
    w->end = end;
    if (end == RUN_END_ERROR || end == RUN_END_SIGNAL)
        live_stop(w->live, end);
    loop_stop(w->loop);
}

static void timers_close(struct load_worker *w) {
    timer_cancel(w->loop, &w->arrival_timer);
    timer_cancel(w->loop, &w->ramp_timer);
    timer_cancel(w->loop, &w->trial_timer);
    timeouts_close(&w->timeouts);
    timeouts_close(&w->partings);
    timeouts_close(&w->retries);
}

void clients_drop_due(struct load_worker *w, nsec_t now) {
    nsec_t planned;
    while (plan_is_open(&w->plan) && plan_take(&w->plan, now, &planned)) {
        struct timing waited = { .queue = (now - planned) / NSEC_PER_USEC,
                                 .disturbed = planned < w->lateness.pause_ended };
        if (planned < w->plan.measure_from)
            continue;
        w->counters.planned++;
        size_t sample = counters_begin(&w->counters, planned, false, false);
        counters_end(&w->counters, sample, OUTCOME_DROPPED, 0, 0, &waited, now);
        count_starved(w, planned);
    }
}

void clients_end(struct load_worker *w, nsec_t now) {
    if (!w->is_warm && w->config->warmup > 0)
        warm_up_ends(w);
    w->stopping = true; /* deferred work comes to nothing */
    selfcheck_probe(&w->lateness, now);
    for (uint32_t i = 0; i < w->client_count; i++) {
        struct load_client *c = &w->clients[i];
        struct timing timing = client_timing(c, now);
        if (c->holds_request && ends_measured(c))
            counters_end(&w->counters, c->sample, OUTCOME_UNFINISHED, 0, c->body_bytes, &timing,
                         now);
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
