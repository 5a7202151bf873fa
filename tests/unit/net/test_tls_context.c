/* SPDX-License-Identifier: MIT */
/* Contexts of TLS: what cannot be one is refused, and named. And the limit of wires. */
#include "tests/unit/net/tls_rig.h"
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>

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

/* The server takes new keys until it fails or has had 20,000 of them. */
static void storm(struct tls_rig *r, bool with_words) {
    char text[16];
    ssize_t rc = -EAGAIN;
    for (unsigned n = 0; n < 20000 && rc == -EAGAIN; n++) {
        assert_int_equal(SSL_key_update(r->client.tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(r->client.tls->ssl), 1);
        if (with_words && n % 100 == 0) {
            assert_int_equal(tls_send(r->client.tls, "go on", 5), 5);
            assert_int_equal(tls_recv(r->server.tls, text, sizeof(text)), 5);
        }
        rc = tls_recv(r->server.tls, text, sizeof(text));
    }
}

/* Each costs more to take than to send, and keeps a loop from all others. */
static void test_new_keys_without_a_word_are_refused_in_the_end(void **state) {
    (void)state;
    for (int with_words = 0; with_words < 2; with_words++) {
        int client, server;
        struct tls_rig r;
        rig_open(&r, client_config(&pki), server_config(&pki.good));
        rig_connect(&r, &(struct tls_peer){ .name = "localhost" });
        rig_shake(&r, &client, &server);
        storm(&r, with_words);
        assert_int_equal(r.server.tls->state, with_words ? TLS_OPEN : TLS_FAILED_OPEN);
        assert_string_equal(tls_reason(r.server.tls),
                            with_words ? "" : "too many records without data");
        rig_hang_up(&r);
        rig_close(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_context_says_what_is_wrong),
        cmocka_unit_test(test_new_keys_without_a_word_are_refused_in_the_end),
    };
    return cmocka_run_group_tests(tests, open_pki, close_pki);
}
