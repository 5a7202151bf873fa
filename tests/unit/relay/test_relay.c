/* SPDX-License-Identifier: MIT */
/* Relaying between two sockets on a loop, whose other ends the test has in hand. */
#include "base/alloc.h"
#include "net/socket.h"
#include "relay/relay.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE (20 * NSEC_PER_SEC)
#define MS       NSEC_PER_MSEC

struct rig {
    struct loop *loop;
    struct relay relay;
    struct relay_site site;
    struct relay_toxics toxics;
    struct bucket shared[RELAY_WAYS];
    struct relay_counts counts;
    struct watch client, target; /* of the relay */
    struct timer timer;
    int client_fd, target_fd; /* of the test */
    bool is_over;
    enum relay_outcome outcome;
    unsigned resets;
    char room[RELAY_BULK_BYTES];
};

static void on_timer(struct timer *timer) {
    loop_stop(CONTAINER_OF(timer, struct rig, timer)->loop);
}

static void on_over(struct relay *r, enum relay_outcome outcome, unsigned resets) {
    struct rig *rig = CONTAINER_OF(r, struct rig, relay);

    assert_false(rig->is_over);
    rig->is_over = true;
    rig->outcome = outcome;
    rig->resets = resets;
    relay_close(r);
    watch_close(&rig->client);
    watch_close(&rig->target);
    close(rig->client.fd);
    close(rig->target.fd);
}

static void on_client(struct watch *w, unsigned what) {
    relay_notify(&CONTAINER_OF(w, struct rig, client)->relay, w, what);
}

static void on_target(struct watch *w, unsigned what) {
    relay_notify(&CONTAINER_OF(w, struct rig, target)->relay, w, what);
}

static int pair(struct rig *rig, struct watch *w, void (*notify)(struct watch *, unsigned)) {
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(watch_open(w, rig->loop, fds[0], notify), 0);
    return fds[1];
}

/* Ready to be opened. */
static struct rig *rig_new(const char *toxics) {
    struct rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    rig->loop = loop_new(NULL);
    assert_non_null(rig->loop);
    rig->timer.fire = on_timer;
    assert_int_equal(relay_toxics_parse(slice_str(toxics), &rig->toxics, NULL), 0);
    rig->site = (struct relay_site){ .loop = rig->loop,
                                     .toxics = &rig->toxics,
                                     .shared = rig->shared,
                                     .counts = &rig->counts,
                                     .room = rig->room };
    rig->client_fd = pair(rig, &rig->client, on_client);
    rig->target_fd = pair(rig, &rig->target, on_target);
    relay_init(&rig->relay, &rig->site, 1, on_over);
    return rig;
}

static struct rig *rig_open(const char *toxics) {
    struct rig *rig = rig_new(toxics);

    relay_open(&rig->relay, &rig->client, &rig->target);
    return rig;
}

static void rig_free(struct rig *rig) {
    if (!rig->is_over)
        on_over(&rig->relay, RELAY_BY_US, 0);
    close(rig->client_fd);
    close(rig->target_fd);
    timer_cancel(rig->loop, &rig->timer);
    loop_free(rig->loop);
    free(rig);
}

static void run_for(struct rig *rig, nsec_t span) {
    while (timer_set(rig->loop, &rig->timer, clock_now() + span) < 0) /* one allocation fails */
        assert_true(mem_failed());
    assert_int_equal(loop_run(rig->loop), 0);
}

static void say(int fd, const char *text) {
    assert_int_equal(socket_send(fd, text, strlen(text)), strlen(text));
}

/* Runs until `size` bytes have come, or the end of them. How many. */
static size_t hear(struct rig *rig, int fd, char *data, size_t size) {
    nsec_t deadline = clock_now() + PATIENCE;
    size_t len = 0;

    while (len < size && clock_now() < deadline) {
        ssize_t n = socket_recv(fd, data + len, size - len);
        if (n == 0 || (n < 0 && n != -EAGAIN))
            break;
        if (n > 0)
            len += (size_t)n;
        else
            run_for(rig, 1 * MS);
    }
    return len;
}

static void assert_heard(struct rig *rig, int fd, const char *text) {
    char data[256];

    assert_int_equal(hear(rig, fd, data, strlen(text)), strlen(text));
    assert_memory_equal(data, text, strlen(text));
}

static void assert_silent(int fd) {
    char byte;

    assert_int_equal(socket_recv(fd, &byte, 1), -EAGAIN);
}

static void assert_ended(struct rig *rig, int fd) {
    char byte;

    assert_int_equal(hear(rig, fd, &byte, 1), 0);
    assert_int_not_equal(socket_recv(fd, &byte, 1), -EAGAIN);
}

static void await_end(struct rig *rig) {
    nsec_t deadline = clock_now() + PATIENCE;

    while (!rig->is_over && clock_now() < deadline)
        run_for(rig, 1 * MS);
    assert_true(rig->is_over);
}

static uint64_t counted(const struct rig *rig, enum relay_counter counter) {
    return atomic_load(&rig->counts.counters[counter]);
}

