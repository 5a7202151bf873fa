/* SPDX-License-Identifier: MIT */
/* The balance among workers: what one accepts of a backlog, by what it has to do. */
#include "server/conn/balance.h"
#include "server/limits.h"
#include "tests/unit/server/open_fds.h"
#include "tests/unit/server/worker_rig.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

enum { CLIENTS = 3, SLOTS = 4, SOON = -1 };

struct fixture {
    struct balance balance;
    struct serve_config config;
    struct worker_quota quota;
    struct worker worker;
    struct loop *loop;
    struct timer pause;
    int listen_fd, clients[CLIENTS];
    int accepted, fds_before;
};

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof(*f));
    struct sockaddr_un at = { .sun_family = AF_UNIX };

    f->fds_before = open_fds();
    worker_set_up(&f->worker, &f->config, &f->quota, NULL);
    f->config.workers = 2;
    f->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->listen_fd, (struct sockaddr *)&at, sizeof(at.sun_family)), 0);
    assert_int_equal(listen(f->listen_fd, CLIENTS), 0);
    f->worker.listen_fds = &f->listen_fd;
    f->worker.listen_count = 1;
    f->loop = loop_new(NULL);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;

    loop_free(f->loop);
    close(f->listen_fd);
    assert_int_equal(open_fds(), f->fds_before);
    worker_tear_down(&f->worker);
    free(f);
    return 0;
}

static void on_accepted(struct acceptor *a, int fd, const struct address *peer) {
    struct balance *b = a->arg;

    (void)peer;
    CONTAINER_OF(b, struct fixture, balance)->accepted++;
    close(fd);
}

static void on_pause(struct timer *timer) {
    loop_stop(CONTAINER_OF(timer, struct fixture, pause)->loop);
}

static void run_for(struct fixture *f, nsec_t span) {
    f->pause.fire = on_pause;
    assert_int_equal(timer_set(f->loop, &f->pause, clock_now() + span), 0);
    assert_int_equal(loop_run(f->loop), 0);
}

static void connect_clients(struct fixture *f) {
    struct sockaddr_un at;
    socklen_t len = sizeof(at);

    assert_int_equal(getsockname(f->listen_fd, (struct sockaddr *)&at, &len), 0);
    for (int i = 0; i < CLIENTS; i++) {
        f->clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(f->clients[i], (struct sockaddr *)&at, len), 0);
    }
}

/* Three clients come to a worker with four slots, or none to count; `early` of them are accepted at
 * once (SOON: how many depends on when it looks at the backlog first), and `late` when it has
 * looked twice. */
static void a_worker_accepts_what_it_has_slots_for(void **state) {
    static const struct {
        const char *what;
        uint32_t slots, used, expected;
        int64_t workers, max_queue;
        nsec_t queue_timeout;
        bool goes_on;
        int early, late;
    } cases[] = {
        { "idle", SLOTS, 0, 0, 2, -1, 0, false, 3, 3 },
        { "one slot left", SLOTS, 3, 0, 2, -1, 0, false, 3, 3 },
        { "full", SLOTS, 4, 0, 2, -1, 0, false, 0, 0 },
        { "overfull", SLOTS, 9, 0, 2, -1, 0, false, 0, 0 },
        { "about to be full", SLOTS, 2, 2, 2, -1, 0, false, 0, 0 },
        { "full, and its own connections go on", SLOTS, 4, 0, 2, -1, 0, true, SOON, 1 },
        { "not full, and its own connections go on", SLOTS, 3, 0, 2, -1, 0, true, 3, 3 },
        { "full, with a queue of five", SLOTS, 4, 0, 2, 5, 0, false, SOON, 3 },
        { "full, without a queue", SLOTS, 4, 0, 2, 0, 0, false, SOON, 3 },
        { "full, with a queue that ends in time", SLOTS, 4, 0, 2, -1, SPAN, false, SOON, 3 },
        { "full, and alone", SLOTS, 4, 0, 1, -1, 0, false, 3, 3 },
        { "without a master", SLOTS, 4, 0, 0, -1, 0, false, 3, 3 },
        { "without slots to count", 0, 9, 9, 2, -1, 0, false, 3, 3 },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        f->config.workers = cases[i].workers;
        f->config.max_queue = cases[i].max_queue;
        f->config.queue_timeout = cases[i].queue_timeout;
        f->accepted = 0;
        assert_int_equal(
            balance_open(&f->balance, &f->worker, f->loop, cases[i].slots, on_accepted), 0);
        for (uint32_t n = 0; n < cases[i].expected; n++)
            balance_expect(&f->balance);
        balance_use(&f->balance, cases[i].used, cases[i].goes_on);
        connect_clients(f);
        run_for(f, 0); /* one turn */
        run_for(f, 0);
        run_for(f, 0); /* among others it accepts one in a turn */
        if (cases[i].early != SOON && f->accepted != cases[i].early)
            fail_msg("%s: %d accepted at once", cases[i].what, f->accepted);
        run_for(f, 2 * SERVER_RARE_LOOK_NSEC + 20 * NSEC_PER_MSEC);
        if (f->accepted != cases[i].late)
            fail_msg("%s: %d accepted after a while", cases[i].what, f->accepted);
        balance_close(&f->balance);
        for (int k = 0; k < CLIENTS; k++)
            close(f->clients[k]);
        while ((f->clients[0] = accept(f->listen_fd, NULL, NULL)) >= 0)
            close(f->clients[0]);
    }
}

static void a_slot_that_is_free_again_opens_the_door(void **state) {
    struct fixture *f = *state;

    assert_int_equal(balance_open(&f->balance, &f->worker, f->loop, SLOTS, on_accepted), 0);
    balance_use(&f->balance, SLOTS - 1, false);
    balance_expect(&f->balance);
    connect_clients(f);
    run_for(f, NSEC_PER_MSEC);
    assert_int_equal(f->accepted, 0);
    balance_settle(&f->balance); /* no request came */
    run_for(f, NSEC_PER_MSEC);
    assert_int_equal(f->accepted, CLIENTS);
    balance_close(&f->balance);
    for (int k = 0; k < CLIENTS; k++)
        close(f->clients[k]);
}

static void nothing_is_accepted_after_the_close(void **state) {
    struct fixture *f = *state;

    f->config.max_queue = 0;
    assert_int_equal(balance_open(&f->balance, &f->worker, f->loop, SLOTS, on_accepted), 0);
    balance_use(&f->balance, SLOTS, false);
    balance_close(&f->balance);
    balance_use(&f->balance, 0, false);
    connect_clients(f);
    run_for(f, 2 * SERVER_LOOK_NSEC);
    assert_int_equal(f->accepted, 0);
    for (int k = 0; k < CLIENTS; k++)
        close(f->clients[k]);
}

#define BALANCE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        BALANCE_TEST(a_worker_accepts_what_it_has_slots_for),
        BALANCE_TEST(a_slot_that_is_free_again_opens_the_door),
        BALANCE_TEST(nothing_is_accepted_after_the_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
