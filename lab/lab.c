/* SPDX-License-Identifier: MIT */
/* Listens, turns ten times a second, and ends what it has started. */
#include "lab/lab.h"
#include "base/alloc.h"
#include "base/log.h"
#include "lab/web.h"
#include "net/control.h"
#include "net/listener.h"
#include "proc/signals.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TURN_NSEC     (100 * NSEC_PER_MSEC)
#define RESTLESS_NSEC (5 * NSEC_PER_MSEC) /* while a lane starts */

struct lab {
    const struct lab_config *config;
    struct loop *loop;
    struct signals *signals;
    struct timer timer;
    nsec_t turn_at; /* the next full turn */
    int listen_fd;  /* -1: none */
    struct address bound;
    struct lane lanes[LAB_LANES];
    struct lab_web web;
};

static void on_signal(void *arg, int signo UNUSED) {
    const struct lab *lab = arg;
    loop_stop(lab->loop);
}

/* Lanes that nobody looks at take the machine's time for nothing. */
static void rest_if_idle(struct lab *lab, nsec_t now) {
    if (now - lab->web.looked_at < lab->config->idle)
        return;
    for (unsigned i = 0; i < LAB_LANES; i++)
        if (lab->lanes[i].state == LANE_STARTING || lab->lanes[i].state == LANE_RUNNING)
            lane_stop(&lab->lanes[i], "nobody was looking");
}

static void arm(struct lab *lab, nsec_t at) {
    if (timer_set(lab->loop, &lab->timer, at) != 0)
        loop_stop(lab->loop);
}

static void on_timer(struct timer *timer) {
    struct lab *lab = CONTAINER_OF(timer, struct lab, timer);
    nsec_t now = clock_now(), next;
    bool is_restless = false;
    for (unsigned i = 0; i < LAB_LANES; i++) {
        lane_poll(&lab->lanes[i]);
        is_restless = is_restless || lane_is_restless(&lab->lanes[i]);
    }
    if (now >= lab->turn_at) {
        web_tell(&lab->web);
        for (unsigned i = 0; i < LAB_LANES; i++)
            lane_ask(&lab->lanes[i]);
        rest_if_idle(lab, now);
        lab->turn_at = now - lab->turn_at < TURN_NSEC ? lab->turn_at + TURN_NSEC : now + TURN_NSEC;
    }
    next = is_restless ? nsec_min(lab->turn_at, now + RESTLESS_NSEC) : lab->turn_at;
    arm(lab, next);
}

static bool is_loopback(const struct address *at) {
    if (at->any.sa_family == AF_INET)
        return (ntohl(at->v4.sin_addr.s_addr) >> 24) == 127;
    if (at->any.sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&at->v6.sin6_addr);
    return false;
}

static int listen_there(struct lab *lab, struct error *err) {
    char text[ADDRESS_TEXT_BYTES];
    lab->listen_fd = control_listen("ADDR", lab->config->bind, &lab->bound, err);
    if (lab->listen_fd < 0)
        return lab->listen_fd;
    if (!is_loopback(&lab->bound) && !lab->config->allow_remote)
        return error_set(err, -EACCES,
                         "%s is not of this machine alone, and the page starts processes; "
                         "--allow-remote lets others in who have the token",
                         address_format(&lab->bound, text));
    return 0;
}

static int open_lab(struct lab *lab, struct error *err) {
    int rc = listen_there(lab, err);
    lab->loop = rc == 0 ? loop_new(err) : NULL;
    if (rc == 0 && lab->loop == NULL)
        rc = -EIO;
    for (unsigned i = 0; rc == 0 && i < LAB_LANES; i++) {
        rc = lane_init(&lab->lanes[i], lab->loop, lab->config->program);
        if (rc != 0)
            error_set(err, rc, "out of memory");
    }
    if (rc != 0)
        return rc;
    lab->web.lanes = lab->lanes;
    if (lab->config->token != NULL)
        snprintf(lab->web.token, sizeof(lab->web.token), "%s", lab->config->token);
    rc = web_open(&lab->web, lab->loop, lab->listen_fd, err);
    if (rc == 0)
        lab->signals = signals_new(lab->loop, on_signal, lab, err);
    return rc == 0 && lab->signals == NULL ? -EIO : rc;
}

static void say_where(struct lab *lab) {
    char text[ADDRESS_TEXT_BYTES];
    address_format(&lab->bound, text);
    log_say("srv lab: listening on http://%s/\n", text);
    log_say("srv lab: open http://%s/?token=%s\n", text, lab->web.token);
}

static void close_lab(struct lab *lab) {
    web_close(&lab->web);
    for (unsigned i = 0; i < LAB_LANES; i++)
        lane_free(&lab->lanes[i]);
    signals_free(lab->signals);
    if (lab->loop != NULL)
        loop_free(lab->loop);
    if (lab->listen_fd >= 0)
        listener_close(lab->listen_fd, &lab->bound);
}

int lab_run(const struct lab_config *config) {
    struct lab *lab = mem_calloc(1, sizeof(*lab));
    struct error err = { "out of memory" };
    int rc = -ENOMEM;
    if (lab != NULL) {
        lab->config = config;
        lab->listen_fd = -1;
        for (unsigned i = 0; i < LAB_LANES; i++)
            lab->lanes[i].ticks_fd = -1;
        lab->timer.fire = on_timer;
        rc = open_lab(lab, &err);
    }
    if (rc == 0) {
        say_where(lab);
        lab->turn_at = clock_now();
        arm(lab, lab->turn_at);
        rc = loop_run(lab->loop);
        if (rc != 0)
            error_set(&err, rc, "the event loop failed");
    }
    if (lab != NULL)
        close_lab(lab);
    mem_free(lab);
    if (rc != 0)
        fprintf(stderr, "srv lab: %s\n", err.text);
    return rc == 0 ? EXIT_SUCCESS : EXIT_CANNOT;
}
