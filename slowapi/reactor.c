/* SPDX-License-Identifier: MIT */
/* Life of one worker: it accepts, drains after TERM, and leaves when nobody waits any more. */
#include "slowapi/reactor.h"
#include "base/alloc.h"
#include "slowapi/exchange.h"
#include <errno.h>
#include <signal.h>

static void on_accepted(struct acceptor *a, int fd, const struct address *peer UNUSED) {
    exchange_open(a->arg, fd);
}

static void stop_accepting(struct reactor *r) {
    for (size_t i = 0; i < r->acceptor_count; i++)
        acceptor_close(&r->acceptors[i]);
    r->acceptor_count = 0;
    binds_close(r->binds); /* else clients would connect and wait for a service that leaves */
}

static void on_grace_over(struct timer *timer) {
    struct reactor *r = CONTAINER_OF(timer, struct reactor, grace);

    log_write(LOG_LEVEL_WARN, "graceful stop took too long open=%zu", r->open_count);
    loop_stop(r->loop);
}

static void drain(struct reactor *r) {
    nsec_t deadline = deadline_after(loop_now(r->loop), r->config->graceful_timeout);

    r->draining = true;
    stop_accepting(r);
    exchange_drain_all(r);
    if (r->open_count == 0 || timer_set(r->loop, &r->grace, deadline) < 0)
        loop_stop(r->loop);
}

static void on_signal(void *arg, int signo) {
    struct reactor *r = arg;

    if (signo == SIGRETIRE)
        signo = SIGTERM; /* the successor has the same sockets */
    switch (signo) {
    case SIGTERM:
        if (r->draining)
            loop_stop(r->loop);
        else
            drain(r);
        break;
    case SIGINT:
    case SIGQUIT:
        loop_stop(r->loop);
        break;
    default: /* HUP, USR1: there is nothing to reload and no log file to reopen */
        break;
    }
}

void reactor_left(struct reactor *r) {
    r->open_count--;
    if (r->draining && r->open_count == 0)
        loop_stop(r->loop);
}

static int start(struct reactor *r, struct error *err) {
    r->loop = loop_new(err);
    if (r->loop == NULL)
        return -ENOMEM;

    r->signals = signals_new(r->loop, on_signal, r, err);
    if (r->signals == NULL)
        return -ENOMEM;

    if (buf_reserve(&r->out, SLOWAPI_ANSWER_BYTES) < 0)
        return error_set(err, -ENOMEM, "cannot start: out of memory");

    for (size_t i = 0; i < r->binds->count; i++) {
        int rc = acceptor_open(&r->acceptors[i], r->loop, r->binds->fds[i], SLOWAPI_ACCEPT_BURST,
                               on_accepted, r);
        if (rc < 0)
            return error_set(err, rc, "cannot accept connections: %s", strerror(-rc));
        r->acceptor_count++;
    }
    return 0;
}

static void stop(struct reactor *r) {
    stop_accepting(r);
    exchange_close_all(r);
    signals_free(r->signals);
    if (r->loop != NULL)
        loop_free(r->loop);
    buf_free(&r->out);
    mem_free(r);
}

int reactor_run(const struct slowapi_config *config, struct binds *binds, void (*ready)(void),
                struct error *err) {
    struct reactor *r = mem_calloc(1, sizeof(*r));
    if (r == NULL)
        return error_set(err, -ENOMEM, "cannot start: out of memory");

    r->config = config;
    r->binds = binds;
    r->limits = (struct http_limits)HTTP_LIMITS_DEFAULT;
    r->limits.body_bytes = SLOWAPI_BODY_BYTES;
    r->grace.fire = on_grace_over;
    buf_init(&r->out, SLOWAPI_ANSWER_BYTES);

    int rc = start(r, err);
    if (rc == 0 && ready != NULL)
        ready();
    if (rc == 0) {
        rc = loop_run(r->loop);
        if (rc < 0)
            error_set(err, rc, "the event loop failed: %s", strerror(-rc));
    }
    stop(r);
    return rc;
}
