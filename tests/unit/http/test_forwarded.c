/* SPDX-License-Identifier: MIT */
/* Forwarding fields, read from their end. */
#include "base/attr.h"
#include "http/forwarded.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void assert_slice(struct slice got, const char *want) {
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.ptr, want, got.len);
}

static void x_forwarded_for_is_popped_from_the_end(void **state) {
    (void)state;
    struct slice list = SLICE("192.0.2.1, ,2001:db8::1 ,\t10.0.0.1"), node;
    static const char *const want[] = { "10.0.0.1", "2001:db8::1", "", "192.0.2.1" };
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_true(forwarded_for_pop(&list, &node));
        assert_slice(node, want[i]);
    }
    assert_false(forwarded_for_pop(&list, &node));
}

static void forwarded_is_popped_from_the_end(void **state) {
    (void)state;
    struct slice list = SLICE("for=192.0.2.60;proto=http;by=203.0.113.43, "
                              "For=\"[2001:db8:cafe::17]:4711\" ; PROTO=\"https\", for=_hidden, "
                              "host=\"a,b\\\",;for=c\"");
    struct forwarded_hop hop;
    assert_true(forwarded_pop(&list, &hop));
    assert_slice(hop.node, "");
    assert_true(forwarded_pop(&list, &hop));
    assert_slice(hop.node, "_hidden");
    assert_true(forwarded_pop(&list, &hop));
    assert_slice(hop.node, "[2001:db8:cafe::17]:4711");
    assert_slice(hop.proto, "https");
    assert_true(forwarded_pop(&list, &hop));
    assert_slice(hop.node, "192.0.2.60");
    assert_slice(hop.proto, "http");
    assert_false(forwarded_pop(&list, &hop));
}

static void an_open_quote_ends_the_list(void **state) {
    (void)state;
    struct slice list = SLICE("for=1.1.1.1, for=\"2.2.2.2");
    struct forwarded_hop hop;
    assert_true(forwarded_pop(&list, &hop));
    assert_slice(hop.node, "");
    assert_false(forwarded_pop(&list, &hop));
}

static void nodes_lose_ports_and_brackets(void **state) {
    (void)state;
    static const struct {
        const char *node, *address;
    } rows[] = {
        { "192.0.2.1", "192.0.2.1" },
        { "192.0.2.1:80", "192.0.2.1" },
        { "2001:db8::1", "2001:db8::1" },
        { "[2001:db8::1]", "2001:db8::1" },
        { "[2001:db8::1]:80", "2001:db8::1" },
        { "\"192.0.2.1\"", "192.0.2.1" },
        { "unknown", "" },
        { "Unknown", "" },
        { "_secret", "" },
        { "", "" },
        { "[", "" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_slice(forwarded_node_address(slice_str(rows[i].node)), rows[i].address);
}

static void schemes_are_the_two_of_http(void **state) {
    (void)state;
    assert_slice(forwarded_scheme(SLICE("HTTPS")), "https");
    assert_slice(forwarded_scheme(SLICE("http")), "http");
    assert_slice(forwarded_scheme(SLICE("javascript")), "");
    assert_slice(forwarded_scheme(SLICE("")), "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(x_forwarded_for_is_popped_from_the_end),
        cmocka_unit_test(forwarded_is_popped_from_the_end),
        cmocka_unit_test(an_open_quote_ends_the_list),
        cmocka_unit_test(nodes_lose_ports_and_brackets),
        cmocka_unit_test(schemes_are_the_two_of_http),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
