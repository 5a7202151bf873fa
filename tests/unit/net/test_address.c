/* SPDX-License-Identifier: MIT */
/* Addresses: what is accepted, what it means, how it is shown, and what is refused with which
 * words. */
#include "net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const struct {
    const char *text;
    uint16_t default_port;
    bool any;
    const char *shown; /* NULL: a name, to be looked up */
} good[] = {
    { "127.0.0.1:3000", 0, false, "127.0.0.1:3000" },
    { "127.0.0.1", 4000, false, "127.0.0.1:4000" },
    { ":3000", 0, false, "127.0.0.1:3000" },
    { ":3000", 0, true, "0.0.0.0:3000" },
    { ":0", 0, false, "127.0.0.1:0" },
    { "3000", 0, false, "127.0.0.1:3000" },
    { "3000", 0, true, "127.0.0.1:3000" },
    { "0", 0, true, "127.0.0.1:0" },
    { "65535", 0, true, "127.0.0.1:65535" },
    { ":65535", 80, false, "127.0.0.1:65535" },
    { "localhost:80", 0, false, "127.0.0.1:80" },
    { "LocalHost", 80, true, "127.0.0.1:80" },
    { "[::1]:80", 0, false, "[::1]:80" },
    { "[::1]", 80, false, "[::1]:80" },
    { "[::]:80", 0, false, "[::]:80" },
    { "[2001:DB8:0::0:1]:1", 0, false, "[2001:db8::1]:1" },
    { "[fe80::1%1]:80", 0, false, "[fe80::1%1]:80" },
    { "[fe80::1%lo]:80", 0, false, "[fe80::1%1]:80" },
    { "unix:/run/srv.sock", 0, false, "unix:/run/srv.sock" },
    { "unix:here:1", 80, false, "unix:here:1" },
    { "unix:/run/srv.sock?mode=0660", 0, false, "unix:/run/srv.sock" },
    { "unix:/run/srv.sock?x", 0, false, "unix:/run/srv.sock?x" },
    { "api.example:80", 0, false, NULL },
    { "my_host-1:80", 0, false, NULL },
    { "3com.example", 80, false, NULL },
};

static const struct {
    const char *text;
    uint16_t default_port;
    const char *why; /* part of the words */
} bad[] = {
    { "", 80, "empty" },
    { "host", 0, "port is missing" },
    { "host:", 80, "the port must be" },
    { "host:99999", 0, "the port must be" },
    { "host:65536", 0, "the port must be" },
    { "host:-1", 0, "the port must be" },
    { "host:+1", 0, "the port must be" },
    { "host: 80", 0, "the port must be" },
    { "host:80 ", 0, "the port must be" },
    { "host:http", 0, "the port must be" },
    { ":", 80, "the port must be" },
    { "[::1", 80, "']' is missing" },
    { "[::1]80", 80, "only a port" },
    { "[::1] :80", 80, "only a port" },
    { "[]:80", 0, "not IPv6" },
    { "[host]:80", 0, "not IPv6" },
    { "[127.0.0.1]:80", 0, "not IPv6" },
    { "[::1%]:80", 0, "not IPv6" },
    { "[::1%0]:80", 0, "not IPv6" },
    { "[fe80::1%nowhere0]:80", 0, "not IPv6" },
    { "[fe80::1%a-name-longer-than-any-interface]:80", 0, "not IPv6" },
    { "::1:80", 0, "brackets" },
    { "a:b:80", 0, "brackets" },
    { "3000", 80, "neither a name nor" },
    { "65536", 0, "the port must be" },
    { "99999999999999999999", 0, "neither a name nor" },
    { "3000x", 0, "port is missing" },
    { "-1", 0, "port is missing" },
    { "127.1:80", 0, "neither a name nor" },
    { "256.0.0.1:80", 0, "neither a name nor" },
    { "1.2.3.4.5:80", 0, "neither a name nor" },
    { "ho st:80", 0, "character" },
    { "ho\nst:80", 0, "character" },
    { "http://host:80", 0, "brackets" },
    { "http://host", 80, "the port must be" },
    { "host/path:80", 0, "character" },
    { "h\xc3\xa9:80", 0, "character" },
    { "unix:", 0, "path is missing" },
    { "unix:?mode=0660", 0, "path is missing" },
    { "unix:/a?mode=", 0, "octal" },
    { "unix:/a?mode=0", 0, "octal" },
    { "unix:/a?mode=0668", 0, "octal" },
    { "unix:/a?mode=1777", 0, "octal" },
    { "unix:/a?mode=00660", 0, "octal" },
    { "unix:/a\nb", 0, "control character" },
};

