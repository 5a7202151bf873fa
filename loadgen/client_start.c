/* SPDX-License-Identifier: MIT */
/* The first half of a request's life (loadgen/client.h): the moment when it is due, the connection
 * that it goes over, and its bytes. */
#include "base/alloc.h"
#include "loadgen/client.h"
#include "loadgen/mix.h"
#include <errno.h>
#include <unistd.h>

static const struct http_limits strict_limits = HTTP_LIMITS_RESPONSE;
static const struct http_limits lenient_limits = HTTP_LIMITS_LENIENT(&strict_limits);

static void client_connect(struct load_client *c);

/* --- a request is due ------------------------------------------------------------------------- */

/* Open model: wakes up for the next planned request, when a client is idle. Otherwise the one that
 * becomes free looks at the plan first. */
static int arm_arrival(struct load_worker *w) {
    return w->busy < w->at_once ? timer_set(w->loop, &w->arrival_timer, plan_next_at(&w->plan)) : 0;
}

static void push_idle(struct load_client *c) {
    struct load_pool *pool = &c->worker->pools[c->pool];
    c->next_idle = pool->idle;
    pool->idle = c;
}

/* Takes a free connection of that host: there is one, for each host has as many as there may be
 * requests at once. */
static struct load_client *pop_idle(struct load_worker *w, size_t pool) {
    struct load_client *c = w->pools[pool].idle;
    w->pools[pool].idle = c->next_idle;
    return c;
}

/* Takes any one. */
static struct load_client *pop_any_idle(struct load_worker *w) {
    size_t pool = 0;
    while (w->pools[pool].idle == NULL)
        pool++;
    return pop_idle(w, pool);
}

