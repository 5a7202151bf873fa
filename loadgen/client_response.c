/* SPDX-License-Identifier: MIT */
/* What a connection of the load does with what it receives. */
#include "http/error.h"
#include "loadgen/client.h"
#include "loadgen/verbose.h"
#include "loadgen/worker.h"
#include "loadgen/worker_timers.h"
#include <errno.h>
#include <unistd.h>

enum { IN_BYTES_STEP = 4096 /* room for the rest of an unfinished head */ };

static void on_parting_ready(struct watch *watch, unsigned what) {
    struct parting *p = CONTAINER_OF(watch, struct parting, watch);
    struct load_worker *w = CONTAINER_OF(p, struct load_worker, parting);
    (void)what;
    ssize_t n = watch_recv(watch, w->in, WORKER_IN_BYTES);
    if (n > 0 || n == -EAGAIN)
        return;
    w->server_closes = true;
    parting_close(p);
}

void parting_expired(struct parting *p) {
    CONTAINER_OF(p, struct load_worker, parting)->server_lingers = true;
    parting_close(p);
}

void parting_close(struct parting *p) {
    if (!p->is_open)
        return;
    p->is_open = false;
    timeouts_leave(&p->timeout);
    watch_close(&p->watch);
    close(p->watch.fd);
}

/* Takes the client's connection over, if none is watched yet. */
static void watch_apart(struct load_client *c, nsec_t now) {
    struct load_worker *w = c->worker;
    int fd = c->watch.fd;
    if (w->parting.is_open)
        return;
    watch_close(&c->watch);
    c->state = CLIENT_IDLE;
    if (watch_open(&w->parting.watch, w->loop, fd, on_parting_ready) != 0) {
        close(fd);
        return;
    }
    w->parting.is_open = true;
    if (timeouts_join(&w->partings, &w->parting.timeout, now) != 0)
        parting_close(&w->parting);
}

/* Waiting for the server to close first leaves TIME_WAIT, and the port, on its side: a client that
 * closes first runs out of ports. As long as it is not known whether the server closes, that costs
 * a small part of one response's time, and then nothing. */
static bool waits_for_close(struct load_client *c, nsec_t now) {
    struct load_worker *w = c->worker;
    if (w->server_lingers || w->plan.left == 0)
        return false;
    if ((c->watch.ready & IO_HANGUP) || watch_recv(&c->watch, w->in, WORKER_IN_BYTES) != -EAGAIN) {
        w->server_closes = true;
        return false;
    }
    if (w->server_closes || !w->trial_is_over)
        return w->server_closes || worker_timers_arm_trial(w, now, now - c->started) == 0;
    watch_apart(c, now);
    return false;
}

static void client_part(struct load_client *c, nsec_t now) {
    if (waits_for_close(c, now) && timeouts_join(&c->worker->partings, &c->timeout, now) == 0) {
        c->state = CLIENT_PARTING;
        return;
    }
    client_close(c);
    client_start(c, now);
}

void client_trial_ends(struct load_client *c, nsec_t now) {
    if (c->state != CLIENT_PARTING)
        return;
    timeouts_leave(&c->timeout);
    watch_apart(c, now);
    client_close(c);
    client_start(c, now);
}

void client_parting_expired(struct load_client *c) {
    c->worker->server_lingers = true;
    client_close(c);
    client_start(c, clock_now());
}

void client_parting_ready(struct load_client *c) {
    struct load_worker *w = c->worker;
    ssize_t n = watch_recv(&c->watch, w->in, WORKER_IN_BYTES);
    if (n > 0 || n == -EAGAIN)
        return;
    w->server_closes = true;
    client_close(c);
    client_start(c, clock_now());
}

void client_resting_ready(struct load_client *c) {
    struct load_worker *w = c->worker;
    ssize_t n = watch_recv(&c->watch, w->in, WORKER_IN_BYTES);
    if (n == -EAGAIN)
        return;
    w->answers.overrun += n > 0;
    w->tally.reconnects++;
    client_close(c);
}

/* Whether the connection serves no further request though it could: the user has set a limit. */
static bool is_used_up(const struct load_client *c) {
    int64_t limit = c->worker->config->requests_per_connection;
    return limit > 0 && c->exchanges >= limit;
}