static void bytes_and_ends_pass_both_ways(void **state UNUSED) {
    struct rig *rig = rig_new("");

    assert_int_equal(relay_push(&rig->relay, RELAY_UP, SLICE("early, ")), 0);
    relay_open(&rig->relay, &rig->client, &rig->target);
    say(rig->client_fd, "hello");
    assert_heard(rig, rig->target_fd, "early, hello");
    shutdown(rig->client_fd, SHUT_WR);
    assert_ended(rig, rig->target_fd);
    say(rig->target_fd, "answer");
    assert_heard(rig, rig->client_fd, "answer");
    assert_false(rig->is_over);
    shutdown(rig->target_fd, SHUT_WR);
    await_end(rig);
    assert_int_equal(rig->outcome, RELAY_ENDED);
    assert_int_equal(rig->resets, 0);
    assert_int_equal(counted(rig, RELAY_BYTES_UP), 12);
    assert_int_equal(counted(rig, RELAY_BYTES_DOWN), 6);
    assert_int_equal(counted(rig, RELAY_BYTES_DROPPED), 0);
    rig_free(rig);
}

static void a_latency_is_kept_and_so_is_the_order(void **state UNUSED) {
    struct rig *rig = rig_open("latency=0-20ms@up&latency=50ms");
    char wanted[601], got[600];
    nsec_t start = clock_now();

    say(rig->target_fd, "x");
    assert_heard(rig, rig->client_fd, "x");
    assert_true(clock_now() - start >= 50 * MS);
    for (int i = 0; i < 100; i++) {
        snprintf(wanted + 6 * i, 7, "%06d", i);
        say(rig->client_fd, wanted + 6 * i);
        run_for(rig, MS / 4);
    }
    assert_int_equal(hear(rig, rig->target_fd, got, 600), 600);
    assert_memory_equal(got, wanted, 600);
    rig_free(rig);
}

static void a_change_frees_what_waits(void **state UNUSED) {
    struct rig *rig = rig_open("latency=1h@both");

    say(rig->client_fd, "waits");
    run_for(rig, 5 * MS);
    assert_silent(rig->target_fd);
    assert_int_equal(relay_toxics_parse(SLICE("fault=hang-up=1h"), &rig->toxics, NULL), 0);
    relay_change(&rig->relay);
    run_for(rig, 5 * MS);
    assert_silent(rig->target_fd);
    assert_int_equal(relay_toxics_parse(SLICE(""), &rig->toxics, NULL), 0);
    relay_change(&rig->relay);
    assert_heard(rig, rig->target_fd, "waits");
    rig_free(rig);
}

static void a_fault_strikes_after_exactly_its_bytes(void **state UNUSED) {
    struct rig *rig = rig_open("fault=rst@down=7");

    say(rig->target_fd, "0123456789");
    assert_heard(rig, rig->client_fd, "0123456");
    await_end(rig);
    assert_int_equal(rig->outcome, RELAY_BY_FAULT);
    assert_int_equal(rig->resets, RELAY_RESET_BOTH);
    assert_int_equal(counted(rig, RELAY_BYTES_DOWN), 7);
    assert_int_equal(counted(rig, RELAY_BYTES_DROPPED), 3);
    assert_int_equal(atomic_load(&rig->counts.faults[RELAY_RST]), 1);
    rig_free(rig);
}

static void of_faults_at_one_place_those_after_an_end_are_none(void **state UNUSED) {
    static const char *const cases[] = { "fault=rst@down=4,hang@down=4,fin@down=4",
                                         "fault=fin@down=4,rst@down=5,hang@down=5",
                                         "fault=rst@down=4,rst@down=4,fin@time=0" };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rig *rig = rig_open(cases[i]);
        char data[16];
        say(rig->target_fd, "0123456789");
        assert_true(hear(rig, rig->client_fd, data, sizeof(data)) <= 4);
        shutdown(rig->client_fd, SHUT_WR);
        shutdown(rig->target_fd, SHUT_WR);
        await_end(rig);
        assert_int_equal(rig->outcome, RELAY_BY_FAULT);
        rig_free(rig);
    }
}

static void faults_at_several_places_strike_in_turn(void **state UNUSED) {
    struct rig *rig = rig_open("fault=hang-down=30ms@down=3,fin-up@up=2,rst@time=1h");
    char data[16];

    say(rig->client_fd, "abcd");
    assert_int_equal(hear(rig, rig->target_fd, data, sizeof(data)), 2);
    nsec_t start = clock_now();
    say(rig->target_fd, "123456");
    assert_heard(rig, rig->client_fd, "123456");
    assert_true(clock_now() - start >= 30 * MS);
    assert_int_equal(atomic_load(&rig->counts.faults[RELAY_HANG_DOWN]), 1);
    assert_int_equal(atomic_load(&rig->counts.faults[RELAY_FIN_UP]), 1);
    shutdown(rig->target_fd, SHUT_WR);
    shutdown(rig->client_fd, SHUT_WR);
    await_end(rig);
    assert_int_equal(rig->outcome, RELAY_ENDED);
    rig_free(rig);
}

