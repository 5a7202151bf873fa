/* SPDX-License-Identifier: MIT */
/* What the stories of test_io.c and test_io_fiber.c happen to: a connected pair whose other end is
 * played by a thread, and an io to look at it through. */
#ifndef TESTS_NET_IO_RIG_H
#define TESTS_NET_IO_RIG_H

#include "fiber/io.h"
#include "net/socket.h"
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define SOON (5 * NSEC_PER_MSEC)
#define LATE (10 * NSEC_PER_SEC) /* a test that runs into it has failed */

enum { BULK_BYTES = 4 << 20 };

struct rig {
    struct io *io;
    int mine, peer; /* a connected pair; -1 once closed */
    void (*cancel_soon)(struct rig *);
    pthread_t helper;
    void (*helper_action)(struct rig *);
    bool helped;

    struct io_block block;
    struct loop *loop;
    struct fibers *fibers;
    struct io_fiber *io_fiber;
    struct fiber *fiber;
    struct timer cancel_timer;
    void (*story)(struct rig *);
};

static inline nsec_t late(void) {
    return clock_now() + LATE;
}

/* --- the other side: a thread, so that it is the same for both waits ------------------------- */

static inline void *help(void *arg) {
    struct rig *r = arg;
    usleep(SOON / NSEC_PER_USEC);
    r->helper_action(r);
    return NULL;
}

static inline void soon(struct rig *r, void (*action)(struct rig *)) {
    r->helper_action = action;
    r->helped = true;
    assert_int_equal(pthread_create(&r->helper, NULL, help, r), 0);
}

static inline void helper_done(struct rig *r) {
    if (r->helped)
        pthread_join(r->helper, NULL);
    r->helped = false;
}

static inline void peer_says_more(struct rig *r) {
    (void)!write(r->peer, "more", 4);
}

static inline void peer_closes(struct rig *r) {
    close(r->peer);
    r->peer = -1;
}

static inline void peer_closes_its_half(struct rig *r) {
    shutdown(r->peer, SHUT_WR);
}

static inline void peer_resets(struct rig *r) {
    struct linger hard = { .l_onoff = 1, .l_linger = 0 };
    setsockopt(r->peer, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    peer_closes(r);
}

static inline void peer_says_more_and_resets(struct rig *r) {
    peer_says_more(r);
    peer_resets(r);
}

static inline void peer_says_more_and_closes(struct rig *r) {
    peer_says_more(r);
    peer_closes(r);
}

static inline void peer_reads_bulk(struct rig *r) {
    static char sink[65536];
    size_t got = 0;
    while (got < BULK_BYTES) {
        ssize_t n = recv(r->peer, sink, sizeof(sink), 0);
        if (n > 0)
            got += (size_t)n;
        else
            usleep(100);
    }
}

/* Replaces the socket pair by TCP, which knows resets. */
static inline void use_tcp(struct rig *r) {
    struct address at = { .v4 = { .sin_family = AF_INET }, .len = sizeof(at.v4) };
    at.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(listener >= 0);
    assert_int_equal(bind(listener, &at.any, at.len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, &at.any, &at.len), 0);

    close(r->mine);
    close(r->peer);
    bool pending; /* accepting ends that */
    r->mine = socket_connect(&at, &pending);
    assert_true(r->mine >= 0);
    r->peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(r->peer >= 0);
    close(listener);
}

static inline void fill(int fd) {
    static const char zeros[65536];
    while (socket_send(fd, zeros, sizeof(zeros)) > 0)
        ;
}

/* --- the pair and its io ---------------------------------------------------------------------- */

static inline void open_pair(struct rig *r) {
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    r->mine = pair[0];
    r->peer = pair[1];
}

static inline void close_pair(struct rig *r) {
    helper_done(r);
    io_close(r->io, r->mine);
    if (r->peer >= 0)
        close(r->peer);
}

static inline void on_cancel_timer(struct timer *timer) {
    fiber_cancel(CONTAINER_OF(timer, struct rig, cancel_timer)->fiber);
}

static inline void cancel_fiber_soon(struct rig *r) {
    r->cancel_timer.fire = on_cancel_timer;
    assert_int_equal(timer_set(r->loop, &r->cancel_timer, clock_now() + SOON), 0);
}

static inline void run_story(void *arg) {
    struct rig *r = arg;
    r->fiber = fiber_self(r->fibers);
    r->story(r);
    loop_stop(r->loop);
}

static inline void fiber_rig_open(struct rig *r) {
    struct error err;
    r->loop = loop_new(&err);
    assert_non_null(r->loop);
    r->fibers = fibers_new(r->loop, &(struct fiber_config){ 0 }, &err);
    assert_non_null(r->fibers);
    r->io_fiber = io_fiber_new(r->loop, r->fibers, &err);
    assert_non_null(r->io_fiber);
    r->io = io_fiber_io(r->io_fiber);
    r->cancel_soon = cancel_fiber_soon;
    open_pair(r);
}

static inline void fiber_rig_close(struct rig *r) {
    close_pair(r);
    io_fiber_free(r->io_fiber);
    fibers_free(r->fibers);
    loop_free(r->loop);
}

static inline void tell_a_fiber(void **state) {
    struct rig r = { 0 };
    void (*const *story)(struct rig *) = *state;

    fiber_rig_open(&r);
    r.story = *story;
    assert_int_equal(fiber_spawn(r.fibers, "story", run_story, &r), 0);
    assert_int_equal(loop_run(r.loop), 0);
    fiber_rig_close(&r);
}

#endif
