/* SPDX-License-Identifier: MIT */
/* Input of an exchange: bytes from the socket through the codec to the next step. */
#include "base/alloc.h"
#include "http/error.h"
#include "slowapi/exchange.h"
#include "slowapi/plan.h"
#include "slowapi/reactor.h"
#include <errno.h>

/* Least room for more of a head that is being kept; the buffer doubles from there. */
#define ROOM_BYTES 2048

static bool takes_input(const struct exchange *e) {
    return e->state == EXCHANGE_IDLE || e->state == EXCHANGE_HEAD || e->state == EXCHANGE_BODY;
}

static nsec_t after(const struct exchange *e, nsec_t span) {
    return deadline_after(loop_now(e->reactor->loop), span);
}

/* --- what the codec found --------------------------------------------------------------------- */

/* A client whose socket is full of unread answers gets none: it may send the body anyway (RFC 9110
 * section 10.1.1). */
static void invite_body(struct exchange *e) {
    struct slice text = HTTP_CONTINUE;

    ssize_t n = watch_send(&e->watch, text.ptr, text.len);
    if (n != (ssize_t)text.len && n != -EAGAIN)
        exchange_close(e);
}

static void on_end(struct exchange *e) {
    if (e->delay > 0)
        exchange_sleep(e);
    else
        exchange_answer(e);
}

/* Faults that strike before the answer is due. True: the request is dealt with. */
static bool strike_early(struct exchange *e) {
    struct truth *truth = &e->reactor->planner.truth;
    struct fault *stale = reply_fault(e->reply, FAULT_STALE);
    struct fault *early = reply_fault(e->reply, FAULT_EARLY);

    if (stale != NULL) {
        reply_strike(stale, truth);
        exchange_linger(e);
        return true;
    }
    if (early == NULL)
        return false;
    reply_strike(early, truth);
    on_end(e);
    return true;
}

static void on_head(struct exchange *e, const struct http_head *head) {
    const struct plan_origin origin = { .client = e->client,
                                        .bind = e->bind,
                                        .is_reused = e->is_reused };
    struct plan plan;

    exchange_begin(e);
    if (plan_make(&e->reactor->planner, head, &origin, &plan) < 0) {
        exchange_close(e);
        return;
    }
    e->delay = plan.delay;
    e->reply = plan.reply;
    exchange_enter(e, EXCHANGE_BODY, after(e, SLOWAPI_BODY_IDLE));
    if (e->state == EXCHANGE_CLOSED || (e->reply != NULL && strike_early(e)))
        return;
    if (!http_conn_takes_continue(&e->conn))
        return;
    if (e->reply == NULL || e->reply->status < 400)
        invite_body(e);
    else
        on_end(e);
}

/* All that `input` allows. Returns how much of it was used. */
static size_t feed(struct exchange *e, struct slice input) {
    struct http_head head;
    struct http_event ev;
    size_t used = 0;

    while (takes_input(e)) {
        used += http_conn_feed(&e->conn, slice_drop(input, used), e->eof, &head, &ev);
        switch (ev.kind) {
        case HTTP_EV_HEAD:
            on_head(e, &head);
            break;
        case HTTP_EV_END:
            on_end(e);
            break;
        case HTTP_EV_BAD:
            exchange_refuse(e, http_err_status(ev.why), ev.why);
            break;
        case HTTP_EV_CLOSED:
            exchange_close(e);
            break;
        case HTTP_EV_MORE:
            return used;
        case HTTP_EV_DATA:
        case HTTP_EV_INTERIM:
            break;
        }
    }
    return used;
}

/* --- bytes ------------------------------------------------------------------------------------ */

/* Keeps what was not used, and nothing when there is no such thing. False: out of memory. */
static bool keep(struct exchange *e, struct slice input, size_t used, bool is_own) {
    bool ok = true;

    if (is_own)
        buf_consume(&e->in, used);
    else if (used < input.len)
        ok = buf_append(&e->in, slice_drop(input, used)) == 0;

    if (buf_unread(&e->in).len == 0)
        buf_free(&e->in);
    return ok;
}

/* `input` is the unread part of `in`, or lies in the shared buffer and `in` is empty. */
static void process(struct exchange *e, struct slice input) {
    bool is_own = e->in.data != NULL;

    size_t used = feed(e, input);
    if (e->state == EXCHANGE_CLOSED || e->state == EXCHANGE_LINGER)
        return;
    if (!keep(e, input, used, is_own))
        exchange_close(e);
    else if (e->state == EXCHANGE_IDLE && e->in.data != NULL)
        exchange_enter(e, EXCHANGE_HEAD, after(e, e->reactor->config->header_timeout));
    else if (e->state == EXCHANGE_BODY)
        exchange_enter(e, EXCHANGE_BODY, after(e, SLOWAPI_BODY_IDLE));
}

/* As watch_recv; `*ret` is all that is unread then, earlier bytes included. */
static ssize_t receive(struct exchange *e, struct slice *ret) {
    ssize_t n;

    if (e->in.data == NULL) {
        struct reactor *r = e->reactor;
        n = watch_recv(&e->watch, r->in, sizeof(r->in));
        *ret = slice_of(r->in, n > 0 ? (size_t)n : 0);
        return n;
    }

    int rc = buf_reserve(&e->in, ROOM_BYTES);
    if (rc < 0)
        return rc;
    n = watch_recv(&e->watch, buf_tail(&e->in), buf_room(&e->in));
    if (n > 0)
        buf_added(&e->in, (size_t)n);
    *ret = buf_unread(&e->in);
    return n;
}

/* One system call and what follows from it. False: the socket is dry, or the exchange is closed. */
static bool read_some(struct exchange *e) {
    struct slice input;

    ssize_t n = receive(e, &input);
    if (n == -EAGAIN)
        return false;
    if (n < 0) {
        exchange_close(e);
        return false;
    }
    e->eof = n == 0;
    process(e, input);
    return true;
}

static bool discard_some(struct exchange *e) {
    struct reactor *r = e->reactor;

    ssize_t n = watch_recv(&e->watch, r->in, sizeof(r->in));
    if (n == -EAGAIN)
        return false;
    if (n > 0)
        e->lingered_bytes += (uint32_t)n;
    if (n <= 0 || e->lingered_bytes > SLOWAPI_LINGER_BYTES)
        exchange_close(e);
    return true;
}

void exchange_read(struct exchange *e) {
    if (e->state == EXCHANGE_IDLE && e->in.data != NULL)
        process(e, buf_unread(&e->in));

    for (unsigned i = 0; i < SLOWAPI_READS_PER_TURN; i++) {
        bool more = false;
        if (takes_input(e))
            more = read_some(e);
        else if (e->state == EXCHANGE_LINGER)
            more = discard_some(e);
        if (!more)
            return;
    }
    loop_defer(e->reactor->loop, &e->later);
}