static void a_black_hole_takes_what_comes(void **state UNUSED) {
    struct rig *rig = rig_open("fault=hang@up=2");
    static char block[100000];

    say(rig->client_fd, "abcd");
    assert_heard(rig, rig->target_fd, "ab");
    for (size_t sent = 0; sent < 20 * sizeof(block);) {
        ssize_t n = socket_send(rig->client_fd, block, sizeof(block));
        assert_true(n > 0 || n == -EAGAIN);
        sent += n > 0 ? (size_t)n : 0;
        run_for(rig, MS / 10);
    }
    assert_silent(rig->target_fd);
    shutdown(rig->client_fd, SHUT_WR);
    await_end(rig);
    assert_int_equal(rig->outcome, RELAY_BY_FAULT);
    assert_true(counted(rig, RELAY_BYTES_DROPPED) >= 2 + 20 * sizeof(block));
    rig_free(rig);
}

static void a_sender_waits_when_the_buffer_is_full(void **state UNUSED) {
    struct rig *rig = rig_open("latency=1h@up&buffer=20000");
    static char block[1 << 16];

    for (int i = 0; i < 50; i++) {
        ssize_t n = socket_send(rig->client_fd, block, sizeof(block));
        assert_true(n > 0 || n == -EAGAIN);
        run_for(rig, MS / 10);
    }
    assert_int_equal(rig->relay.lanes[RELAY_UP].held, 20000);
    assert_true(relay_is_busy(&rig->relay));
    rig_free(rig);
}

static void single_bytes_are_held_up_to_a_number(void **state UNUSED) {
    struct rig *rig = rig_open("latency=1h@up");

    for (int i = 0; i < 3 * RELAY_PIECES_MAX; i++) {
        ssize_t n = socket_send(rig->client_fd, "x", 1);
        assert_true(n == 1 || n == -EAGAIN);
        relay_notify(&rig->relay, &rig->client, IO_READ);
        rig->client.ready |= IO_READ;
    }
    assert_true(rig->relay.lanes[RELAY_UP].pieces <= RELAY_PIECES_MAX);
    rig_free(rig);
}

static void bandwidth_is_kept_by_two_that_share(void **state UNUSED) {
    struct rig *rig = rig_open("shared-bandwidth=100k@both&bandwidth=70k@up");
    static char block[30000], got[30000];
    nsec_t start = clock_now();

    assert_int_equal(socket_send(rig->client_fd, block, sizeof(block)), sizeof(block));
    assert_int_equal(hear(rig, rig->target_fd, got, sizeof(got)), sizeof(got));
    /* 30000 bytes at 71680 a second, but for the first portion and what a late timer makes up */
    assert_true(clock_now() - start >= 320 * MS);
    rig_free(rig);
}

static void a_graceful_end_gives_both_sides_a_fin(void **state UNUSED) {
    struct rig *rig = rig_open("");

    say(rig->client_fd, "x");
    assert_heard(rig, rig->target_fd, "x");
    relay_finish(&rig->relay);
    assert_ended(rig, rig->client_fd);
    assert_ended(rig, rig->target_fd);
    shutdown(rig->client_fd, SHUT_WR);
    shutdown(rig->target_fd, SHUT_WR);
    await_end(rig);
    assert_int_equal(rig->outcome, RELAY_BY_US);
    rig_free(rig);
}

static void a_lack_of_memory_ends_the_relay(void **state UNUSED) {
    unsigned ends = 0;

    for (long n = 0;; n++) {
        struct rig *rig = rig_open("latency=1ms@both&slice=2");
        mem_fail_after(n);
        say(rig->client_fd, "hello");
        for (int i = 0; i < 2000 && !rig->is_over && counted(rig, RELAY_BYTES_UP) < 5; i++)
            run_for(rig, MS / 10);
        bool failed = mem_failed();
        mem_fail_after(-1);
        assert_true(rig->is_over ? rig->outcome == RELAY_BY_US : counted(rig, RELAY_BYTES_UP) == 5);
        ends += rig->is_over;
        rig_free(rig);
        if (!failed)
            break;
    }
    assert_true(ends > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_and_ends_pass_both_ways),
        cmocka_unit_test(a_latency_is_kept_and_so_is_the_order),
        cmocka_unit_test(a_change_frees_what_waits),
        cmocka_unit_test(a_fault_strikes_after_exactly_its_bytes),
        cmocka_unit_test(of_faults_at_one_place_those_after_an_end_are_none),
        cmocka_unit_test(faults_at_several_places_strike_in_turn),
        cmocka_unit_test(a_black_hole_takes_what_comes),
        cmocka_unit_test(a_sender_waits_when_the_buffer_is_full),
        cmocka_unit_test(single_bytes_are_held_up_to_a_number),
        cmocka_unit_test(bandwidth_is_kept_by_two_that_share),
        cmocka_unit_test(a_graceful_end_gives_both_sides_a_fin),
        cmocka_unit_test(a_lack_of_memory_ends_the_relay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
