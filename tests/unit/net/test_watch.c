/* SPDX-License-Identifier: MIT */
/* Watches: readiness sticks until a call disproves it, and no end of a connection is lost. */
#include "net/socket.h"
#include "net/watch.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct rig {
    struct loop *loop;
    struct watch watch;
    int peer;
    unsigned notified, last_what;
    struct timer end;
    bool close_in_notify;
};

static void on_notify(struct watch *w, unsigned what) {
    struct rig *r = CONTAINER_OF(w, struct rig, watch);

    r->notified++;
    r->last_what = what;
    if (r->close_in_notify)
        watch_close(w);
}

static void on_end(struct timer *timer) {
    loop_stop(CONTAINER_OF(timer, struct rig, end)->loop);
}

static void run_a_little(struct rig *r) {
    assert_int_equal(timer_set(r->loop, &r->end, clock_now() + 2 * NSEC_PER_MSEC), 0);
    assert_int_equal(loop_run(r->loop), 0);
}

static void rig_watch(struct rig *r, int mine, int peer) {
    struct error err;
    *r = (struct rig){ .peer = peer, .end.fire = on_end };
    r->loop = loop_new(&err);
    assert_non_null(r->loop);
    assert_int_equal(watch_open(&r->watch, r->loop, mine, on_notify), 0);
}

static void rig_open(struct rig *r) {
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    rig_watch(r, pair[0], pair[1]);
}

static void rig_open_tcp(struct rig *r) {
    struct address at = { .v4 = { .sin_family = AF_INET }, .len = sizeof(at.v4) };
    bool pending;
    at.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, &at.any, at.len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, &at.any, &at.len), 0);
    int mine = socket_connect(&at, &pending);
    int peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    close(listener);
    rig_watch(r, mine, peer);
}

static void rig_close(struct rig *r) {
    if (!r->close_in_notify)
        watch_close(&r->watch);
    close(r->watch.fd);
    if (r->peer >= 0)
        close(r->peer);
    loop_free(r->loop);
}

static void say(struct rig *r, const char *text) {
    assert_int_equal(socket_send(r->peer, text, strlen(text)), (ssize_t)strlen(text));
}

