/* SPDX-License-Identifier: MIT */
/* Watches whose bytes go through TLS: readiness and news are about what is within. */
#include "net/tls.h"
#include "net/watch.h"
#include "tests/unit/net/tls_pki.h"
#include <sys/socket.h>
#include <unistd.h>

enum { SIDES_MAX = 40 };

/* A server's side on a loop; the other one is played by hand, on the same thread. */
struct side {
    struct watch watch;
    struct tls *tls;
    int peer_fd;
    struct tls *peer;
    char got[128];
    size_t len, room; /* room: of one receive */
    unsigned notified;
    int last;      /* what the last receive said */
    bool receives; /* once per notify */
    struct rig *rig;
};

struct rig {
    struct loop *loop;
    struct tls_context *client_context, *server_context;
    struct side sides[SIDES_MAX];
    unsigned count;
    struct timer end;
    unsigned steps, steps_max; /* of handshakes, in one turn */
    struct deferred turn_ends;
};

static void on_notify(struct watch *w, unsigned what UNUSED) {
    struct side *s = CONTAINER_OF(w, struct side, watch);

    s->notified++;
    if (!s->receives)
        return;
    ssize_t n = watch_recv(w, s->got + s->len,
                           s->room < sizeof(s->got) - s->len ? s->room : sizeof(s->got) - s->len);
    s->last = (int)n;
    s->len += n > 0 ? (size_t)n : 0;
}

static void on_end(struct timer *timer) {
    loop_stop(CONTAINER_OF(timer, struct rig, end)->loop);
}

static void run_a_little(struct rig *r) {
    assert_int_equal(timer_set(r->loop, &r->end, clock_now() + 2 * NSEC_PER_MSEC), 0);
    assert_int_equal(loop_run(r->loop), 0);
}

static void rig_open_sides(struct rig *r, unsigned count) {
    const struct tls_peer localhost = { .name = "localhost" };
    struct error err;
    *r = (struct rig){ .count = count, .end.fire = on_end };
    r->loop = loop_new(&err);
    assert_non_null(r->loop);
    r->client_context = context_of(client_config(&pki));
    r->server_context = context_of(server_config(&pki.good));
    for (unsigned i = 0; i < count; i++) {
        struct side *s = &r->sides[i];
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
                         0);
        *s = (struct side){ .peer_fd = pair[1], .room = SIZE_MAX, .receives = true, .rig = r };
        assert_int_equal(tls_new(r->server_context, NULL, &s->tls), 0);
        assert_int_equal(tls_new(r->client_context, &localhost, &s->peer), 0);
        tls_attach_socket(s->peer, s->peer_fd);
        assert_int_equal(watch_open(&s->watch, r->loop, pair[0], on_notify), 0);
        s->watch.ready = 0; /* all is news */
        watch_secure(&s->watch, s->tls);
    }
}

static void rig_close_sides(struct rig *r) {
    for (unsigned i = 0; i < r->count; i++) {
        struct side *s = &r->sides[i];
        watch_close(&s->watch);
        close(s->watch.fd);
        tls_free(s->tls);
        if (s->peer_fd >= 0)
            close(s->peer_fd);
        tls_free(s->peer);
    }
    loop_free(r->loop);
    tls_context_unref(r->client_context);
    tls_context_unref(r->server_context);
}

static void shake(struct rig *r, struct side *s) {
    while (!tls_is_open(s->tls) || !tls_is_open(s->peer)) {
        int rc = tls_handshake(s->peer);
        assert_true(rc == 0 || rc == -EAGAIN);
        run_a_little(r);
    }
    s->notified = 0;
}

static void peer_says(struct side *s, const char *text) {
    assert_int_equal(tls_send(s->peer, text, strlen(text)), (ssize_t)strlen(text));
}

static void test_one_receive_for_each_message_is_enough(void **state) {
    struct rig r;
    (void)state;
    rig_open_sides(&r, 1);
    struct side *s = &r.sides[0];
    shake(&r, s);
    for (unsigned i = 1; i <= 3; i++) {
        peer_says(s, "abc");
        run_a_little(&r);
        assert_int_equal(s->notified, i);
        assert_int_equal(s->len, 3 * i);
        assert_int_equal(watch_send(&s->watch, "ok", 2), 2);
    }
    assert_false(s->watch.ready & IO_READ);
    rig_close_sides(&r);
}