static void on_arrival(struct timer *timer) {
    struct load_worker *w = CONTAINER_OF(timer, struct load_worker, arrival_timer);
    while (w->busy < w->at_once && !w->stopping && plan_next_at(&w->plan) <= clock_now()) {
        struct load_client *c = pop_any_idle(w);
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

/* Connections of several workers, on all machines, interleave. */
static nsec_t ramp_at(const struct load_worker *w) {
    struct share turn = load_shard_turn(&w->config->shard, w->share);
    return w->start + ((nsec_t)w->started * turn.count + turn.index) * w->config->ramp;
}

static void on_ramp(struct timer *timer) {
    struct load_worker *w = CONTAINER_OF(timer, struct load_worker, ramp_timer);
    while (w->started < w->at_once && !w->stopping && ramp_at(w) <= clock_now())
        client_start(&w->clients[w->started++], clock_now());
    bool more = w->started < w->at_once && !w->stopping;
    if (more && timer_set(w->loop, &w->ramp_timer, ramp_at(w)) != 0)
        clients_stop(w, RUN_END_ERROR);
}

void clients_start_rest(struct load_worker *w) {
    w->starts_serially = false;
    while (w->started < w->at_once && !w->stopping)
        client_start(&w->clients[w->started++], clock_now());
}

/* --- users who think before they go on (--think) ---------------------------------------------- */

static struct load_thinker *thinker_of(const struct load_client *c) {
    return &c->worker->thinkers[c - c->worker->clients];
}

static bool thinks(const struct load_client *c) {
    return c->worker->thinkers != NULL && timer_armed(&thinker_of(c)->timer);
}

static void on_thought(struct timer *timer) {
    struct load_thinker *thinker = CONTAINER_OF(timer, struct load_thinker, timer);
    struct load_worker *w = thinker->worker;
    struct load_client *c = &w->clients[thinker - w->thinkers];
    w->thinking--;
    client_start(c, clock_now());
}

/* Whether the client pauses now: after each of its requests, unless there are no more. Its
 * connection stays open meanwhile. */
static bool client_think(struct load_client *c, nsec_t now) {
    struct load_worker *w = c->worker;
    if (w->thinkers == NULL)
        return false;
    struct load_thinker *thinker = thinker_of(c);
    bool owes = thinker->owes;
    thinker->owes = false;
    if (!owes || w->stopping || w->plan.left == 0 || c >= w->clients_end)
        return false;
    timeouts_leave(&c->timeout);
    if (c->state != LOAD_IDLE)
        c->state = LOAD_RESTING;
    w->thinking++;
    nsec_t span = dist_draw(&w->config->think, &w->think_rng);
    if (timer_set(w->loop, &thinker->timer, now + span) != 0)
        clients_stop(w, RUN_END_ERROR);
    return true;
}

static int thinkers_init(struct load_worker *w) {
    if (w->config->think_text == NULL)
        return 0;
    w->thinkers = mem_calloc(w->client_count, sizeof(*w->thinkers));
    struct share turn = load_shard_turn(&w->config->shard, w->share);
    w->think_rng = rng_stream((uint64_t)w->config->seed, UINT32_MAX + (uint64_t)turn.index);
    for (uint32_t i = 0; w->thinkers != NULL && i < w->client_count; i++)
        w->thinkers[i] = (struct load_thinker){ .timer = { .fire = on_thought }, .worker = w };
    return w->thinkers != NULL ? 0 : -ENOMEM;
}

/* --- connections whose number changes by stages ----------------------------------------------- */

/* Whether a connection has nothing on its way, not even a pause: its turn comes by itself then. */
static bool is_off(const struct load_client *c) {
    return c->state == LOAD_IDLE && !c->holds_request && !thinks(c);
}

/* Starts the connections that the stages have now beside those that run. The ones beyond them stop
 * after their request. Connections of several workers, on all machines, interleave. */
static void follow_stages(struct load_worker *w) {
    nsec_t now = clock_now(), next;
    uint32_t all = shape_connections(w->plan.shape, now - w->plan.start, &next);
    uint32_t ours = (uint32_t)share_of(load_shard_turn(&w->config->shard, w->share), all);
    w->clients_end = w->clients + ours;
    for (struct load_client *c = w->clients; c < w->clients_end && !w->stopping; c++) {
        if (!is_off(c) || w->plan.left == 0)
            continue;
        w->busy++;
        client_start(c, now);
    }
    if (next != NSEC_NEVER && !w->stopping &&
        timer_set(w->loop, &w->stage_timer, w->plan.start + next) != 0)
        clients_stop(w, RUN_END_ERROR);
}

static void on_stage(struct timer *timer) {
    follow_stages(CONTAINER_OF(timer, struct load_worker, stage_timer));
}

/* --- the next request of the plan ------------------------------------------------------------- */

void clients_warm_up_end(struct load_worker *w) {
    counters_restart(&w->counters, w->plan.measure_from);
    answers_restart(&w->answers);
    names_restart(w->counters.names);
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
    w->counters.starved += w->found_idle || w->busy < w->at_once || in_pause;
}

/* Whether the connection may take one at all. Requests that came while nobody was free are dropped
 * first, when that is what was asked for. */
static bool may_take(struct load_client *c, nsec_t now) {
    struct load_worker *w = c->worker;
    if (c >= w->clients_end)
        return false;
    if (w->config->no_catch_up && w->busy >= w->at_once && !w->found_idle)
        clients_drop_due(w, now);
    return true;
}

/* Takes the next request of the plan, if one is due: its planned time, and its record. */
static bool take(struct load_client *c, nsec_t now) {
    struct load_worker *w = c->worker;
    if (UNLIKELY(!w->is_plain) && !may_take(c, now))
        return false;
    if (!plan_take(&w->plan, now, &c->planned))
        return false;
    if (c->planned < w->plan.measure_from)
        return true;
    if (UNLIKELY(!w->is_warm))
        clients_warm_up_end(w);
    bool is_planned = plan_is_open(&w->plan);
    bool is_late = is_planned && now - c->planned > COUNTERS_LATE_USEC * NSEC_PER_USEC;
    if (is_late) {
        selfcheck_look(&w->lateness, now);
        count_starved(w, c->planned);
    }
    c->sample = counters_begin(&w->counters, c->planned, is_planned, is_late);
    if (UNLIKELY(w->counters.stages != NULL))
        stages_begin(w->counters.stages, c->planned, now, is_planned);
    return true;
}

/* Whether nothing is left to do and nothing to wait for. A time limit ends the run by itself. */
static bool is_done(const struct load_worker *w) {
    return w->busy == w->thinking && !w->stopping && plan_is_done(&w->plan);
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
        push_idle(c);
        if (!w->stopping && arm_arrival(w) != 0)
            clients_stop(w, RUN_END_ERROR);
    }
    if (is_done(w))
        loop_stop(w->loop);
}

static void begin_exchange(struct load_client *c) {
    c->sent_bytes = c->body_bytes = 0;
    c->matched = 0;
    c->write_failed = false;
    c->holds_body = c->worker->config->expect_continue ? HOLD_BODY : HOLD_NOT;
    c->exchanges++;
    http_conn_sent(&c->http, c->request->method, c->request->close);
}

/* The request goes to another host: its connection waits for the next one that goes to its own. */
static struct load_client *hand_over(struct load_client *c, size_t pool) {
    struct load_client *other = pop_idle(c->worker, pool);
    other->planned = c->planned;
    other->sample = c->sample;
    timeouts_leave(&c->timeout);
    if (c->state != LOAD_IDLE)
        c->state = LOAD_RESTING;
    push_idle(c);
    return other;
}

/* Fills in the next request of a mix. Returns the client whose host it is for; NULL when memory is
 * out or the file has changed, and the run ends. */
static struct load_client *take_turn(struct load_client *c) {
    struct load_worker *w = c->worker;
    struct mix_turn turn = { .number = w->plan.line, .line = w->plan.line };
    if (w->plan.replay == NULL)
        mix_next(w->mix, &turn);
    if (turn.target != c->pool)
        c = hand_over(c, turn.target);
    struct mix_request **filled = &w->filled[c - w->clients];
    if (*filled == NULL)
        *filled = mem_calloc(1, sizeof(**filled));
    int rc = *filled != NULL ? mix_fill(w->mix, &turn, *filled) : -ENOMEM;
    if (rc != 0) {
        clients_stop(w, rc == -ESTALE ? RUN_END_CHANGE : RUN_END_ERROR);
        return NULL;
    }
    c->request = &(*filled)->request;
    if (w->config->verbosity >= VERBOSE_HEADS)
        request_show(c->request);
    return c;
}

/* Finds the request of a client where not all have the same: a mix's, or a user's. Returns the
 * client whose host it is for; NULL when memory is out, and the run ends. */
static struct load_client *choose_request(struct load_client *c, nsec_t now) {
    struct load_worker *w = c->worker;
    if (w->mix != NULL)
        c = take_turn(c);
    if (c == NULL)
        return NULL;
    if (w->users != NULL) {
        const struct request *own = users_begin(w->users, (size_t)(c - w->clients), now);
        if (own == NULL) {
            clients_stop(w, RUN_END_ERROR);
            return NULL;
        }
        c->request = own;
    }
    if (w->thinkers != NULL)
        thinker_of(c)->owes = true;
    return c;
}

void client_start(struct load_client *c, nsec_t now) {
    struct load_worker *w = c->worker;
    if (UNLIKELY(!w->is_plain) && client_think(c, now))
        return;
    if (w->stopping || !take(c, now)) {
        client_rest(c);
        return;
    }
    c->request = w->request;
    if (UNLIKELY(!w->is_plain)) {
        c = choose_request(c, now);
        if (c == NULL)
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

void client_resend(struct load_client *c, bool keeps, nsec_t now) {
    if (!keeps) {
        client_disconnect(c);
        client_connect(c);
        return;
    }
    c->state = LOAD_WAITING;
    c->written = now;
    begin_exchange(c);
    client_send(c, now);
}

void client_go_on(struct load_client *c) {
    c->state = LOAD_IDLE;
    if (c->holds_request)
        client_connect(c);
    else
        client_start(c, clock_now());
}

/* --- connecting ------------------------------------------------------------------------------- */

void client_pause(struct load_client *c) {
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
    } else if (rc != -ETIMEDOUT &&
               target_leave_out(&c->worker->pools[c->pool].dialer, c->address, -rc)) {
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
    struct load_pool *pool = &c->worker->pools[c->pool];
    int fd = target_dial(&pool->dialer, &c->address);
    int rc = fd < 0 ? fd : watch_open(&c->watch, c->worker->loop, fd, client_ready);
    if (fd >= 0 && rc == 0)
        rc = secure_open(&c->secure, pool->secure, &pool->session, &c->watch);
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
    c->worker->pools[c->pool].dialer.addresses[c->address].connections++;
}

void client_secure(struct load_client *c) {
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

void client_disconnect(struct load_client *c) {
    buf_free(&c->in);
    if (c->state == LOAD_IDLE || c->state == LOAD_PAUSED)
        return;
    if (UNLIKELY(c->holds_body != HOLD_NOT))
        client_forgo_body(c);
    secure_leave(&c->secure, &c->watch);
    close(c->watch.fd);
    c->state = LOAD_IDLE;
}

/* --- sending ---------------------------------------------------------------------------------- */

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

/* Cuts what may be sent before the server wants the body: the head. False when that is sent; a
 * server that does not say so is given a second. */
static bool take_head(struct load_client *c, struct slice *left, nsec_t now) {
    uint64_t head = c->request->head_bytes;
    if (c->sent_bytes < head) {
        *left = slice_take(*left, (size_t)(head - c->sent_bytes));
        return true;
    }
    bool waits = c->holds_body == HOLD_FOR_GOOD || c->retry.next != NULL;
    if (!waits && timeouts_join(&c->worker->continues, &c->retry, now) != 0)
        clients_stop(c->worker, RUN_END_ERROR);
    return false;
}

/* Reads the next piece of a body from its file. False: that failed, and the request with it. */
static bool take_piece(struct load_client *c, struct slice *left, nsec_t *now) {
    const struct request *r = c->request;
    uint64_t at = c->sent_bytes - request_bytes(r).len;
    ssize_t n = body_file_read(&r->file, at, c->worker->piece);
    *now = clock_now();
    if (n < 0) {
        client_fail(c, FAILURE_REQUEST_BODY, *now);
        return false;
    }
    *left = slice_of(c->worker->piece, (size_t)n);
    return true;
}

/* Cuts or reads what is to be sent now; false: nothing is. */
static bool take_part(struct load_client *c, struct slice *left, nsec_t *now) {
    if (c->sent_bytes >= request_length(c->request) ||
        (c->holds_body != HOLD_NOT && !take_head(c, left, *now)))
        return false;
    return left->len > 0 || take_piece(c, left, now);
}

void client_forgo_body(struct load_client *c) {
    timeouts_leave(&c->retry);
    c->holds_body = HOLD_FOR_GOOD;
}

void client_send(struct load_client *c, nsec_t now) {
    struct load_worker *w = c->worker;
    const struct slice bytes = request_bytes(c->request);
    while (!w->is_plain || c->sent_bytes < bytes.len) {
        struct slice left = slice_drop(bytes, c->sent_bytes);
        if (UNLIKELY(!w->is_plain) && !take_part(c, &left, &now))
            return;
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

/* --- all connections of a worker -------------------------------------------------------------- */

/* Whether no feature looks at each request, head or body: one question instead of many. */
static bool is_plain(const struct load_worker *w) {
    const struct counters *t = &w->counters;
    bool is_looked_at = w->mix != NULL || w->users != NULL || w->codings != NULL ||
                        w->streams != NULL || w->expect->text.len > 0 || t->names != NULL ||
                        t->server_times != NULL || t->stages != NULL;
    bool is_paced = w->thinkers != NULL || w->config->no_catch_up;
    return !is_looked_at && !is_paced && !w->config->expect_continue && !w->request->is_streamed;
}

int clients_start(struct load_worker *w) {
    w->arrival_timer.fire = on_arrival;
    w->ramp_timer.fire = on_ramp;
    w->stage_timer.fire = on_stage;
    w->clients_end = w->clients + w->client_count;
    w->busy = w->at_once;
    for (uint32_t i = w->client_count; i-- > w->at_once;)
        push_idle(&w->clients[i]);
    if (thinkers_init(w) != 0)
        return -ENOMEM;
    w->is_plain = is_plain(w);
    if (plan_is_open(&w->plan)) {
        for (uint32_t i = w->at_once; i-- > 0;)
            push_idle(&w->clients[i]);
        w->started = w->at_once;
        w->busy = 0;
        return arm_arrival(w);
    }
    if (loadgen_config_varies_connections(w->config)) {
        w->started = w->at_once;
        w->busy = 0;
        follow_stages(w);
        return 0;
    }
    if (w->config->ramp > 0)
        return timer_set(w->loop, &w->ramp_timer, ramp_at(w));
    w->starts_serially = w->config->ab_strict;
    if (w->starts_serially)
        client_start(&w->clients[w->started++], clock_now());
    else
        clients_start_rest(w);
    return 0;
}

void clients_drop_due(struct load_worker *w, nsec_t now) {
    nsec_t planned;
    while (plan_is_open(&w->plan) && plan_take(&w->plan, now, &planned)) {
        struct timing waited = { .planned = planned,
                                 .queue = w->config->no_catch_up ? 0 /* turned away at its time */
                                                                 : (now - planned) / NSEC_PER_USEC,
                                 .disturbed = planned < w->lateness.pause_ended };
        if (planned < w->plan.measure_from)
            continue;
        w->counters.planned++;
        size_t sample = counters_begin(&w->counters, planned, false, false);
        counters_end(&w->counters, sample, OUTCOME_DROPPED, 0, 0, &waited, now);
        count_starved(w, planned);
    }
}
