/* SPDX-License-Identifier: MIT */
/* Networks: who belongs to which list, and how peers are written. */
#include "net/cidr.h"
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static struct peer peer(const char *text) {
    struct peer p = { .kind = PEER_IP };
    assert_true(ip_parse(slice_str(text), &p.ip));
    return p;
}

static bool has(const char *text, struct peer p) {
    struct cidr_list list;
    struct error err;
    assert_int_equal(cidr_list_parse(text, &list, &err), 0);
    return cidr_list_has(&list, &p);
}

static void networks_match_by_their_leading_bits(void **state) {
    (void)state;
    static const struct {
        const char *list, *ip;
        bool inside;
    } rows[] = {
        { "127.0.0.1", "127.0.0.1", true },
        { "127.0.0.1", "127.0.0.2", false },
        { "127.0.0.0/8", "127.255.0.2", true },
        { "127.0.0.0/8", "128.0.0.1", false },
        { "10.0.0.0/9", "10.127.1.1", true },
        { "10.0.0.0/9", "10.128.1.1", false },
        { "0.0.0.0/0", "203.0.113.9", true },
        { "0.0.0.0/0", "2001:db8::1", false },
        { "::/0", "2001:db8::1", true },
        { "::/0", "203.0.113.9", true },
        { "2001:db8::/33", "2001:db8:7fff::1", true },
        { "2001:db8::/33", "2001:db8:8000::1", false },
        { "10.0.0.1", "::ffff:10.0.0.1", true },
        { " 10.0.0.1 , ,::1", "::1", true },
        { "192.0.2.1/31", "192.0.2.0", true },
        { "", "127.0.0.1", false },
        { "*", "203.0.113.9", true },
        { "unix", "127.0.0.1", false },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(has(rows[i].list, peer(rows[i].ip)), rows[i].inside);
}

static void peers_without_an_address_need_a_word(void **state) {
    (void)state;
    struct peer local = { .kind = PEER_LOCAL }, unknown = { .kind = PEER_UNKNOWN };
    assert_true(has("unix", local));
    assert_false(has("0.0.0.0/0,::/0", local));
    assert_true(has("*", local));
    assert_false(has("0.0.0.0/0,::/0,unix", unknown));
    assert_true(has("*", unknown));
}

static void what_is_no_network_is_refused(void **state) {
    (void)state;
    static const char *const rows[] = { "localhost", "127.0.0.1/33", "::1/129",     "127.0.0.1/",
                                        "10/8",      "1.2.3.4/-1",   "1.2.3.4/8/8", "[::1]" };
    struct cidr_list list;
    struct error err;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(cidr_list_parse(rows[i], &list, &err), -EINVAL);

    char many[64 * 16] = "";
    for (int i = 0; i < CIDR_LIST_MAX + 1; i++)
        strcat(many, "127.0.0.1,");
    assert_int_equal(cidr_list_parse(many, &list, &err), -EINVAL);
}

static void peers_are_written_as_people_do(void **state) {
    (void)state;
    char text[PEER_TEXT_BYTES];
    struct peer p = peer("192.0.2.7");
    assert_string_equal(peer_format(&p, text), "192.0.2.7");
    p = peer("255.100.99.0");
    assert_string_equal(peer_format(&p, text), "255.100.99.0");
    p = peer("10.9.101.200");
    assert_string_equal(peer_format(&p, text), "10.9.101.200");
    p = peer("2001:DB8::7");
    assert_string_equal(peer_format(&p, text), "2001:db8::7");
    p = peer_of_address(NULL);
    assert_string_equal(peer_format(&p, text), "unknown");
    struct address a = { .local = { .sun_family = AF_UNIX } };
    p = peer_of_address(&a);
    assert_string_equal(peer_format(&p, text), "unix");
    a = (struct address){ .v4 = { .sin_family = AF_INET, .sin_port = htons(99) } };
    a.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    p = peer_of_address(&a);
    assert_string_equal(peer_format(&p, text), "127.0.0.1");
    assert_int_equal(p.port, 99);
    a = (struct address){ .v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT } };
    p = peer_of_address(&a);
    assert_string_equal(peer_format(&p, text), "::1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_match_by_their_leading_bits),
        cmocka_unit_test(peers_without_an_address_need_a_word),
        cmocka_unit_test(what_is_no_network_is_refused),
        cmocka_unit_test(peers_are_written_as_people_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
