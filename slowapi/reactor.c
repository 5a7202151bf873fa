/* SPDX-License-Identifier: MIT */
/* Life of one worker: it accepts, drains after TERM, and leaves when nobody waits any more. */
#include "slowapi/reactor.h"
#include "base/alloc.h"
#include "slowapi/control.h"
#include "slowapi/exchange.h"
#include <errno.h>
#include <signal.h>

static void on_accepted(struct acceptor *a, int fd, const struct address *peer) {
    struct reactor *r = a->arg;
    const struct entrance *entrance = CONTAINER_OF(a, struct entrance, acceptor);

    exchange_open(r, fd, (unsigned)(entrance - r->entrances), peer);
    if (r->open_count > 1)
        reactor_yield(r);
}

void reactor_yield(struct reactor *r) {
    for (size_t i = 0; i < r->entrance_count; i++)
        acceptor_yield(&r->entrances[i].acceptor);
}

static void on_resume(struct timer *timer) {
    acceptor_resume(&CONTAINER_OF(timer, struct entrance, resume)->acceptor);
}

static void pause_until(struct entrance *entrance, nsec_t at) {
    struct reactor *r = entrance->acceptor.arg;

    if (timer_set(r->loop, &entrance->resume, at) == 0)
        acceptor_pause(&entrance->acceptor);
}

/* Another worker may have begun a pause of all. */
static bool may_accept(struct acceptor *a) {
    struct reactor *r = a->arg;
    struct entrance *entrance = CONTAINER_OF(a, struct entrance, acceptor);
    nsec_t at = atomic_load(&r->planner.shared->accept_at[entrance - r->entrances]);

    if (at == 0 || at <= clock_now())
        return true;
    pause_until(entrance, at);
    return false;
}

void reactor_pause_accepting(struct reactor *r, unsigned bind, nsec_t span) {
    _Atomic nsec_t *accept_at = &r->planner.shared->accept_at[bind];
    nsec_t at = deadline_after(clock_now(), span), before = atomic_load(accept_at);

    while (before < at && !atomic_compare_exchange_weak(accept_at, &before, at)) {
    }
    pause_until(&r->entrances[bind], nsec_max(before, at));
}

static void stop_accepting(struct reactor *r) {
    for (size_t i = 0; i < r->entrance_count; i++) {
        timer_cancel(r->loop, &r->entrances[i].resume);
        acceptor_close(&r->entrances[i].acceptor);
    }
    r->entrance_count = 0;
    binds_close(r->binds); /* else clients would connect and wait for a service that leaves */
}

static void on_grace_over(struct timer *timer) {
    struct reactor *r = CONTAINER_OF(timer, struct reactor, grace);

    log_write(LOG_LEVEL_WARN, "graceful stop took too long open=%zu", r->open_count);
    loop_stop(r->loop);
}

/* Who retires leaves its idle connections one more request: others serve on, and nobody is to
 * notice. */
static void drain(struct reactor *r, bool retires) {
    nsec_t deadline = deadline_after(loop_now(r->loop), r->config->graceful_timeout);

    r->draining = true;
    r->retiring = retires;
    stop_accepting(r);
    if (!retires)
        exchange_drain_all(r);
    if (r->open_count == 0 || timer_set(r->loop, &r->grace, deadline) < 0)
        loop_stop(r->loop);
}

static void on_signal(void *arg, int signo) {
    struct reactor *r = arg;

    switch (signo) {
    case SIGTERM:
        if (r->draining && !r->retiring)
            loop_stop(r->loop);
        else
            drain(r, false);
        break;
    case SIGINT:
    case SIGQUIT:
        loop_stop(r->loop);
        break;
    case SIGHUP: /* of a worker that has no master */
        rules_reload(r->planner.shared, r->config->rules);
        break;
    default:
        if (signo == SIGRETIRE && !r->draining)
            drain(r, true);
        break;
    }
}

void reactor_left(struct reactor *r) {
    r->open_count--;
    if (r->draining && r->open_count == 0)
        loop_stop(r->loop);
}

/* A process that died leaves no event here: it is looked for. */
static void on_tend(struct timer *timer) {
    struct reactor *r = CONTAINER_OF(timer, struct reactor, tend);
    nsec_t now = loop_now(r->loop);
    nsec_t next = nsec_min(logger_tend(r->access_log, now), deadline_after(now, SLOWAPI_TEND_TIME));

    if (timer_set(r->loop, timer, next) < 0)
        log_write(LOG_LEVEL_ERROR, "nobody looks after the logger error=\"out of memory\"");
}

static int open_entrances(struct reactor *r, struct error *err) {
    for (size_t i = 0; i < r->binds->count; i++) {
        struct entrance *entrance = &r->entrances[i];
        entrance->resume.fire = on_resume;
        int rc = acceptor_open(&entrance->acceptor, r->loop, r->binds->fds[i], SLOWAPI_ACCEPT_BURST,
                               r->config->workers > 1, on_accepted, r);
        if (rc < 0)
            return error_set(err, rc, "cannot accept connections: %s", strerror(-rc));
        entrance->acceptor.may_accept = may_accept;
        r->entrance_count++;
    }
    return 0;
}

static int start(struct reactor *r, const struct reactor_setup *setup, unsigned worker,
                 struct error *err) {
    int rc = planner_init(&r->planner, setup->config, setup->shared, worker, err);
    if (rc < 0)
        return rc;

    r->loop = loop_new(err);
    if (r->loop == NULL)
        return -ENOMEM;

    r->signals = signals_new(r->loop, on_signal, r, err);
    if (r->signals == NULL)
        return -ENOMEM;
    signals_enforce();

    if (buf_reserve(&r->out, SLOWAPI_ANSWER_BYTES) < 0)
        return error_set(err, -ENOMEM, "cannot start: out of memory");

    if (r->access_log != NULL && r->config->workers == 1)
        on_tend(&r->tend);
    if (setup->control_fd >= 0) {
        r->control = slowapi_control_new(r->loop, setup->control_fd, setup->shared,
                                         &setup->config->control_hosts, err);
        if (r->control == NULL)
            return -ENOMEM;
    }
    return open_entrances(r, err);
}

static void stop(struct reactor *r) {
    stop_accepting(r);
    exchange_close_all(r);
    control_free(r->control);
    signals_hold();
    signals_free(r->signals);
    if (r->loop != NULL)
        loop_free(r->loop);
    buf_free(&r->out);
    planner_free(&r->planner);
    mem_free(r);
}

int reactor_run(const struct reactor_setup *setup, unsigned worker, void (*ready)(void),
                struct error *err) {
    struct reactor *r = mem_calloc(1, sizeof(*r));
    if (r == NULL)
        return error_set(err, -ENOMEM, "cannot start: out of memory");

    r->config = setup->config;
    r->binds = setup->binds;
    r->access_log = setup->access_log;
    r->limits = (struct http_limits)HTTP_LIMITS_DEFAULT;
    r->limits.body_bytes = SLOWAPI_BODY_BYTES;
    r->grace.fire = on_grace_over;
    r->tend.fire = on_tend;
    buf_init(&r->out, SLOWAPI_OUT_BYTES);

    int rc = start(r, setup, worker, err);
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