static void accepts_and_shows(void **state) {
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct endpoint e;
        struct address a;
        struct error err = { "" };
        char text[ADDRESS_TEXT_BYTES];

        int rc = endpoint_parse(slice_str(good[i].text), good[i].default_port, &e, &err);
        if (rc != 0)
            fail_msg("%s: %s", good[i].text, err.text);

        rc = address_of_endpoint(&e, good[i].any, &a);
        if (good[i].shown == NULL) {
            assert_int_equal(rc, -ENOENT);
            continue;
        }
        assert_int_equal(rc, 0);
        assert_string_equal(address_format(&a, text), good[i].shown);
        assert_int_equal(address_port(&a), e.port);
    }
}

static void refuses_with_words(void **state) {
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct endpoint e;
        struct error err = { "" };

        int rc = endpoint_parse(slice_str(bad[i].text), bad[i].default_port, &e, &err);
        if (rc != -EINVAL)
            fail_msg("'%s' was accepted", bad[i].text);
        if (strstr(err.text, bad[i].why) == NULL)
            fail_msg("'%s': %s", bad[i].text, err.text);
    }
}

static void refuses_what_is_too_long(void **state) {
    (void)state;
    char text[400] = "unix:";
    struct endpoint e;
    struct address a;
    struct error err;

    memset(text + 5, 'x', 200);
    assert_int_equal(endpoint_parse(slice_of(text, 205), 0, &e, &err), -EINVAL);
    assert_non_null(strstr(err.text, "107 bytes"));
    assert_int_equal(endpoint_parse(slice_of(text, 5 + 108), 0, &e, &err), -EINVAL);
    assert_int_equal(endpoint_parse(slice_of(text, 5 + 107), 0, &e, &err), 0);
    assert_int_equal(address_of_endpoint(&e, false, &a), 0);

    e.host = slice_of(text, 108);
    assert_int_equal(address_of_endpoint(&e, false, &a), -ENAMETOOLONG);

    memset(text, 'x', sizeof(text));
    assert_int_equal(endpoint_parse(slice_of(text, 253), 80, &e, &err), 0);
    assert_int_equal(endpoint_parse(slice_of(text, 254), 80, &e, &err), -EINVAL);
}

/* The text is a slice: nothing after its end may be looked at. */
static void stops_at_the_end(void **state) {
    (void)state;
    struct endpoint e;

    assert_int_equal(endpoint_parse(slice_of("127.0.0.1:8099", 12), 0, &e, NULL), 0);
    assert_int_equal(e.port, 80);
    assert_int_equal(endpoint_parse(slice_of("a\0b:80", 6), 0, &e, NULL), -EINVAL);
    assert_int_equal(endpoint_parse(slice_of("unix:/a\0b", 9), 0, &e, NULL), -EINVAL);
}

static void takes_sources_without_ports(void **state UNUSED) {
    static const char *const wrong[] = { "", "localhost", "127.0.0.1:0", "[::1]", "1.2.3" };
    struct address at;

    assert_int_equal(address_parse_source(SLICE("127.0.0.2"), &at), 0);
    assert_int_equal(at.any.sa_family, AF_INET);
    assert_int_equal(ntohl(at.v4.sin_addr.s_addr), 0x7f000002);
    assert_int_equal(address_port(&at), 0);
    assert_int_equal(address_parse_source(SLICE("::1"), &at), 0);
    assert_int_equal(at.any.sa_family, AF_INET6);
    assert_int_equal(at.len, sizeof(at.v6));
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(address_parse_source(slice_str(wrong[i]), &at), -EINVAL);
}

static void shows_unnamed_and_abstract_peers(void **state) {
    (void)state;
    char text[ADDRESS_TEXT_BYTES];
    struct address unnamed = { .local.sun_family = AF_UNIX, .len = sizeof(sa_family_t) };
    struct address abstract = { .local = { AF_UNIX, "\0name" }, .len = sizeof(sa_family_t) + 5 };

    assert_string_equal(address_format(&unnamed, text), "unix:");
    assert_string_equal(address_format(&abstract, text), "unix:@name");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_and_shows),
        cmocka_unit_test(refuses_with_words),
        cmocka_unit_test(refuses_what_is_too_long),
        cmocka_unit_test(stops_at_the_end),
        cmocka_unit_test(takes_sources_without_ports),
        cmocka_unit_test(shows_unnamed_and_abstract_peers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
