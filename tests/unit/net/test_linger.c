/* SPDX-License-Identifier: MIT */
/* Lingering close: the end, an error, and each limit, in all three ways of reading. */
#include "net/linger.h"
#include "net/socket.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct rig {
    struct loop *loop;
    struct watch watch;
    struct linger_state linger;
    int mine, peer;
};

static void on_notify(struct watch *w, unsigned what) {
    (void)w;
    (void)what;
}

static int set_up(void **state) {
    struct rig *r = calloc(1, sizeof(*r));
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    r->mine = pair[0];
    r->peer = pair[1];
    r->loop = loop_new(NULL);
    assert_int_equal(watch_open(&r->watch, r->loop, r->mine, on_notify), 0);
    *state = r;
    return 0;
}

static int tear_down(void **state) {
    struct rig *r = *state;

    watch_close(&r->watch);
    loop_free(r->loop);
    close(r->mine);
    if (r->peer >= 0)
        close(r->peer);
    free(r);
    return 0;
}

static void hang_up(struct rig *r) {
    close(r->peer);
    r->peer = -1;
}

/* As many bytes as `count` reads take: 2 KiB each. */
static void send_reads(struct rig *r, unsigned count) {
    static char bytes[(LINGER_BURST + 1) * 2048];

    assert_int_equal(send(r->peer, bytes, count * 2048, MSG_NOSIGNAL), count * 2048);
}

static void the_client_hears_the_end_at_once(void **state) {
    struct rig *r = *state;
    char byte;

    assert_true(linger_begin(&r->linger, r->mine));
    assert_int_equal(recv(r->peer, &byte, 1, 0), 0);
    assert_int_equal(send(r->peer, "x", 1, MSG_NOSIGNAL), 1); /* and may still send */
}

static void a_socket_that_is_not_connected_is_not_lingered_for(void **state) {
    struct rig *r = *state;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_false(linger_begin(&r->linger, fd));
    close(fd);
}

static void what_comes_is_thrown_away_until_the_end(void **state) {
    struct rig *r = *state;

    assert_true(linger_begin(&r->linger, r->mine));
    send_reads(r, 2);
    assert_int_equal(linger_read_fd(&r->linger, r->mine), LINGER_DRY);
    assert_int_equal(r->linger.bytes, 4096);
    send_reads(r, 1);
    assert_int_equal(linger_read(&r->linger, &r->watch), LINGER_DRY);
    assert_int_equal(r->linger.bytes, 6144);
    hang_up(r);
    assert_int_equal(linger_read_fd(&r->linger, r->mine), LINGER_OVER);
}

static void a_watched_socket_ends_too(void **state) {
    struct rig *r = *state;

    assert_true(linger_begin(&r->linger, r->mine));
    hang_up(r);
    assert_int_equal(linger_read(&r->linger, &r->watch), LINGER_OVER);
}

static void one_that_sends_fast_gives_others_their_turn(void **state) {
    struct rig *r = *state;

    for (int watched = 0; watched < 2; watched++) {
        assert_true(linger_begin(&r->linger, r->mine));
        send_reads(r, LINGER_BURST + 1);
        assert_int_equal(watched ? linger_read(&r->linger, &r->watch)
                                 : linger_read_fd(&r->linger, r->mine),
                         LINGER_TIRED);
        assert_int_equal(r->linger.bytes, LINGER_BURST * 2048);
        assert_int_equal(linger_read_fd(&r->linger, r->mine), LINGER_DRY);
    }
}

static void nobody_may_send_for_ever(void **state) {
    struct rig *r = *state;

    r->linger.bytes = LINGER_BYTES_MAX - 2048;
    send_reads(r, 2);
    assert_int_equal(linger_read(&r->linger, &r->watch), LINGER_OVER);
    assert_int_equal(r->linger.bytes, LINGER_BYTES_MAX);
}

struct reader {
    ssize_t last; /* what the read after all others says */
    unsigned reads, reads_max;
};

static ssize_t read_then_last(void *arg, void *data, size_t size) {
    struct reader *r = arg;

    (void)data;
    return r->reads++ < r->reads_max ? (ssize_t)size : r->last;
}

static void a_thread_reads_until_the_end_an_error_or_the_limit(void **state) {
    static const struct {
        ssize_t last;
        unsigned reads_max, reads;
    } cases[] = {
        { 0, 3, 4 },
        { -ECANCELED, 100, 101 },
        { -ETIMEDOUT, 0, 1 },
        { 0, UINT32_MAX, LINGER_BYTES_MAX / 2048 },
    };
    struct rig *r = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reader reader = { .last = cases[i].last, .reads_max = cases[i].reads_max };

        linger_wait(r->mine, read_then_last, &reader);
        assert_int_equal(reader.reads, cases[i].reads);
    }
}

#define LINGER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        LINGER_TEST(the_client_hears_the_end_at_once),
        LINGER_TEST(a_socket_that_is_not_connected_is_not_lingered_for),
        LINGER_TEST(what_comes_is_thrown_away_until_the_end),
        LINGER_TEST(a_watched_socket_ends_too),
        LINGER_TEST(one_that_sends_fast_gives_others_their_turn),
        LINGER_TEST(nobody_may_send_for_ever),
        LINGER_TEST(a_thread_reads_until_the_end_an_error_or_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
