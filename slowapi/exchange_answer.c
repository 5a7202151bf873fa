/* SPDX-License-Identifier: MIT */
/* Answers of an exchange: the plain one in one piece, others step by step. */
#include "slowapi/answer.h"
#include "slowapi/exchange.h"
#include "slowapi/reactor.h"
#include <errno.h>

static nsec_t after(const struct exchange *e, nsec_t span) {
    return deadline_after(loop_now(e->reactor->loop), span);
}

static bool is_last(const struct exchange *e) {
    return e->reactor->draining || e->reactor->config->keep_alive == 0;
}

/* The answer is written. Closing while input is unread would make the kernel reset the connection,
 * and a reset can overtake the answer. */
static void finish(struct exchange *e) {
    bool is_read = e->conn.phase == HTTP_PHASE_DONE && (e->eof || !(e->watch.ready & IO_READ));

    if (e->in_flight)
        truth_count(&e->reactor->planner.truth, TRUTH_ANSWERS);
    exchange_settle(e, "answered");
    e->is_reused = true;
    if (http_conn_next(&e->conn))
        exchange_enter(e, EXCHANGE_IDLE, after(e, e->reactor->config->keep_alive));
    else if (is_read)
        exchange_close(e);
    else
        exchange_linger(e);
}

/* True: all of it is written. Else the rest is sent later, or the exchange is closed. */
static bool send_now(struct exchange *e, struct slice bytes) {
    ssize_t n = bytes.len > 0 ? watch_send(&e->watch, bytes.ptr, bytes.len) : 0;
    if (n == (ssize_t)bytes.len)
        return true;

    bool is_full = n >= 0 || n == -EAGAIN;
    e->client_left = !is_full;
    if (is_full && buf_append(&e->out, slice_drop(bytes, n > 0 ? (size_t)n : 0)) == 0)
        exchange_enter(e, EXCHANGE_SEND, after(e, SLOWAPI_SEND_TIMEOUT));
    else
        exchange_close(e);
    return false;
}

/* --- the plain answer ------------------------------------------------------------------------- */

static void answer(struct exchange *e, uint16_t status, struct slice text, bool last) {
    struct reactor *r = e->reactor;
    const struct answer a = { .status = status, .text = text, .close = last || is_last(e) };

    e->step = (struct reply_step){ .act = REPLY_KEEP };
    buf_consume(&r->out, buf_unread(&r->out).len);
    if (answer_encode(&r->out, &e->conn, &a) < 0)
        exchange_close(e);
    else if (send_now(e, buf_unread(&r->out)))
        finish(e);
}

void exchange_refuse(struct exchange *e, uint16_t status, const char *text) {
    truth_count(&e->reactor->planner.truth, TRUTH_MALFORMED);
    exchange_settle(e, "malformed");
    answer(e, status, slice_str(text), true);
}

/* --- step by step ----------------------------------------------------------------------------- */

/* For ever, that is until the client closes its side; one that has done so already would not be
 * told of again. */
static void hang(struct exchange *e) {
    e->client_left = (e->watch.ready & IO_HANGUP) != 0;
    if (e->client_left)
        exchange_close(e);
    else
        exchange_enter(e, EXCHANGE_HANG, NSEC_NEVER);
}

/* What the step said. True: the next one may come at once. */
static bool act(struct exchange *e) {
    switch (e->step.act) {
    case REPLY_NEXT:
        return true;
    case REPLY_WAIT:
        exchange_enter(e, EXCHANGE_SLEEP, deadline_after(clock_now(), e->step.wait));
        break;
    case REPLY_HANG:
        hang(e);
        break;
    case REPLY_KEEP:
        finish(e);
        break;
    case REPLY_FIN:
        exchange_linger(e);
        break;
    case REPLY_RST:
        exchange_reset(e);
        break;
    }
    return false;
}

static void run_steps(struct exchange *e) {
    struct reactor *r = e->reactor;

    for (unsigned i = 0; i < SLOWAPI_STEPS_PER_TURN; i++) {
        buf_consume(&r->out, buf_unread(&r->out).len);
        if (reply_step(e->reply, &e->conn, &r->planner.truth, is_last(e), &r->out, &e->step) < 0) {
            exchange_close(e);
            return;
        }
        if (!send_now(e, buf_unread(&r->out)) || !act(e))
            return;
    }
    exchange_enter(e, EXCHANGE_SLEEP, clock_now());
}

/* Planned and actual are compared when the answer begins. */
static void note_time(struct exchange *e) {
    struct truth *truth = &e->reactor->planner.truth;
    nsec_t late = e->delay > 0 ? clock_now() - e->deadline : 0;

    e->is_timed = true;
    truth_time(truth, TRUTH_PLANNED, e->delay);
    truth_time(truth, TRUTH_ACTUAL, e->delay + late);
    truth_time(truth, TRUTH_LATE, late);
}

void exchange_answer(struct exchange *e) {
    if (!e->is_timed)
        note_time(e);
    if (e->reply != NULL)
        run_steps(e);
    else
        answer(e, 200, SLICE("slow api response"), false);
}

void exchange_send(struct exchange *e) {
    struct slice rest = buf_unread(&e->out);

    ssize_t n = watch_send(&e->watch, rest.ptr, rest.len);
    if (n == -EAGAIN)
        return;
    if (n < 0) {
        e->client_left = true;
        exchange_close(e);
        return;
    }
    buf_consume(&e->out, (size_t)n);
    if ((size_t)n < rest.len)
        return;
    buf_free(&e->out);
    if (act(e))
        run_steps(e);
}
