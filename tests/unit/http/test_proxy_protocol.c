/* SPDX-License-Identifier: MIT */
/* PROXY headers of both versions: whole, in pieces, and wrong. */
#include "base/attr.h"
#include "http/error.h"
#include "http/proxy_protocol.h"
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

/* Every shorter input is incomplete, and what follows the header does not matter. */
static struct proxy_client assert_whole(struct slice header) {
    struct proxy_client client;
    char text[512];

    for (size_t len = 0; len < header.len; len++)
        assert_int_equal(proxy_protocol_parse(slice_take(header, len), &client).kind,
                         HTTP_PARSE_MORE);
    memcpy(text, header.ptr, header.len);
    memcpy(text + header.len, "GET /", 5);
    struct http_parse parse = proxy_protocol_parse(slice_of(text, header.len + 5), &client);
    assert_int_equal(parse.kind, HTTP_PARSE_DONE);
    assert_int_equal(parse.used, header.len);
    return client;
}

static void text_names_the_client(void **state) {
    (void)state;
    struct proxy_client c = assert_whole(SLICE("PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n"));
    assert_int_equal(c.family, PROXY_IPV4);
    assert_memory_equal(c.ip, "\300\0\2\7", 4);
    assert_int_equal(c.port, 4711);
    c = assert_whole(SLICE("PROXY TCP6 2001:db8::7 ::1 65535 80\r\n"));
    assert_int_equal(c.family, PROXY_IPV6);
    assert_int_equal(c.ip[15], 7);
    assert_int_equal(assert_whole(SLICE("PROXY UNKNOWN\r\n")).family, PROXY_UNKNOWN);
    assert_int_equal(assert_whole(SLICE("PROXY UNKNOWN what ever\r\n")).family, PROXY_UNKNOWN);
}

static void binary_names_the_client(void **state) {
    (void)state;
    struct proxy_client c =
        assert_whole(SLICE(SIGNATURE "\x21\x11\0\x0c\300\0\2\7\300\0\2\1\x12\x67\0\x50"));
    assert_int_equal(c.family, PROXY_IPV4);
    assert_memory_equal(c.ip, "\300\0\2\7", 4);
    assert_int_equal(c.port, 0x1267);
    assert_false(c.secure);
    c = assert_whole(
        SLICE(SIGNATURE "\x21\x11\0\x14\300\0\2\7\300\0\2\1\x12\x67\0\x50\x20\0\5\1\0\0\0\0"));
    assert_true(c.secure);
    assert_int_equal(assert_whole(SLICE(SIGNATURE "\x20\0\0\0")).family, PROXY_UNKNOWN);
    assert_int_equal(assert_whole(SLICE(SIGNATURE "\x21\x31\0\3abc")).family, PROXY_UNKNOWN);
}

static void everything_else_is_refused(void **state) {
    (void)state;
    static const struct slice rows[] = {
        SLICE_INIT("GET / HTTP/1.1\r\n\r\n"),
        SLICE_INIT("PROXX"),
        SLICE_INIT("PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\n"),
        SLICE_INIT("PROXY TCP4 192.0.2.7 192.0.2.1 4711\r\n"),
        SLICE_INIT("PROXY TCP4 192.0.2.7 192.0.2.1 4711 65536\r\n"),
        SLICE_INIT("PROXY TCP4 192.0.2.7  192.0.2.1 1 2\r\n"),
        SLICE_INIT("PROXY TCP4 ::1 ::1 1 2\r\n"),
        SLICE_INIT("PROXY TCP6 192.0.2.7 ::1 1 2\r\n"),
        SLICE_INIT("PROXY UDP4 192.0.2.7 192.0.2.1 1 2\r\n"),
        SLICE_INIT(
            "PROXY UNKNOWN 45678901234567890123456789012345678901234567890123456789012345678901"
            "23456789012345678901234567890\r\n"),
        SLICE_INIT(SIGNATURE "\x11\x11\0\0"),
        SLICE_INIT(SIGNATURE "\x22\x11\0\0"),
        SLICE_INIT(SIGNATURE "\x21\x11\0\x0b\300\0\2\7\300\0\2\1\x12\x67\0"),
        SLICE_INIT(SIGNATURE "\x21\x11\0\x0e\300\0\2\7\300\0\2\1\x12\x67\0\x50\x20\0"),
        SLICE_INIT(SIGNATURE "\x21\x11\xff\xff"),
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct proxy_client client;
        struct http_parse parse = proxy_protocol_parse(rows[i], &client);
        assert_int_equal(parse.kind, HTTP_PARSE_BAD);
        assert_ptr_equal(parse.why, http_err_proxy_header);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_names_the_client),
        cmocka_unit_test(binary_names_the_client),
        cmocka_unit_test(everything_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
