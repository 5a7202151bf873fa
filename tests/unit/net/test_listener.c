/* SPDX-License-Identifier: MIT */
/* Listening sockets, over real TCP and unix sockets. */
#include "net/listener.h"

#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

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

/* --- waking ------------------------------------------------------------------------------- */

struct sleeper {
    pthread_t thread;
    int listen_fd, said_fd;
};

/* Sleeps until a connection wakes it, among others of whom one is woken, and says so. */
static void *sleep_once(void *arg) {
    struct sleeper *s = arg;
    struct epoll_event event = { .events = EPOLLIN | EPOLLEXCLUSIVE };
    int set = epoll_create1(EPOLL_CLOEXEC);
    uint64_t one = 1;
    bool woken;

    assert_int_equal(epoll_ctl(set, EPOLL_CTL_ADD, s->listen_fd, &event), 0);
    woken = epoll_wait(set, &event, 1, 20000) == 1;
    close(set);
    if (woken)
        assert_int_equal(write(s->said_fd, &one, sizeof(one)), sizeof(one));
    return NULL;
}

static bool somebody_woke_up(int said_fd, int patience_ms) {
    struct pollfd poll_fd = { .fd = said_fd, .events = POLLIN };
    uint64_t one;

    return poll(&poll_fd, 1, patience_ms) == 1 && read(said_fd, &one, sizeof(one)) == sizeof(one);
}

/* Who was woken alone leaves without accepting: the other sleeps on until it is roused. */
static void check_rousing(int listen_fd, const struct address *bound) {
    int said_fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
    struct sleeper sleepers[2];

    listener_rouse(listen_fd); /* nobody waits there: changes nothing */
    for (size_t i = 0; i < ARRAY_LEN(sleepers); i++) {
        sleepers[i] = (struct sleeper){ .listen_fd = listen_fd, .said_fd = said_fd };
        pthread_create(&sleepers[i].thread, NULL, sleep_once, &sleepers[i]);
    }
    assert_false(somebody_woke_up(said_fd, 300)); /* both sleep */
    int client_fd = connect_to(bound);
    assert_true(somebody_woke_up(said_fd, 20000));
    assert_false(somebody_woke_up(said_fd, 100));
    listener_rouse(listen_fd);
    assert_true(somebody_woke_up(said_fd, 10000));
    for (size_t i = 0; i < ARRAY_LEN(sleepers); i++)
        pthread_join(sleepers[i].thread, NULL);

    int fd = accept(listen_fd, NULL, NULL); /* and all else is as before */
    assert_true(fd >= 0);
    close(fd);
    close(client_fd);
    client_fd = connect_to(bound);
    fd = accept(listen_fd, NULL, NULL);
    assert_true(fd >= 0);
    close(fd);
    close(client_fd);
    close(said_fd);
}

static void rousing_wakes_who_was_left_asleep(void **state) {
    (void)state;
    struct address bound;
    int listen_fd = open_tcp(&bound);

    check_rousing(listen_fd, &bound);
    listener_close(listen_fd, &bound);
}

static void rousing_works_on_unix_sockets(void **state) {
    struct unix_fixture *f = *state;
    struct address bound;
    int listen_fd = listener_open(&f->at, 8, &bound, NULL);

    assert_true(listen_fd >= 0);
    check_rousing(listen_fd, &bound);
    listener_close(listen_fd, &bound);
}

static void missing_folder_is_named(void **state) {
    (void)state;
    struct address at = parse("unix:/tmp/test_listener.nowhere/s"), bound;
    struct error err;

    assert_int_equal(listener_open(&at, 8, &bound, &err), -ENOENT);
    assert_string_equal(err.text, "cannot listen on unix:/tmp/test_listener.nowhere/s: "
                                  "No such file or directory");
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
        cmocka_unit_test(rousing_wakes_who_was_left_asleep),
        UNIX_TEST(rousing_works_on_unix_sockets),
        cmocka_unit_test(missing_folder_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
