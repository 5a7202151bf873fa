/* SPDX-License-Identifier: MIT */
/* Contexts of TLS: what cannot be one is refused, and named. */
#include "tests/unit/net/tls_pki.h"
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <stdio.h>

static struct tls_pki pki;

static void expect_no_context(struct tls_config config, const char *why) {
    struct error err = { .text = "" };
    assert_null(tls_context_new(&config, &err));
    if (strcmp(err.text, why) != 0)
        fail_msg("'%s', not '%s'", err.text, why);
}

static void test_a_context_says_what_is_wrong(void **state) {
    struct tls_certificate one = pki.good.certificate;
    struct tls_config server = server_config(&pki.good);
    (void)state;
    server.certificates = &one;

    one.key = pki.other.certificate.key;
    one.key.name = "k.pem";
    one.chain.name = "c.pem";
    expect_no_context(server, "key 'k.pem' is not that of certificate 'c.pem'");
    one.key.text = SLICE("hello");
    expect_no_context(server, "'k.pem' has no private key in PEM");
    one.key.text = SLICE("");
    expect_no_context(server, "'k.pem' has no private key in PEM");
    char secret[] = "secret";
    BIO *locked = BIO_new(BIO_s_mem());
    char *text;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_int_equal(
        PEM_write_bio_PrivateKey(locked, key, EVP_aes_128_cbc(), NULL, 0, NULL, secret), 1);
    one.key.text.len = (size_t)BIO_get_mem_data(locked, &text);
    one.key.text.ptr = text;
    expect_no_context(server, "key 'k.pem' has a passphrase; give one without");
    EVP_PKEY_free(key);
    BIO_free(locked);
    one.chain.text = SLICE("hello");
    expect_no_context(server, "'c.pem' has no certificate in PEM");
    one.chain.text = SLICE("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    expect_no_context(server, "certificate 'c.pem': wrong tag");
    one = pki.good.certificate;
    server.ciphers = "NONSENSE";
    expect_no_context(server, "ciphers 'NONSENSE': no cipher match");
    server.ciphers = "TLS_NONSENSE";
    expect_no_context(server, "ciphers 'TLS_NONSENSE': no cipher match");
    server.ciphers = ":";
    expect_no_context(server, "ciphers ':': no reason given");
    server.ciphers = NULL;
    server.verify = TLS_VERIFY_REQUIRED;
    server.trust = (struct tls_pem){ "ca.pem", SLICE("hello") };
    expect_no_context(server, "'ca.pem' has no certificate in PEM");
}

static int open_pki(void **state) {
    (void)state;
    pki_open(&pki);
    return 0;
}

static int close_pki(void **state) {
    (void)state;
    pki_close(&pki);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_context_says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, open_pki, close_pki);
}
