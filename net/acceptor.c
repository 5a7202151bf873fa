/* SPDX-License-Identifier: MIT */
/* Accepts on a loop: in bursts, with pauses, and with a back-off when descriptors or memory are
 * short. */
#include "net/acceptor.h"
#include "base/log.h"
#include "net/listener.h"
#include <errno.h>
#include <string.h>

#define PAUSE_MIN (100 * NSEC_PER_MSEC)
#define PAUSE_MAX (1 * NSEC_PER_SEC)

enum accept_fault {
    ACCEPT_EMPTY,     /* nobody is waiting */
    ACCEPT_NEXT,      /* the connection is gone, the next one may be fine */
    ACCEPT_EXHAUSTED, /* no descriptor or memory: trying again at once would spin */
    ACCEPT_BROKEN,    /* not a listening socket (any more) */
};

static enum accept_fault fault_of(int error) {
    switch (error) {
    case EAGAIN:
        return ACCEPT_EMPTY;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        return ACCEPT_EXHAUSTED;
    case EBADF:
    case EINVAL:
    case ENOTSOCK:
    case EOPNOTSUPP:
        return ACCEPT_BROKEN;
    default: /* EINTR, ECONNABORTED, EPROTO, EPERM, and what accept(2) hands on from the network */
        return ACCEPT_NEXT;
    }
}

static int accept_one(int listen_fd, struct address *peer) {
    peer->len = sizeof(struct sockaddr_un);
    int fd = accept4(listen_fd, &peer->any, &peer->len, SOCK_NONBLOCK | SOCK_CLOEXEC);

    return fd >= 0 ? fd : -errno;
}

static void log_pause(int listen_fd, int error) {
    static struct log_rate rate = { .per_second = 1 };

    log_limited(&rate, LOG_LEVEL_WARN, "accept paused fd=%d error=\"%s\"", listen_fd,
                strerrordesc_np(error));
}

static void acceptor_unregister(struct acceptor *a) {
    if (!a->shared) {
        event_del(&a->event);
        return;
    }
    loop_leave_queue(a->loop, a->fd);
    listener_rouse(a->fd);
}

/* A master that stops shuts the sockets, perhaps before this process knows that it stops: only who
 * is still there after a pause logs that. */
static void acceptor_back_off(struct acceptor *a, int error) {
    if (error != EINVAL || a->pause_span > 0)
        log_pause(a->fd, error);

    a->waits = false;
    a->pause_span = a->pause_span == 0 ? PAUSE_MIN : nsec_min(2 * a->pause_span, PAUSE_MAX);
    int rc = timer_set(a->loop, &a->pause, deadline_after(clock_now(), a->pause_span));
    if (rc == 0) /* without memory even for a timer the next turn tries again */
        acceptor_unregister(a);
}

/* 0 or -errno. */
static int acceptor_register(struct acceptor *a) {
    if (a->shared)
        return loop_enter_queue(a->loop, a->fd);
    errno = 0;
    if (event_add(&a->event, NULL) < 0)
        return errno != 0 ? -errno : -ENOMEM;
    return 0;
}

/* Wants new connections and is not backing off: only then is it registered. What accept(2) was
 * short of, registering may be, too. */
static void acceptor_update(struct acceptor *a) {
    int rc = 0;

    if (!a->running || timer_armed(&a->pause))
        acceptor_unregister(a);
    else
        rc = acceptor_register(a);
    if (rc < 0)
        acceptor_back_off(a, -rc);
}

static void on_pause_over(struct timer *timer) {
    struct acceptor *a = CONTAINER_OF(timer, struct acceptor, pause);

    if (a->waits)
        crowd_waited(a->place, loop_now(a->loop), listener_has_waiting(a->fd));
    a->waits = false;
    acceptor_update(a);
}

/* Leaves what has come to the others for a moment. */
static bool wait_for_others(struct acceptor *a) {
    if (!a->shared || !crowd_is_ahead(a->place, loop_now(a->loop)) ||
        timer_set(a->loop, &a->pause, deadline_after(loop_now(a->loop), CROWD_WAIT_NSEC)) < 0)
        return false;
    a->waits = true;
    acceptor_update(a);
    return true;
}

static void accept_waiting(struct acceptor *a, unsigned burst, bool also_paused) {
    struct address peer;

    for (unsigned i = 0; i < burst && (a->running || also_paused); i++) {
        if (a->may_accept != NULL && !a->may_accept(a))
            return;
        int fd = accept_one(a->fd, &peer);
        if (fd >= 0) {
            a->pause_span = 0;
            a->accepted(a, fd, &peer);
            continue;
        }

        switch (fault_of(-fd)) {
        case ACCEPT_EMPTY:
            return;
        case ACCEPT_NEXT:
            break;
        case ACCEPT_EXHAUSTED:
        case ACCEPT_BROKEN:
            acceptor_back_off(a, -fd);
            return;
        }
    }
}

static void on_acceptable(evutil_socket_t listen_fd UNUSED, short what UNUSED, void *arg) {
    struct acceptor *a = arg;

    if (!wait_for_others(a))
        accept_waiting(a, a->burst, false);
}

int acceptor_open(struct acceptor *a, struct loop *loop, int listen_fd, unsigned burst, bool shared,
                  void (*accepted)(struct acceptor *, int, const struct address *), void *arg) {
    *a = (struct acceptor){
        .loop = loop,
        .pause.fire = on_pause_over,
        .fd = listen_fd,
        .burst = shared || burst == 0 ? 1 : burst,
        .running = true,
        .shared = shared,
        .accepted = accepted,
        .arg = arg,
    };

    if (event_assign(&a->event, loop_base(loop), listen_fd, EV_READ | EV_PERSIST, on_acceptable,
                     a) != 0)
        return -EINVAL;
    if (event_add(&a->event, NULL) < 0)
        return -ENOMEM;

    int rc = shared ? loop_enter_queue(loop, listen_fd) : 0;
    if (rc == -ENOTSUP) /* each new connection wakes everybody */
        a->shared = false;
    return rc == -ENOTSUP ? 0 : rc;
}

void acceptor_pause(struct acceptor *a) {
    if (!a->running)
        return;
    a->running = false;
    acceptor_update(a);
}

void acceptor_resume(struct acceptor *a) {
    if (a->running)
        return;
    a->running = true;
    acceptor_update(a);
}

void acceptor_look_again(struct acceptor *a) {
    if (!a->waits || crowd_is_still_ahead(a->place))
        return;
    timer_cancel(a->loop, &a->pause);
    a->waits = false;
    acceptor_update(a);
}

void acceptor_yield(struct acceptor *a) {
    if (a->shared && a->running && !timer_armed(&a->pause))
        acceptor_update(a);
}

void acceptor_glance(struct acceptor *a, unsigned burst) {
    if (!timer_armed(&a->pause))
        accept_waiting(a, burst, true);
}

void acceptor_close(struct acceptor *a) {
    timer_cancel(a->loop, &a->pause);
    a->waits = false;
    acceptor_pause(a);
    event_del(&a->event);
}
