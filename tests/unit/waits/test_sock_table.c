/* SPDX-License-Identifier: MIT */
/* Sockets of this very process, as the kernel tells their two ends. */
#include "waits/sock_table.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

struct rig {
    struct sock_table table;
    int net;
};

static uint64_t inode_of(int fd) {
    struct stat info;
    assert_int_equal(fstat(fd, &info), 0);
    return info.st_ino;
}

static int set_up(void **state) {
    struct rig *rig = calloc(1, sizeof(*rig));
    int self = open("/proc/self", O_RDONLY | O_DIRECTORY);
    if (rig == NULL || self < 0 || sock_table_open(&rig->table) != 0)
        return -1;
    rig->net = sock_table_net(&rig->table, self);
    close(self);
    *state = rig;
    return rig->net < 0;
}

static int tear_down(void **state) {
    struct rig *rig = *state;
    sock_table_close(&rig->table);
    free(rig);
    return 0;
}

static const struct sock *ask(struct rig *rig, int fd, const char *protocol) {
    sock_table_begin(&rig->table);
    assert_int_equal(sock_table_want(&rig->table, rig->net, inode_of(fd), protocol), 0);
    sock_table_ask(&rig->table);
    return sock_table_find(&rig->table, inode_of(fd));
}

struct tcp {
    int listener, client, accepted;
    char text[SOCK_TEXT_BYTES];
};

/* `fd` may be of IPv6 and take clients of IPv4. */
static void connect_tcp(struct tcp *ret) {
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(address);
    ret->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(ret->listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(ret->listener, 8), 0);
    assert_int_equal(getsockname(ret->listener, (struct sockaddr *)&address, &len), 0);
    ret->client = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(ret->client, (struct sockaddr *)&address, len), 0);
    ret->accepted = accept(ret->listener, NULL, NULL);
    snprintf(ret->text, sizeof(ret->text), "127.0.0.1:%u", ntohs(address.sin_port));
}

static void disconnect_tcp(struct tcp *tcp) {
    close(tcp->listener);
    close(tcp->client);
    close(tcp->accepted);
}

static void the_three_sides_of_tcp_show_the_servers_address(void **state) {
    struct rig *rig = *state;
    struct tcp tcp;
    connect_tcp(&tcp);
    const int fds[] = { tcp.listener, tcp.client, tcp.accepted };
    static const enum sock_side sides[] = { SOCK_LISTENING, SOCK_MADE, SOCK_ACCEPTED };
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        const struct sock *s = ask(rig, fds[i], "TCP");
        assert_int_equal(s->side, sides[i]);
        assert_string_equal(s->text, tcp.text);
        assert_true(sock_table_knows(&rig->table, s->inode));
    }
    disconnect_tcp(&tcp);
}

/* Known sockets stay known when many others come, as long as they are wanted. */
static void many_sockets_are_kept_apart(void **state) {
    struct rig *rig = *state;
    struct tcp tcp;
    connect_tcp(&tcp);
    assert_int_equal(ask(rig, tcp.client, "TCP")->side, SOCK_MADE);
    for (uint64_t round = 0; round < 20; round++) {
        sock_table_begin(&rig->table);
        assert_int_equal(sock_table_want(&rig->table, rig->net, inode_of(tcp.client), ""), 0);
        for (uint64_t i = 1; i <= 2000; i++) /* beyond all inodes, which have 32 bits */
            assert_int_equal(
                sock_table_want(&rig->table, rig->net, ((round + 1) << 40) + i, "NETLINK"), 0);
    }
    assert_true(rig->table.count < 20 * 2000); /* older ones were forgotten */
    const struct sock *s = sock_table_find(&rig->table, inode_of(tcp.client));
    assert_int_equal(s->side, SOCK_MADE);
    assert_string_equal(s->text, tcp.text);
    s = sock_table_find(&rig->table, (UINT64_C(20) << 40) + 7);
    assert_string_equal(s->text, "NETLINK socket");
    disconnect_tcp(&tcp);
}

static void a_pair_says_so(void **state) {
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    const struct sock *s = ask(*state, pair[0], "UNIX-STREAM");
    assert_int_equal(s->side, SOCK_PLAIN);
    assert_string_equal(s->text, "socket pair");
    close(pair[0]);
    close(pair[1]);
}

/* Without a path: its name begins with NUL, and may hold anything. */
static void unix_sockets_show_the_servers_name(void **state) {
    struct rig *rig = *state;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int len = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "a\n%d", (int)getpid());
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
    char expected[64];
    snprintf(expected, sizeof(expected), "unix:@a\\n%d", (int)getpid());
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(connect(client, (struct sockaddr *)&address, size), 0);
    int accepted = accept(listener, NULL, NULL);
    const int fds[] = { listener, client, accepted };
    static const enum sock_side sides[] = { SOCK_LISTENING, SOCK_MADE, SOCK_ACCEPTED };
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        const struct sock *s = ask(rig, fds[i], "UNIX-STREAM");
        assert_int_equal(s->side, sides[i]);
        assert_string_equal(s->text, expected);
        close(fds[i]);
    }
}

static void one_that_has_gone_is_unknown(void **state) {
    struct rig *rig = *state;
    sock_table_begin(&rig->table);
    assert_int_equal(sock_table_want(&rig->table, rig->net, UINT64_C(1) << 40, "TCP"), 0);
    sock_table_ask(&rig->table);
    assert_int_equal(sock_table_find(&rig->table, UINT64_C(1) << 40)->side, SOCK_UNKNOWN);
    assert_false(sock_table_knows(&rig->table, UINT64_C(1) << 40));
    assert_null(sock_table_find(&rig->table, 3));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_three_sides_of_tcp_show_the_servers_address, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(many_sockets_are_kept_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pair_says_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unix_sockets_show_the_servers_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_has_gone_is_unknown, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
