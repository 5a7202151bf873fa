/* SPDX-License-Identifier: MIT */
/* Stops a front, in this order:
 *
 *     front_signal            TERM, INT, QUIT, or the RETIRE of a worker that is replaced
 *     front_leave             waits for --graceful-delay first
 *     front_stop              accepts no more, hurries clients that are silent, waits for the rest
 *     front_retire            the same beside a successor on the same sockets, without hurry
 *     out_of_patience         --graceful-timeout is over: all that is left is cancelled
 *
 * The loop stops when the last client has gone: client_end sees to that. */
#include "server/conn/front_stop.h"
#include "base/log.h"
#include "proc/signals.h"
#include "server/conn/front.h"
#include <signal.h>

static void front_leave(struct front *f);
static void front_stop(struct front *f, nsec_t patience);
static void front_retire(struct front *f);
static void stop_accepting(struct front *f);
static void wait_for_clients(struct front *f, nsec_t patience);
static void delay_over(struct timer *timer);
static void out_of_patience(struct timer *timer);

void front_signal(void *front, int signo) {
    struct front *f = front;

    if (signo == SIGHUP && f->worker->reload != NULL)
        f->worker->reload(f->worker);
    else if (signo == SIGRETIRE)
        front_retire(f);
    else if (signo == SIGTERM && (!f->stopping || f->retiring) && !timer_armed(&f->delay))
        front_leave(f);
    else if (signo == SIGTERM || signo == SIGINT || signo == SIGQUIT)
        front_stop(f, 0);
}

/* Gives load balancers a moment to notice; beside a master, which has done so, none. */
static void front_leave(struct front *f) {
    nsec_t span = worker_delay(f->worker);

    f->delay.fire = delay_over;
    if (span > 0 && !f->stopping &&
        timer_set(f->loop, &f->delay, deadline_after(loop_now(f->loop), span)) == 0)
        worker_leaving(f->worker);
    else
        front_stop(f, f->worker->config->graceful_timeout);
}

static void delay_over(struct timer *timer) {
    struct front *f = CONTAINER_OF(timer, struct front, delay);

    front_stop(f, f->worker->config->graceful_timeout);
}

/* Stops gracefully, at most for `patience` nanoseconds; with 0, at once. Again: shortens it. */
static void front_stop(struct front *f, nsec_t patience) {
    f->retiring = false;
    timer_cancel(f->loop, &f->delay);
    stop_accepting(f);
    front_hurry_silent(f);
    wait_for_clients(f, patience);
}

/* Stops as after TERM, while a successor accepts on the same sockets. */
static void front_retire(struct front *f) {
    if (f->stopping)
        return;
    f->retiring = true;
    stop_accepting(f);
    wait_for_clients(f, f->worker->config->graceful_timeout);
}

/* No new connections, and each answer from here on is its connection's last. Idle connections stay
 * until then: a client that was told that its connection is kept may be sending the next request.
 */
static void stop_accepting(struct front *f) {
    struct client *c;

    balance_close(&f->balance);
    if (!f->stopping)
        worker_stopping(f->worker, f->retiring);
    f->stopping = true;
    TAILQ_FOREACH(c, &f->clients, link) {
        c->session.last = true;
    }
}

static void wait_for_clients(struct front *f, nsec_t patience) {
    nsec_t until = deadline_after(loop_now(f->loop), patience);

    f->patience.fire = out_of_patience;
    if (f->count == 0)
        loop_stop(f->loop);
    else if (patience == 0 || timer_set(f->loop, &f->patience, until) < 0)
        front_abandon(f);
}

static void out_of_patience(struct timer *timer) {
    struct front *f = CONTAINER_OF(timer, struct front, patience);

    if (f->busy + f->waiting > 0)
        log_write(LOG_LEVEL_WARN, "graceful stop takes too long, cancelling requests=%u", f->busy);
    front_abandon(f);
}