static void test_what_stays_within_keeps_the_watch_ready(void **state) {
    struct rig r;
    (void)state;
    rig_open_sides(&r, 1);
    struct side *s = &r.sides[0];
    shake(&r, s);
    s->room = 2;
    peer_says(s, "abcde");
    run_a_little(&r);
    assert_int_equal(s->last, 2);
    assert_true(s->watch.ready & IO_READ);
    assert_true(watch_may_have_data(&s->watch));
    assert_int_equal(watch_recv(&s->watch, s->got, sizeof(s->got)), 3);
    assert_int_equal(watch_recv(&s->watch, s->got, sizeof(s->got)), -EAGAIN);
    assert_false(s->watch.ready & IO_READ);
    rig_close_sides(&r);
}

/* What comes next, like the end, is told then. */
static void test_a_watch_whose_bytes_within_were_read_waits_for_news(void **state) {
    struct rig r;
    (void)state;
    rig_open_sides(&r, 1);
    struct side *s = &r.sides[0];
    shake(&r, s);
    s->room = 2;
    peer_says(s, "abcde");
    run_a_little(&r);
    assert_int_equal(watch_send(&s->watch, "ok", 2), 2); /* the news was no error */
    assert_int_equal(watch_recv(&s->watch, s->got, 3),
                     3); /* no room for more, and no more is there */
    assert_false(s->watch.ready & IO_READ);
    unsigned before = s->notified;
    peer_says(s, "f");
    run_a_little(&r);
    assert_int_equal(s->notified, before + 1);
    rig_close_sides(&r);
}

static void test_many_records_are_read_at_once(void **state) {
    static char bulk[60000], got[sizeof(bulk)];
    struct rig r;
    (void)state;
    rig_open_sides(&r, 1);
    struct side *s = &r.sides[0];
    shake(&r, s);
    s->receives = false;
    assert_int_equal(tls_send(s->peer, bulk, sizeof(bulk)), sizeof(bulk));
    run_a_little(&r);
    assert_int_equal(watch_recv(&s->watch, got, sizeof(got)), sizeof(got));
    rig_close_sides(&r);
}

static void test_an_end_behind_the_last_bytes_is_news(void **state) {
    struct rig r;
    (void)state;
    rig_open_sides(&r, 1);
    struct side *s = &r.sides[0];
    shake(&r, s);
    peer_says(s, "bye");
    assert_int_equal(tls_shutdown(s->peer), 0); /* and the socket stays open */
    run_a_little(&r);
    assert_int_equal(s->len, 3);
    assert_int_equal(s->notified, 2);
    assert_int_equal(s->last, 0);
    assert_true(s->watch.ready & IO_HANGUP);
    rig_close_sides(&r);
}

/* Bytes that were left within do not stand for a socket that was proven alive. */
static void test_a_reset_behind_bytes_that_stayed_within_is_news(void **state) {
    struct rig r;
    char got[4];
    (void)state;
    rig_open_sides(&r, 1);
    struct side *s = &r.sides[0];
    shake(&r, s);
    s->receives = false;
    assert_int_equal(watch_send(&s->watch, "unread", 6), 6); /* so that close(2) is a reset */
    peer_says(s, "abcdef");
    close(s->peer_fd);
    s->peer_fd = -1;
    run_a_little(&r);
    assert_int_equal(watch_recv(&s->watch, got, 3), 3);
    assert_int_equal(watch_recv(&s->watch, got, 3), 3);
    assert_int_equal(watch_recv(&s->watch, got, 3), -ECONNRESET);
    rig_close_sides(&r);
}

static void test_an_end_without_notice_is_a_truncation(void **state) {
    struct rig r;
    (void)state;
    rig_open_sides(&r, 1);
    struct side *s = &r.sides[0];
    shake(&r, s);
    assert_int_equal(shutdown(s->peer_fd, SHUT_WR), 0);
    run_a_little(&r);
    assert_int_equal(s->last, -ENODATA);
    rig_close_sides(&r);
}

static void test_a_handshake_that_waits_for_room_goes_on(void **state) {
    static const char zeros[4096];
    static char sink[1 << 20];
    struct rig r;
    (void)state;
    rig_open_sides(&r, 1);
    struct side *s = &r.sides[0];
    assert_int_equal(tls_handshake(s->peer), -EAGAIN);
    while (send(s->watch.fd, zeros, sizeof(zeros), MSG_NOSIGNAL) > 0)
        ;
    run_a_little(&r);
    assert_int_equal(s->last, -EAGAIN);
    assert_int_equal(tls_awaits(s->tls, IO_READ), IO_WRITE);
    while (recv(s->peer_fd, sink, sizeof(sink), 0) > 0)
        ;
    run_a_little(&r); /* room is news for a reader */
    assert_int_equal(tls_awaits(s->tls, IO_READ), IO_READ);
    shake(&r, s);
    rig_close_sides(&r);
}

