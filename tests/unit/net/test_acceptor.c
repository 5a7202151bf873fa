/* SPDX-License-Identifier: MIT */
/* Accepting on a loop, over real TCP. */
#include "base/log.h"
#include "net/acceptor.h"
#include "net/listener.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE (20 * NSEC_PER_SEC)
#define CLIENTS  5

struct on_loop {
    struct loop *loop;
    struct acceptor acceptor;
    struct timer timer; /* of the test; also its time-out */
    struct address bound;
    int listen_fd, spare_fd;
    int clients[CLIENTS];
    unsigned accepted, stop_at, pause_at;
    bool timed_out;
};

static void count_accepted(struct acceptor *a, int fd, const struct address *peer) {
    struct on_loop *t = a->arg;

    assert_int_equal(peer->any.sa_family, AF_INET);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
    t->accepted++;
    if (t->accepted == t->pause_at)
        acceptor_pause(a);
    if (t->accepted == t->stop_at)
        loop_stop(t->loop);
}

static void on_time_out(struct timer *timer) {
    struct on_loop *t = CONTAINER_OF(timer, struct on_loop, timer);

    t->timed_out = true;
    loop_stop(t->loop);
}

static void open_on_loop(struct on_loop *t, unsigned burst, bool shared) {
    struct address at = { .v4 = { .sin_family = AF_INET }, .len = sizeof(at.v4) };

    *t = (struct on_loop){ .timer.fire = on_time_out };
    t->loop = loop_new(NULL);
    assert_non_null(t->loop);
    at.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    t->listen_fd = listener_open(&at, 64, &t->bound, NULL);
    assert_true(t->listen_fd >= 0);
    for (int i = 0; i < CLIENTS; i++) {
        t->clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(t->clients[i], &t->bound.any, t->bound.len), 0);
    }
    assert_int_equal(
        acceptor_open(&t->acceptor, t->loop, t->listen_fd, burst, shared, count_accepted, t), 0);
}

static void run_for(struct on_loop *t, nsec_t span) {
    assert_int_equal(timer_set(t->loop, &t->timer, deadline_after(clock_now(), span)), 0);
    assert_int_equal(loop_run(t->loop), 0);
    timer_cancel(t->loop, &t->timer);
}

static void close_on_loop(struct on_loop *t) {
    acceptor_close(&t->acceptor);
    for (int i = 0; i < CLIENTS; i++)
        close(t->clients[i]);
    listener_close(t->listen_fd, &t->bound);
    loop_free(t->loop);
}

static void acceptor_takes_all_in_bursts(void **state) {
    (void)state;
    struct on_loop t;

    open_on_loop(&t, 2, false);
    t.stop_at = CLIENTS;
    run_for(&t, PATIENCE);
    assert_int_equal(t.accepted, CLIENTS);
    assert_false(t.timed_out);
    close_on_loop(&t);
}

static void acceptor_pauses_within_a_burst_and_resumes(void **state) {
    (void)state;
    struct on_loop t;

    open_on_loop(&t, 100, false);
    t.pause_at = 2;
    run_for(&t, 50 * NSEC_PER_MSEC);
    assert_int_equal(t.accepted, 2);

    acceptor_pause(&t.acceptor);
    acceptor_resume(&t.acceptor);
    acceptor_resume(&t.acceptor);
    t.stop_at = CLIENTS;
    run_for(&t, PATIENCE);
    assert_int_equal(t.accepted, CLIENTS);
    close_on_loop(&t);
}

/* --- out of descriptors --------------------------------------------------------------------- */