/* `clean`: nothing was received beyond the response. */
static void response_ended(struct load_client *c, bool clean, nsec_t now) {
    struct load_worker *w = c->worker;
    struct timing timing = client_timing(c, now);
    w->tally.body_bytes += c->body_bytes;
    worker_answered(w, c, &timing, now);
    if (!clean && c->planned >= w->plan.measure_from)
        w->answers.overrun++;

    bool complete = c->sent_bytes == w->request_bytes.len;
    bool keeps = http_conn_next(&c->http) && complete && clean;
    if (!keeps) {
        client_part(c, now);
        return;
    }
    w->tally.kept_alive++;
    if (is_used_up(c)) {
        client_close(c);
    } else if (c->watch.ready & IO_HANGUP) {
        w->tally.reconnects++;
        client_close(c);
    }
    client_start(c, now);
}

static void on_head(struct load_client *c, const struct http_head *head) {
    struct load_worker *w = c->worker;
    c->status = head->status;
    if (!w->tally.has_document)
        tally_server(&w->tally, head);
    if (w->config->verbosity >= VERBOSE_HEADS)
        verbose_response(head, w->config->verbosity);
    if (w->starts_serially)
        worker_start_rest(w);
}

/* Keeps what belongs to an unfinished head or line. */
static int keep_rest(struct load_client *c, struct slice all, struct slice rest) {
    if (buf_unread(&c->in).len == 0)
        return rest.len == 0 ? 0 : buf_append(&c->in, rest);
    buf_consume(&c->in, all.len - rest.len);
    if (rest.len == 0)
        buf_free(&c->in);
    return 0;
}

static enum failure closed_reason(const struct load_client *c) {
    if (c->state == CLIENT_RECEIVING)
        return FAILURE_TRUNCATED;
    return c->exchanges > 1 ? FAILURE_CLOSED_REUSED : FAILURE_CLOSED_EARLY;
}

/* A server that closes an idle connection while a request is on its way answers that with a reset,
 * or is seen to have closed before: one event, which says nothing against the server. */
static enum failure reset_reason(const struct load_client *c) {
    bool is_race = c->state == CLIENT_WAITING && c->exchanges > 1;
    return is_race ? FAILURE_CLOSED_REUSED : FAILURE_RESET;
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
            if (keep_rest(c, input, rest) != 0)
                client_fail_malformed(c, http_err_memory, input, now);
            return;
        case HTTP_EV_END:
            buf_free(&c->in);
            response_ended(c, rest.len == 0, now);
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

/* What came last from a connection with an unfinished head goes behind it; all else goes to the
 * shared buffer. */
static ssize_t client_recv(struct load_client *c, struct slice *ret_input) {
    struct load_worker *w = c->worker;
    if (buf_unread(&c->in).len == 0) {
        ssize_t n = watch_recv(&c->watch, w->in, WORKER_IN_BYTES);
        *ret_input = slice_of(w->in, n > 0 ? (size_t)n : 0);
        return n;
    }
    int rc = buf_reserve(&c->in, IN_BYTES_STEP);
    if (rc != 0)
        return rc;
    ssize_t n = watch_recv(&c->watch, buf_tail(&c->in), buf_room(&c->in));
    if (n > 0)
        buf_added(&c->in, (size_t)n);
    *ret_input = buf_unread(&c->in);
    return n;
}

void client_read(struct load_client *c) {
    while (c->state == CLIENT_WAITING || c->state == CLIENT_RECEIVING) {
        struct slice input = { NULL, 0 };
        ssize_t n = client_recv(c, &input);
        if (n == -EAGAIN && !c->write_failed)
            return;
        nsec_t now = clock_now();
        if (n == -ENOBUFS || n == -ENOMEM) {
            client_fail_malformed(c, http_err_memory, buf_unread(&c->in), now);
            return;
        }
        if (n < 0 || (n == 0 && c->write_failed)) {
            client_fail(c, reset_reason(c), now);
            return;
        }
        if (n > 0 && c->state == CLIENT_WAITING) {
            c->state = CLIENT_RECEIVING;
            c->first_byte = now;
        }
        c->worker->tally.bytes_received += (size_t)n;
        client_feed(c, input, n == 0, now);
    }
}
