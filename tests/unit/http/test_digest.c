/* SPDX-License-Identifier: MIT */
/* Digest authentication: the examples of RFC 7616 section 3.9.1, and what is no credentials. */
#include "http/digest.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define EXAMPLE(algorithm, response)                                                         \
    "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", " \
    "algorithm=" algorithm ", nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", "      \
    "nc=00000001, cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, "       \
    "response=\"" response "\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""

static const struct http_digest_asked mufasa = {
    .user = SLICE_INIT("Mufasa"),
    .realm = SLICE_INIT("http-auth@example.org"),
    .password = SLICE_INIT("Circle of Life"),
    .method = SLICE_INIT("GET"),
};

static void the_examples_of_the_rfc_hold(void **state) {
    static const char *const credentials[] = {
        EXAMPLE("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        EXAMPLE("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    };
    struct http_digest digest;
    char response[HTTP_DIGEST_HEX_BYTES];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(credentials); i++) {
        assert_true(http_digest_parse(slice_str(credentials[i]), &digest));
        assert_int_equal(http_digest_response(&digest, &mufasa, response), 0);
        assert_true(slice_eq(slice_str(response), digest.response));
        digest.nc = SLICE("00000002");
        assert_int_equal(http_digest_response(&digest, &mufasa, response), 0);
        assert_false(slice_eq(slice_str(response), digest.response));
    }
}

static void parameters_are_taken_apart(void **state) {
    struct http_digest digest;

    (void)state;
    assert_true(http_digest_parse(
        SLICE("digest  Username=\"a\\\"b, c\" ,nonce=\"\",uri=\"/\",response=x,, QOP = auth"),
        &digest));
    assert_true(slice_eq(digest.username, SLICE("a\\\"b, c")));
    assert_true(digest.nonce.ptr != NULL && digest.nonce.len == 0);
    assert_true(slice_eq(digest.qop, SLICE("auth")));
    assert_null(digest.opaque.ptr);
}

static void what_is_no_credentials_is_refused(void **state) {
    static const char *const bad[] = {
        "",
        "Digest",
        "Basic dTpw",
        "Digest username=\"u\"",
        "Digest username=\"u\", nonce=\"n\", uri=\"/\", response=\"r",
        "Digest username=\"u\\",
        "Digest username=\"u\" nonce=\"n\", uri=\"/\", response=\"r\"",
        "Digest =\"u\"",
        "Digest username",
        "Digest ,",
    };
    struct http_digest digest;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (http_digest_parse(slice_str(bad[i]), &digest))
            fail_msg("%s", bad[i]);
}

static void algorithms_are_known_by_name(void **state) {
    struct http_digest digest = { .algorithm = SLICE_INIT("SHA-1") };
    char response[HTTP_DIGEST_HEX_BYTES];

    (void)state;
    assert_true(http_digest_knows(SLICE("md5")) && http_digest_knows(SLICE("SHA-512-256-SESS")));
    assert_false(http_digest_knows(SLICE("")) || http_digest_knows(SLICE("-sess")) ||
                 http_digest_knows(SLICE("SHA-1")));
    assert_int_equal(http_digest_response(&digest, &mufasa, response), -EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_the_rfc_hold),
        cmocka_unit_test(parameters_are_taken_apart),
        cmocka_unit_test(what_is_no_credentials_is_refused),
        cmocka_unit_test(algorithms_are_known_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