/* Counts the steps of handshakes: all that a turn has done is known at its end. */
static void on_turn(void *arg, nsec_t began UNUSED, nsec_t ended UNUSED) {
    struct rig *r = arg;
    unsigned answered = 0;

    for (unsigned i = 0; i < r->count; i++) {
        char byte;
        answered += recv(r->sides[i].peer_fd, &byte, 1, MSG_PEEK) == 1;
    }
    if (answered - r->steps > r->steps_max)
        r->steps_max = answered - r->steps;
    r->steps = answered;
    loop_now(r->loop);
    if (answered == r->count)
        loop_stop(r->loop);
    else
        loop_defer(r->loop, &r->turn_ends);
}

static void look_at_the_clock(struct deferred *work) {
    loop_now(CONTAINER_OF(work, struct rig, turn_ends)->loop);
}

static void test_handshakes_take_turns(void **state) {
    struct rig r;
    (void)state;
    rig_open_sides(&r, SIDES_MAX);
    r.turn_ends.run = look_at_the_clock;
    loop_observe(r.loop, on_turn, &r);
    for (unsigned i = 0; i < r.count; i++)
        assert_int_equal(tls_handshake(r.sides[i].peer), -EAGAIN);
    loop_defer(r.loop, &r.turn_ends);
    assert_int_equal(loop_run(r.loop), 0);
    assert_int_equal(r.steps, SIDES_MAX);
    assert_int_equal(r.steps_max, LOOP_HEAVY_MAX);
    rig_close_sides(&r);
}

/* All of them receive only, until they have something to say. */
static void test_one_that_waited_for_its_turn_can_send(void **state) {
    struct rig r;
    (void)state;
    rig_open_sides(&r, 8);
    for (unsigned i = 0; i < r.count; i++)
        assert_int_equal(tls_handshake(r.sides[i].peer), -EAGAIN);
    run_a_little(&r);
    for (unsigned i = 0; i < r.count; i++) /* what is last for the servers comes at once */
        while (tls_handshake(r.sides[i].peer) == -EAGAIN)
            run_a_little(&r);
    for (unsigned i = 0; i < r.count; i++)
        shake(&r, &r.sides[i]);
    for (unsigned i = 0; i < r.count; i++)
        assert_int_equal(watch_send(&r.sides[i].watch, "x", 1), 1);
    rig_close_sides(&r);
}

static void test_one_that_waits_for_its_turn_may_leave(void **state) {
    struct rig r;
    (void)state;
    rig_open_sides(&r, 8);
    for (unsigned i = 0; i < r.count; i++) {
        struct side *s = &r.sides[i];
        assert_int_equal(tls_handshake(s->peer), -EAGAIN);
        s->last = (int)watch_recv(&s->watch, s->got, sizeof(s->got));
    }
    rig_close_sides(&r); /* while six of them stand in the queue */
}

static void test_a_watch_without_tls_gets_the_bare_bytes(void **state) {
    struct rig r;
    char text[16];
    (void)state;
    rig_open_sides(&r, 1);
    struct side *s = &r.sides[0];
    shake(&r, s);
    watch_secure(&s->watch, NULL);
    s->receives = false;
    peer_says(s, "abc");
    run_a_little(&r);
    assert_int_equal(watch_recv(&s->watch, text, 3), 3);
    assert_memory_equal(text, "\x17\x03\x03", 3); /* a record's head: RFC 8446 section 5.1 */
    rig_close_sides(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_receive_for_each_message_is_enough),
        cmocka_unit_test(test_what_stays_within_keeps_the_watch_ready),
        cmocka_unit_test(test_a_watch_whose_bytes_within_were_read_waits_for_news),
        cmocka_unit_test(test_many_records_are_read_at_once),
        cmocka_unit_test(test_an_end_behind_the_last_bytes_is_news),
        cmocka_unit_test(test_a_reset_behind_bytes_that_stayed_within_is_news),
        cmocka_unit_test(test_an_end_without_notice_is_a_truncation),
        cmocka_unit_test(test_a_handshake_that_waits_for_room_goes_on),
        cmocka_unit_test(test_handshakes_take_turns),
        cmocka_unit_test(test_one_that_waited_for_its_turn_can_send),
        cmocka_unit_test(test_one_that_waits_for_its_turn_may_leave),
        cmocka_unit_test(test_a_watch_without_tls_gets_the_bare_bytes),
    };
    return cmocka_run_group_tests(tests, open_pki, close_pki);
}
