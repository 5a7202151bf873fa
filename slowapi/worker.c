/* SPDX-License-Identifier: MIT */
/* Life of a worker: it accepts, drains after TERM, and leaves when nobody waits any more. */
#include "slowapi/worker.h"
#include "base/alloc.h"
#include "slowapi/exchange.h"
#include <errno.h>
#include <signal.h>

static void on_accepted(struct acceptor *a, int fd, const struct address *peer UNUSED) {
    exchange_open(a->arg, fd);
}

static void stop_accepting(struct worker *w) {
    for (size_t i = 0; i < w->acceptor_count; i++)
        acceptor_close(&w->acceptors[i]);
    w->acceptor_count = 0;
}

static void on_grace_over(struct timer *timer) {
    struct worker *w = CONTAINER_OF(timer, struct worker, grace);

    log_write(LOG_LEVEL_WARN, "graceful stop took too long open=%zu", w->open_count);
    loop_stop(w->loop);
}

static void drain(struct worker *w) {
    nsec_t deadline = deadline_after(loop_now(w->loop), w->config->graceful_timeout);

    w->draining = true;
    stop_accepting(w);
    exchange_drain_all(w);
    if (w->open_count == 0 || timer_set(w->loop, &w->grace, deadline) < 0)
        loop_stop(w->loop);
}

static void on_signal(void *arg, int signo) {
    struct worker *w = arg;

    switch (signo) {
    case SIGTERM:
        if (w->draining)
            loop_stop(w->loop);
        else
            drain(w);
        break;
    case SIGINT:
    case SIGQUIT:
        loop_stop(w->loop);
        break;
    default: /* HUP, USR1: there is nothing to reload and no log file to reopen */
        break;
    }
}

void worker_left(struct worker *w) {
    w->open_count--;
    if (w->draining && w->open_count == 0)
        loop_stop(w->loop);
}

static int start(struct worker *w, const int *listen_fds, size_t count, struct error *err) {
    w->loop = loop_new(err);
    if (w->loop == NULL)
        return -ENOMEM;

    w->signals = signals_new(w->loop, on_signal, w, err);
    if (w->signals == NULL)
        return -ENOMEM;

    if (buf_reserve(&w->out, SLOWAPI_ANSWER_BYTES) < 0)
        return error_set(err, -ENOMEM, "cannot start: out of memory");

    for (size_t i = 0; i < count; i++) {
        int rc = acceptor_open(&w->acceptors[i], w->loop, listen_fds[i], SLOWAPI_ACCEPT_BURST,
                               on_accepted, w);
        if (rc < 0)
            return error_set(err, rc, "cannot accept connections: %s", strerror(-rc));
        w->acceptor_count++;
    }
    return 0;
}

static void stop(struct worker *w) {
    stop_accepting(w);
    exchange_close_all(w);
    signals_free(w->signals);
    if (w->loop != NULL)
        loop_free(w->loop);
    buf_free(&w->out);
    mem_free(w);
}

int worker_run(const struct slowapi_config *config, const int *listen_fds, size_t count,
               void (*ready)(void), struct error *err) {
    struct worker *w = mem_calloc(1, sizeof(*w));
    if (w == NULL)
        return error_set(err, -ENOMEM, "cannot start: out of memory");

    w->config = config;
    w->limits = (struct http_limits)HTTP_LIMITS_DEFAULT;
    w->limits.body_bytes = SLOWAPI_BODY_BYTES;
    w->grace.fire = on_grace_over;
    buf_init(&w->out, SLOWAPI_ANSWER_BYTES);

    int rc = start(w, listen_fds, count, err);
    if (rc == 0 && ready != NULL)
        ready();
    if (rc == 0) {
        rc = loop_run(w->loop);
        if (rc < 0)
            error_set(err, rc, "the event loop failed: %s", strerror(-rc));
    }
    stop(w);
    return rc;
}
