/* SPDX-License-Identifier: MIT */
/* Heads as a gateway passes them on. */
#include "http/gateway.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const struct http_limits limits = HTTP_LIMITS_DEFAULT;
static const struct gateway_route route = {
    .origin = SLICE_INIT("http://api:3000"),
    .prefix = SLICE_INIT("/base"),
    .host = SLICE_INIT("api:3000"),
    .hidden = SLICE_INIT("X-Mine"),
};

static void passes(const struct gateway_client *client, const char *sent, const char *want) {
    struct http_head head;
    struct buf out;

    buf_init(&out, 65536);
    struct http_parse parse = http_parse_request(slice_str(sent), 0, &limits, &head);
    assert_int_equal(parse.kind, HTTP_PARSE_DONE);
    assert_int_equal(gateway_request(&out, &head, &route, client, (struct slice){ .ptr = NULL }),
                     0);
    assert_int_equal(buf_unread(&out).len, strlen(want));
    assert_memory_equal(buf_unread(&out).ptr, want, strlen(want));
    buf_free(&out);
}

static void a_request_loses_what_is_about_a_connection(void **state) {
    (void)state;
    const struct gateway_client untold = { .address = { "", 0 } };

    passes(
        &untold,
        "GET /a?b HTTP/1.1\r\nHost: x\r\nConnection: close, X-Hop\r\nx-hop: 1\r\nx-mine-too: 2\r\n"
        "Keep-Alive: 1\r\nTE: trailers, gzip\r\nA:b\r\n\r\n",
        "GET /base/a?b HTTP/1.1\r\nHost: api:3000\r\nTE: trailers\r\nConnection: TE\r\nA: b\r\n"
        "\r\n");
    passes(&untold, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
           "OPTIONS * HTTP/1.1\r\nHost: api:3000\r\n\r\n");
    passes(&untold, "GET http://y/z HTTP/1.1\r\nHost: x\r\n\r\n",
           "GET /base/z HTTP/1.1\r\nHost: api:3000\r\n\r\n");
}

static void framing_is_told_anew(void **state) {
    (void)state;
    const struct gateway_client untold = { .address = { "", 0 } };

    passes(&untold, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 0007\r\n\r\n",
           "PUT /base/ HTTP/1.1\r\nHost: api:3000\r\nContent-Length: 7\r\n\r\n");
    passes(&untold, "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n",
           "PUT /base/ HTTP/1.1\r\nHost: api:3000\r\nTransfer-Encoding: chunked\r\n\r\n");
    passes(&untold,
           "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, upgrade\r\nUpgrade: ws\r\n\r\n",
           "GET /base/ HTTP/1.1\r\nHost: api:3000\r\nUpgrade: ws\r\nConnection: Upgrade\r\n\r\n");
    passes(&untold, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: ws\r\n\r\n",
           "GET /base/ HTTP/1.1\r\nHost: api:3000\r\n\r\n");
}

static void the_client_is_told_behind_those_before(void **state) {
    (void)state;
    const struct gateway_client client = { .address = SLICE("192.0.2.9"),
                                           .scheme = SLICE("https") };

    passes(&client,
           "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: a\r\nX-Forwarded-For: b\r\n"
           "X-Forwarded-Port: 1\r\n\r\n",
           "GET /base/ HTTP/1.1\r\nHost: api:3000\r\nX-Forwarded-For: a\r\nX-Forwarded-Port: 1\r\n"
           "X-Forwarded-For: b, 192.0.2.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: x\r\n"
           "\r\n");
}

static void connect_is_not_passed_on(void **state) {
    (void)state;
    const struct gateway_client untold = { .address = { "", 0 } };
    struct slice sent = SLICE("CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n");
    struct http_head head;
    struct buf out;

    buf_init(&out, 4096);
    assert_int_equal(http_parse_request(sent, 0, &limits, &head).kind, HTTP_PARSE_DONE);
    assert_int_equal(gateway_request(&out, &head, &route, &untold, (struct slice){ .ptr = NULL }),
                     -EINVAL);
    buf_free(&out);
}

static void a_location_of_the_server_is_one_of_the_gateway(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        { "http://api:3000/base/x?y", "/x?y" },
        { "http://API:3000/base", "/" },
        { "http://api:3000/based", "http://api:3000/based" },
        { "http://api:30001/base/", "http://api:30001/base/" },
        { "/base/x", "/base/x" },
        { "https://other/", "https://other/" },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char sent[128], want[128];
        struct http_head head;
        struct buf out;

        buf_init(&out, 4096);
        snprintf(sent, sizeof(sent), "HTTP/1.1 302 Found\r\nLocation: %s\r\nKeep-Alive: 1\r\n\r\n",
                 rows[i][0]);
        snprintf(want, sizeof(want), "Location: %s\r\n", rows[i][1]);
        assert_int_equal(http_parse_response(slice_str(sent), 0, &limits, &head).kind,
                         HTTP_PARSE_DONE);
        assert_int_equal(gateway_fields(&out, &head, &route), 0);
        assert_int_equal(buf_unread(&out).len, strlen(want));
        assert_memory_equal(buf_unread(&out).ptr, want, strlen(want));
        buf_free(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_loses_what_is_about_a_connection),
        cmocka_unit_test(framing_is_told_anew),
        cmocka_unit_test(the_client_is_told_behind_those_before),
        cmocka_unit_test(connect_is_not_passed_on),
        cmocka_unit_test(a_location_of_the_server_is_one_of_the_gateway),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