/* Gives one descriptor back, after a while without any. */
/* One that is ahead of another leaves the queue; it comes back when that is over. */
static void acceptor_waits_only_while_it_is_ahead(void **state) {
    (void)state;
    struct crowd *crowd = crowd_new(2);
    struct crowd_place own, other;
    struct on_loop t;

    assert_non_null(crowd);
    crowd_enter(&own, crowd, 0);
    crowd_enter(&other, crowd, 1);
    for (int i = 0; i < 3; i++)
        crowd_count(&own, 1);
    open_on_loop(&t, 1, true);
    t.acceptor.place = &own;
    t.stop_at = CLIENTS;
    while (!t.acceptor.waits && t.accepted + 1 < CLIENTS) /* a slow machine misses waits */
        run_for(&t, 0);
    acceptor_look_again(&t.acceptor); /* nothing has changed */
    assert_true(t.acceptor.waits);
    crowd_count(&own, -1);
    acceptor_look_again(&t.acceptor);
    assert_false(t.acceptor.waits);
    run_for(&t, PATIENCE);
    assert_int_equal(t.accepted, CLIENTS);
    close_on_loop(&t);
    crowd_free(crowd);
}

static void on_give_back(struct timer *timer) {
    struct on_loop *t = CONTAINER_OF(timer, struct on_loop, timer);

    close(t->spare_fd);
    timer->fire = on_time_out;
    if (timer_set(t->loop, timer, deadline_after(clock_now(), PATIENCE)) != 0)
        loop_stop(t->loop);
}

static nsec_t cpu_time(void) {
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * NSEC_PER_SEC +
           (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * NSEC_PER_USEC;
}

/* From here on no descriptor can be opened until `*ret_spare` is closed. */
static void use_up_descriptors(int *ret_spare) {
    *ret_spare = dup(0);
    struct rlimit limit = { .rlim_cur = (rlim_t)*ret_spare + 1,
                            .rlim_max = (rlim_t)*ret_spare + 1 };
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* 0 when all were accepted, not before the pause, and without spinning. */
static int accept_without_descriptors(void) {
    struct on_loop t;

    open_on_loop(&t, 100, false);
    t.stop_at = CLIENTS;
    log_set_fd(-1);
    use_up_descriptors(&t.spare_fd);
    t.timer.fire = on_give_back;
    nsec_t cpu = cpu_time(), begin = clock_now();
    run_for(&t, 30 * NSEC_PER_MSEC);
    if (t.accepted != CLIENTS || t.timed_out)
        return 1;
    if (clock_now() - begin < 100 * NSEC_PER_MSEC)
        return 2;
    if (cpu_time() - cpu > 60 * NSEC_PER_MSEC)
        return 3;
    close_on_loop(&t);
    return 0;
}

/* --- out of memory for epoll ------------------------------------------------------------------ */

static unsigned failures; /* of what is registered next */

/* In the place of the C library's, which has a limit for all processes of a user only. */
int epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event) {
    if (op == EPOLL_CTL_ADD && failures > 0) {
        failures--;
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, epoll_fd, op, fd, event);
}

static void no_message(int severity, const char *text) {
    (void)severity;
    (void)text;
}

static void acceptor_that_cannot_register_tries_again(void **state) {
    (void)state;
    struct on_loop t;

    open_on_loop(&t, 1, false);
    event_set_log_callback(no_message); /* libevent's own */
    log_set_fd(-1);
    t.stop_at = CLIENTS;
    acceptor_pause(&t.acceptor);
    failures = 2;
    acceptor_resume(&t.acceptor);
    run_for(&t, PATIENCE);
    assert_int_equal(t.accepted, CLIENTS);
    assert_false(t.timed_out);
    assert_int_equal(failures, 0);
    log_set_fd(2);
    event_set_log_callback(NULL);
    close_on_loop(&t);
}

static void assert_child_succeeds(int (*run)(void)) {
    int status;
    pid_t pid = fork();

    if (pid == 0)
        _exit(run());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void acceptor_backs_off_without_descriptors(void **state) {
    (void)state;

    assert_child_succeeds(accept_without_descriptors);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acceptor_takes_all_in_bursts),
        cmocka_unit_test(acceptor_pauses_within_a_burst_and_resumes),
        cmocka_unit_test(acceptor_waits_only_while_it_is_ahead),
        cmocka_unit_test(acceptor_backs_off_without_descriptors),
        cmocka_unit_test(acceptor_that_cannot_register_tries_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
