/* SPDX-License-Identifier: MIT */
/* Listening sockets and accepting, over real TCP and unix sockets. */
#include "net/listener.h"

#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE (20 * NSEC_PER_SEC)
#define CLIENTS  5

static struct address parse(const char *text) {
    struct endpoint e;
    struct address a;

    assert_int_equal(endpoint_parse(slice_str(text), 0, &e, NULL), 0);
    assert_int_equal(address_of_endpoint(&e, false, &a), 0);
    return a;
}

static int open_tcp(struct address *ret_bound) {
    struct address at = parse("127.0.0.1:0");
    struct error err = { "" };

    int fd = listener_open(&at, 64, ret_bound, &err);
    if (fd < 0)
        fail_msg("%s", err.text);
    return fd;
}

static int connect_to(const struct address *to) {
    int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, &to->any, to->len), 0);
    return fd;
}

static int option_of(int fd, int level, int name) {
    int value = -1;
    socklen_t len = sizeof(value);

    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static void assert_flags(int fd) {
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

/* Of a connection that is already there. */
static int accept_now(int listen_fd, struct address *peer) {
    peer->len = sizeof(*peer) - sizeof(peer->len);
    return accept4(listen_fd, &peer->any, &peer->len, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static void port_0_is_resolved_and_options_are_set(void **state) {
    (void)state;
    struct address bound, peer;

    int listen_fd = open_tcp(&bound);
    assert_int_not_equal(address_port(&bound), 0);
    assert_flags(listen_fd);
    assert_int_equal(option_of(listen_fd, SOL_SOCKET, SO_REUSEADDR), 1);

    int client = connect_to(&bound);
    int fd = accept_now(listen_fd, &peer);
    assert_true(fd >= 0);
    assert_flags(fd);
    assert_int_not_equal(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 0);
    assert_int_equal(peer.any.sa_family, AF_INET);
    assert_int_not_equal(address_port(&peer), 0);
    close(fd);
    close(client);
    listener_close(listen_fd, &bound);
}

static void busy_port_is_named(void **state) {
    (void)state;
    struct address bound, again;
    struct error err;
    char text[ADDRESS_TEXT_BYTES], words[200];

    int listen_fd = open_tcp(&bound);
    assert_int_equal(listener_open(&bound, 64, &again, &err), -EADDRINUSE);
    snprintf(words, sizeof(words), "cannot listen on %s: Address already in use",
             address_format(&bound, text));
    assert_string_equal(err.text, words);
    listener_close(listen_fd, &bound);
}

static void v6_leaves_v4_alone(void **state) {
    (void)state;
    struct address at = parse("[::1]:0"), bound;
    struct error err;

    int fd = listener_open(&at, 64, &bound, &err);
    if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)
        skip(); /* no IPv6 here */
    assert_true(fd >= 0);
    assert_int_equal(option_of(fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
    assert_int_not_equal(address_port(&bound), 0);
    listener_close(fd, &bound);
}

static void capped_backlog_is_logged(void **state) {
    (void)state;
    struct address at = parse("127.0.0.1:0"), bound;
    char text[512] = "";
    int cap = listener_backlog_cap(), log_fd = memfd_create("log", MFD_CLOEXEC);

    assert_true(cap > 0);
    log_set_fd(log_fd);
    int fd = listener_open(&at, cap, &bound, NULL);
    listener_close(fd, &bound);
    assert_int_equal(pread(log_fd, text, sizeof(text) - 1, 0), 0);
    fd = listener_open(&at, cap + 1, &bound, NULL);
    listener_close(fd, &bound);
    log_set_fd(2);
    assert_true(pread(log_fd, text, sizeof(text) - 1, 0) > 0);
    assert_non_null(strstr(text, "somaxconn"));
    close(log_fd);
}

/* --- unix ----------------------------------------------------------------------------------- */

struct unix_fixture {
    char dir[64];
    struct address at;
};

static int set_up_unix(void **state) {
    static struct unix_fixture f;
    char text[100];

    snprintf(f.dir, sizeof(f.dir), "/tmp/test_listener.XXXXXX");
    if (mkdtemp(f.dir) == NULL)
        return -1;
    snprintf(text, sizeof(text), "unix:%s/s", f.dir);
    f.at = parse(text);
    *state = &f;
    return 0;
}

static int tear_down_unix(void **state) {
    struct unix_fixture *f = *state;

    unlink(f->at.local.sun_path);
    return rmdir(f->dir);
}

static bool path_exists(const struct unix_fixture *f) {
    struct stat st;

    return lstat(f->at.local.sun_path, &st) == 0;
}

static void closing_removes_the_socket_file(void **state) {
    struct unix_fixture *f = *state;
    struct address bound, peer;

    int listen_fd = listener_open(&f->at, 8, &bound, NULL);
    assert_true(listen_fd >= 0);
    assert_string_equal(bound.local.sun_path, f->at.local.sun_path);
    int client = connect_to(&bound);
    int fd = accept_now(listen_fd, &peer);
    assert_true(fd >= 0);
    close(fd);
    close(client);
    listener_close(listen_fd, &bound);
    assert_false(path_exists(f));
}

static void stale_socket_file_is_replaced(void **state) {
    struct unix_fixture *f = *state;
    struct address bound;

    close(listener_open(&f->at, 8, &bound, NULL)); /* as a killed process leaves it */
    assert_true(path_exists(f));
    int listen_fd = listener_open(&f->at, 8, &bound, NULL);
    assert_true(listen_fd >= 0);
    close(connect_to(&bound));
    listener_close(listen_fd, &bound);
}

static void live_socket_file_is_refused(void **state) {
    struct unix_fixture *f = *state;
    struct address bound, other;
    struct error err;

    int listen_fd = listener_open(&f->at, 1, &bound, NULL);
    assert_true(listen_fd >= 0);
    for (int i = 0; i < 4; i++) /* with a full backlog, too */
        assert_int_equal(listener_open(&f->at, 1, &other, &err), -EADDRINUSE);
    assert_non_null(strstr(err.text, "somebody is listening"));
    listener_close(listen_fd, &bound);
}

static void another_file_is_left_alone(void **state) {
    struct unix_fixture *f = *state;
    struct address bound;
    struct error err;

    close(open(f->at.local.sun_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_int_equal(listener_open(&f->at, 8, &bound, &err), -EADDRINUSE);
    assert_non_null(strstr(err.text, "not a socket"));
    assert_true(path_exists(f));
}

static void successors_file_is_left_alone(void **state) {
    struct unix_fixture *f = *state;
    struct address bound, next;

    int old_fd = listener_open(&f->at, 8, &bound, NULL);
    unlink(f->at.local.sun_path);
    int next_fd = listener_open(&f->at, 8, &next, NULL);
    assert_true(old_fd >= 0 && next_fd >= 0);
    listener_close(old_fd, &bound);
    assert_true(path_exists(f));
    listener_close(next_fd, &next);
    assert_false(path_exists(f));
}

static void missing_folder_is_named(void **state) {
    (void)state;
    struct address at = parse("unix:/tmp/test_listener.nowhere/s"), bound;
    struct error err;

    assert_int_equal(listener_open(&at, 8, &bound, &err), -ENOENT);
    assert_string_equal(err.text, "cannot listen on unix:/tmp/test_listener.nowhere/s: "
                                  "No such file or directory");
}

/* --- on a loop ------------------------------------------------------------------------------ */

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
    assert_flags(fd);
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

static void open_on_loop(struct on_loop *t, unsigned burst) {
    *t = (struct on_loop){ .timer.fire = on_time_out };
    t->loop = loop_new(NULL);
    assert_non_null(t->loop);
    t->listen_fd = open_tcp(&t->bound);
    for (int i = 0; i < CLIENTS; i++)
        t->clients[i] = connect_to(&t->bound);
    assert_int_equal(acceptor_open(&t->acceptor, t->loop, t->listen_fd, burst, count_accepted, t),
                     0);
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

    open_on_loop(&t, 2);
    t.stop_at = CLIENTS;
    run_for(&t, PATIENCE);
    assert_int_equal(t.accepted, CLIENTS);
    assert_false(t.timed_out);
    close_on_loop(&t);
}

static void acceptor_pauses_within_a_burst_and_resumes(void **state) {
    (void)state;
    struct on_loop t;

    open_on_loop(&t, 100);
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

    open_on_loop(&t, 100);
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

    open_on_loop(&t, 1);
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

#define UNIX_TEST(test) cmocka_unit_test_setup_teardown(test, set_up_unix, tear_down_unix)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(port_0_is_resolved_and_options_are_set),
        cmocka_unit_test(busy_port_is_named),
        cmocka_unit_test(v6_leaves_v4_alone),
        cmocka_unit_test(capped_backlog_is_logged),
        UNIX_TEST(closing_removes_the_socket_file),
        UNIX_TEST(stale_socket_file_is_replaced),
        UNIX_TEST(live_socket_file_is_refused),
        UNIX_TEST(another_file_is_left_alone),
        UNIX_TEST(successors_file_is_left_alone),
        cmocka_unit_test(missing_folder_is_named),
        cmocka_unit_test(acceptor_takes_all_in_bursts),
        cmocka_unit_test(acceptor_pauses_within_a_burst_and_resumes),
        cmocka_unit_test(acceptor_backs_off_without_descriptors),
        cmocka_unit_test(acceptor_that_cannot_register_tries_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