static void reset(struct rig *r) {
    struct linger hard = { .l_onoff = 1, .l_linger = 0 };
    setsockopt(r->peer, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    close(r->peer);
    r->peer = -1;
}

static void test_a_fresh_watch_is_ready_and_silent(void **state) {
    struct rig r;
    (void)state;
    rig_open(&r);
    assert_int_equal(r.watch.ready, IO_READ | IO_WRITE);
    run_a_little(&r);
    assert_int_equal(r.notified, 0); /* the kernel says "writable", which is no news */
    rig_close(&r);
}

static void test_cleared_bits_are_told(void **state) {
    struct rig r;
    (void)state;
    rig_open(&r);
    r.watch.ready = 0;
    run_a_little(&r);
    assert_int_equal(r.notified, 1);
    assert_int_equal(r.last_what, IO_WRITE);
    rig_close(&r);
}

static void test_a_read_that_says_again_waits_for_an_event(void **state) {
    struct rig r;
    char text[16];
    (void)state;
    rig_open(&r);
    assert_int_equal(watch_recv(&r.watch, text, sizeof(text)), -EAGAIN);
    say(&r, "abc");
    assert_int_equal(watch_recv(&r.watch, text, sizeof(text)), -EAGAIN); /* no system call */
    run_a_little(&r);
    assert_int_equal(r.last_what, IO_READ);
    assert_int_equal(watch_recv(&r.watch, text, 2), 2);
    assert_int_equal(watch_recv(&r.watch, text, 2), 1);
    rig_close(&r);
}

static void test_every_message_is_told_after_a_short_read(void **state) {
    struct rig r;
    char text[16];
    (void)state;
    rig_open(&r);
    assert_int_equal(watch_recv(&r.watch, text, sizeof(text)), -EAGAIN);
    for (unsigned i = 1; i <= 3; i++) {
        say(&r, "abc");
        run_a_little(&r);
        assert_int_equal(r.notified, i);
        assert_int_equal(watch_recv(&r.watch, text, sizeof(text)), 3);
    }
    rig_close(&r);
}

static void test_a_send_settles_what_a_short_read_left_open(void **state) {
    struct rig r;
    char text[16];
    (void)state;
    rig_open(&r);
    assert_int_equal(watch_recv(&r.watch, text, sizeof(text)), -EAGAIN);
    say(&r, "abc");
    run_a_little(&r);
    assert_int_equal(watch_recv(&r.watch, text, sizeof(text)), 3);
    assert_true(r.watch.ready & IO_READ); /* an error could hide behind the event */
    assert_false(watch_may_have_data(&r.watch));
    assert_int_equal(watch_send(&r.watch, "x", 1), 1);
    assert_false(r.watch.ready & IO_READ);
    rig_close(&r);
}

static void test_a_full_socket_is_told_when_there_is_room(void **state) {
    static char bulk[65536];
    struct rig r;
    (void)state;
    rig_open(&r);
    ssize_t n;
    do
        n = watch_send(&r.watch, bulk, sizeof(bulk));
    while (n > 0);
    assert_int_equal(n, -EAGAIN);
    assert_false(r.watch.ready & IO_WRITE);
    while (socket_recv(r.peer, bulk, sizeof(bulk)) > 0)
        ;
    run_a_little(&r);
    assert_true(r.last_what & IO_WRITE);
    assert_int_equal(watch_send(&r.watch, "x", 1), 1);
    rig_close(&r);
}

static void test_a_half_close_keeps_read_set_until_the_end_is_read(void **state) {
    struct rig r;
    char text[16];
    (void)state;
    rig_open_tcp(&r);
    assert_int_equal(watch_recv(&r.watch, text, sizeof(text)), -EAGAIN);
    say(&r, "abc");
    shutdown(r.peer, SHUT_WR);
    run_a_little(&r);
    assert_true(r.watch.ready & IO_HANGUP);
    assert_int_equal(watch_recv(&r.watch, text, sizeof(text)), 3);
    assert_int_equal(watch_recv(&r.watch, text, sizeof(text)), 0);
    assert_int_equal(watch_send(&r.watch, "x", 1), 1); /* the other half still works */
    rig_close(&r);
}

static void test_a_reset_behind_the_last_bytes_is_not_lost(void **state) {
    struct rig r;
    char text[16];
    (void)state;
    rig_open_tcp(&r);
    assert_int_equal(watch_recv(&r.watch, text, sizeof(text)), -EAGAIN);
    say(&r, "abc");
    reset(&r);
    run_a_little(&r);
    assert_int_equal(r.notified, 1);
    assert_int_equal(watch_recv(&r.watch, text, sizeof(text)), 3);
    assert_int_equal(watch_recv(&r.watch, text, sizeof(text)), -ECONNRESET);
    assert_true(r.watch.ready & IO_HANGUP);
    rig_close(&r);
}

static void test_a_reset_after_a_half_close_is_told(void **state) {
    struct rig r;
    char text[16];
    (void)state;
    rig_open_tcp(&r);
    assert_int_equal(watch_recv(&r.watch, text, sizeof(text)), -EAGAIN);
    say(&r, "abc");
    shutdown(r.peer, SHUT_WR);
    run_a_little(&r);
    assert_int_equal(r.notified, 1);
    assert_true(r.last_what & IO_HANGUP);
    assert_int_equal(watch_send(&r.watch, "x", 1), 1);
    run_a_little(&r);
    assert_int_equal(r.notified, 1); /* it still listens, and that is no news */
    reset(&r);
    run_a_little(&r);
    assert_int_equal(r.notified, 2);
    assert_true(r.last_what & IO_HANGUP);
    rig_close(&r);
}

static void test_a_send_to_who_closed_for_good_is_told(void **state) {
    struct rig r;
    (void)state;
    rig_open_tcp(&r);
    close(r.peer);
    r.peer = -1;
    run_a_little(&r);
    assert_int_equal(r.notified, 1);
    assert_int_equal(watch_send(&r.watch, "x", 1), 1); /* looks like a half-close until now */
    run_a_little(&r);
    assert_int_equal(r.notified, 2);
    assert_true(r.last_what & IO_HANGUP);
    rig_close(&r);
}

static void test_a_reset_is_told_and_fails_a_send(void **state) {
    struct rig r;
    char text[16];
    (void)state;
    rig_open_tcp(&r);
    assert_int_equal(watch_recv(&r.watch, text, sizeof(text)), -EAGAIN);
    reset(&r);
    run_a_little(&r);
    assert_true(r.last_what & IO_READ);
    ssize_t n = watch_send(&r.watch, "x", 1);
    assert_true(n == -ECONNRESET || n == -EPIPE);
    assert_true(r.watch.ready & IO_HANGUP);
    rig_close(&r);
}

static unsigned packets_of_peer(const struct rig *r) {
    struct tcp_info info;
    socklen_t size = sizeof(info);

    assert_int_equal(getsockopt(r->peer, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    return info.tcpi_segs_in;
}

static void test_the_last_bytes_and_the_end_are_one_packet(void **state) {
    (void)state;
    struct rig r;
    char text[8];
    ssize_t n;

    rig_open_tcp(&r);
    unsigned before = packets_of_peer(&r);
    assert_int_equal(watch_send_last(&r.watch, "last", 4), 4);
    while ((n = socket_recv(r.peer, text, sizeof(text))) == -EAGAIN)
        continue;
    assert_int_equal(n, 4);
    assert_int_equal(socket_recv(r.peer, text, sizeof(text)), 0);
    assert_int_equal(packets_of_peer(&r) - before, 1);

    say(&r, "late"); /* the other way is open */
    while ((n = watch_recv(&r.watch, text, sizeof(text))) == -EAGAIN)
        run_a_little(&r);
    assert_int_equal(n, 4);
    rig_close(&r);
}

static void test_last_bytes_that_do_not_fit_leave_the_end_to_the_rest(void **state) {
    (void)state;
    struct rig r;
    static char many[8 << 20], got[65536];
    ssize_t n, sent;
    size_t all = 0;

    rig_open_tcp(&r);
    sent = watch_send_last(&r.watch, many, sizeof(many));
    assert_in_range(sent, 1, sizeof(many) - 1);
    assert_false(r.watch.ready & IO_WRITE);
    while (all < (size_t)sent) { /* the rest of a packet may wait for 200 ms */
        n = socket_recv(r.peer, got, sizeof(got));
        assert_true(n > 0 || n == -EAGAIN);
        all += n > 0 ? (size_t)n : 0;
    }
    while ((n = watch_send_last(&r.watch, "rest", 4)) == -EAGAIN)
        run_a_little(&r);
    assert_int_equal(n, 4);
    while ((n = socket_recv(r.peer, got, sizeof(got))) == -EAGAIN)
        continue;
    assert_int_equal(n, 4);
    assert_int_equal(socket_recv(r.peer, got, sizeof(got)), 0);
    rig_close(&r);
}

static void test_a_watch_may_close_itself_in_notify(void **state) {
    struct rig r;
    char text[16];
    (void)state;
    rig_open(&r);
    r.close_in_notify = true;
    assert_int_equal(watch_recv(&r.watch, text, sizeof(text)), -EAGAIN);
    say(&r, "abc");
    run_a_little(&r);
    say(&r, "abc");
    run_a_little(&r);
    assert_int_equal(r.notified, 1);
    rig_close(&r);
}

static void test_a_refused_connect_is_told(void **state) {
    struct address at = { .v4 = { .sin_family = AF_INET }, .len = sizeof(at.v4) };
    struct rig r;
    bool pending;
    (void)state;
    at.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int bound = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(bound, &at.any, at.len), 0); /* a port that is ours and does not listen */
    assert_int_equal(getsockname(bound, &at.any, &at.len), 0);

    int fd = socket_connect(&at, &pending);
    assert_true(fd >= 0);
    rig_watch(&r, fd, bound);
    r.watch.ready = 0;
    run_a_little(&r);
    assert_true(r.watch.ready & IO_WRITE);
    assert_int_equal(socket_error(fd), -ECONNREFUSED);
    rig_close(&r);
}

static void test_a_file_cannot_be_watched(void **state) {
    struct error err;
    struct watch w;
    (void)state;
    struct loop *loop = loop_new(&err);
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(watch_open(&w, loop, fd, on_notify), -EPERM);
    close(fd);
    loop_free(loop);
}

/* A buffer is owned only while something is unfinished. */
static void test_bytes_go_behind_those_that_were_kept(void **state) {
    char shared[8];
    struct slice input;
    struct buf kept;
    struct rig r;
    (void)state;
    rig_open(&r);
    buf_init(&kept, 64);
    assert_int_equal(write(r.peer, "abc", 3), 3);
    assert_int_equal(watch_recv_behind(&r.watch, &kept, 16, shared, sizeof(shared), &input), 3);
    assert_ptr_equal(input.ptr, shared);
    assert_true(slice_eq(input, SLICE("abc")));
    assert_int_equal(buf_keep(&kept, input, 1), 0);
    assert_int_equal(write(r.peer, "def", 3), 3);
    run_a_little(&r);
    assert_int_equal(watch_recv_behind(&r.watch, &kept, 16, shared, sizeof(shared), &input), 3);
    assert_true(slice_eq(input, SLICE("bcdef")));
    assert_int_equal(watch_recv_behind(&r.watch, &kept, 65, shared, sizeof(shared), &input),
                     -ENOBUFS);
    buf_free(&kept);
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_fresh_watch_is_ready_and_silent),
        cmocka_unit_test(test_cleared_bits_are_told),
        cmocka_unit_test(test_a_read_that_says_again_waits_for_an_event),
        cmocka_unit_test(test_every_message_is_told_after_a_short_read),
        cmocka_unit_test(test_a_send_settles_what_a_short_read_left_open),
        cmocka_unit_test(test_a_full_socket_is_told_when_there_is_room),
        cmocka_unit_test(test_a_half_close_keeps_read_set_until_the_end_is_read),
        cmocka_unit_test(test_a_reset_behind_the_last_bytes_is_not_lost),
        cmocka_unit_test(test_a_reset_after_a_half_close_is_told),
        cmocka_unit_test(test_a_send_to_who_closed_for_good_is_told),
        cmocka_unit_test(test_a_reset_is_told_and_fails_a_send),
        cmocka_unit_test(test_the_last_bytes_and_the_end_are_one_packet),
        cmocka_unit_test(test_last_bytes_that_do_not_fit_leave_the_end_to_the_rest),
        cmocka_unit_test(test_a_watch_may_close_itself_in_notify),
        cmocka_unit_test(test_a_refused_connect_is_told),
        cmocka_unit_test(test_a_file_cannot_be_watched),
        cmocka_unit_test(test_bytes_go_behind_those_that_were_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
