/* SPDX-License-Identifier: MIT */
/* TLS on a connection: each step says what came of it, however its bytes arrive and end. */
#include "base/alloc.h"
#include "tests/unit/net/tls_rig.h"
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <stdio.h>

static const struct tls_peer localhost = { .name = "localhost" };

/* --- what is said within ---------------------------------------------------------------------- */

static void say(struct tls_side *from, const char *text) {
    assert_int_equal(tls_send(from->tls, text, strlen(text)), (ssize_t)strlen(text));
}

static void hear(struct tls_side *at, const char *text) {
    char got[64] = "";
    assert_int_equal(tls_recv(at->tls, got, sizeof(got)), (ssize_t)strlen(text));
    assert_memory_equal(got, text, strlen(text));
}

static void shake(struct tls_rig *r) {
    int client, server;
    rig_shake(r, &client, &server);
    assert_int_equal(client, 0);
    assert_int_equal(server, 0);
}

static void open_usual(struct tls_rig *r) {
    rig_open(r, client_config(&pki), server_config(&pki.good));
    rig_connect(r, &localhost);
}

static void close_usual(struct tls_rig *r) {
    rig_hang_up(r);
    rig_close(r);
}

static void test_both_versions_carry_bytes_both_ways(void **state) {
    const struct {
        enum tls_version version;
        const char *name;
    } rows[] = { { TLS_VERSION_1_2, "TLSv1.2" }, { TLS_VERSION_1_3, "TLSv1.3" } };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tls_rig r;
        struct tls_facts facts;
        struct tls_config client = client_config(&pki);
        client.version_min = client.version_max = rows[i].version;
        rig_open(&r, client, server_config(&pki.good));
        rig_connect(&r, &localhost);
        shake(&r);
        say(&r.client, "ask");
        hear(&r.server, "ask");
        say(&r.server, "answer");
        hear(&r.client, "answer");
        tls_describe(r.client.tls, &facts);
        assert_string_equal(facts.version, rows[i].name);
        assert_string_equal(facts.alpn, "http/1.1");
        assert_string_equal(facts.server_name, "localhost");
        assert_int_equal(facts.key_bits, 256);
        assert_string_equal(facts.subject, "CN=localhost");
        assert_non_null(strstr(facts.temp_key, "X25519"));
        assert_false(facts.resumed);
        close_usual(&r);
    }
}

static void test_the_first_calls_make_the_handshake(void **state) {
    struct tls_rig r;
    char text[16];
    (void)state;
    open_usual(&r);
    assert_int_equal(tls_send(r.client.tls, "ask", 3), -EAGAIN);
    assert_int_equal(tls_awaits(r.client.tls, IO_WRITE), IO_READ); /* the server is to answer */
    assert_int_equal(tls_recv(r.server.tls, text, sizeof(text)), -EAGAIN);
    assert_int_equal(tls_send(r.client.tls, "ask", 3), 3);
    assert_int_equal(tls_awaits(r.client.tls, IO_WRITE), IO_WRITE);
    assert_int_equal(tls_recv(r.server.tls, text, sizeof(text)), 3);
    assert_true(tls_is_open(r.server.tls));
    close_usual(&r);
}

static void test_a_byte_at_a_time_is_as_good(void **state) {
    struct tls_rig r;
    (void)state;
    open_usual(&r);
    r.to_client.piece_max = r.to_server.piece_max = 1;
    shake(&r);
    say(&r.client, "ask");
    char text[16];
    ssize_t n;
    while ((n = tls_recv(r.server.tls, text, sizeof(text))) == -EAGAIN)
        ;
    assert_int_equal(n, 3);
    close_usual(&r);
}

/* Delivers up to `cut`, lets both go on, and then the rest. */
static void shake_in_two(struct tls_pipe *cut_pipe, struct tls_rig *r, size_t cut) {
    int client, server;
    cut_pipe->stops_at = cut;
    rig_shake(r, &client, &server);
    cut_pipe->stops_at = SIZE_MAX;
    shake(r);
}

static void test_a_handshake_may_be_cut_anywhere(void **state) {
    enum { STRIDE = 23, BYTES_MAX = 2600 };
    struct tls_rig r;
    (void)state;
    rig_open(&r, client_config(&pki), server_config(&pki.good));
    for (size_t cut = 0; cut < BYTES_MAX; cut += STRIDE) {
        rig_connect(&r, &localhost);
        shake_in_two(&r.to_server, &r, cut);
        rig_hang_up(&r);
        rig_connect(&r, &localhost);
        shake_in_two(&r.to_client, &r, cut);
        say(&r.client, "ask");
        hear(&r.server, "ask");
        rig_hang_up(&r);
    }
    rig_close(&r);
}

static void test_what_a_small_buffer_leaves_is_still_there(void **state) {
    enum { BYTES = 40000 };
    struct tls_rig r;
    static char text[BYTES], got[BYTES];
    (void)state;
    for (size_t i = 0; i < BYTES; i++)
        text[i] = (char)(i % 251);
    open_usual(&r);
    shake(&r);
    assert_int_equal(tls_send(r.server.tls, text, BYTES), BYTES);
    assert_int_equal(tls_recv(r.client.tls, got, 1000), 1000);
    assert_int_equal(tls_awaits(r.client.tls, IO_READ), 0); /* it need not wait */
    assert_int_equal(tls_awaits(r.client.tls, IO_READ | IO_WRITE), 0);
    assert_int_equal(tls_awaits(r.client.tls, IO_HANGUP), IO_HANGUP);
    assert_int_equal(tls_recv(r.client.tls, got + 1000, BYTES), BYTES - 1000); /* all records */
    assert_memory_equal(text, got, BYTES);
    assert_int_equal(tls_awaits(r.client.tls, IO_READ), IO_READ);
    close_usual(&r);
}

static void test_a_send_that_was_blocked_goes_on_where_it_was(void **state) {
    enum { BYTES = 100000 };
    struct tls_rig r;
    static char text[BYTES], got[BYTES];
    size_t sent = 0, taken = 0;
    (void)state;
    for (size_t i = 0; i < BYTES; i++)
        text[i] = (char)(i % 241);
    open_usual(&r);
    shake(&r);
    r.to_client.room = 20000;
    while (taken < BYTES) {
        ssize_t n = tls_send(r.server.tls, text + sent, BYTES - sent);
        assert_true(n > 0 || n == -EAGAIN || sent == BYTES);
        if (n == -EAGAIN)
            assert_int_equal(tls_awaits(r.server.tls, IO_WRITE), IO_WRITE);
        sent += n > 0 ? (size_t)n : 0;
        n = tls_recv(r.client.tls, got + taken, BYTES - taken);
        taken += n > 0 ? (size_t)n : 0;
    }
    assert_memory_equal(text, got, BYTES);
    close_usual(&r);
}

static void test_a_look_takes_nothing_away(void **state) {
    struct tls_rig r;
    char text[16];
    (void)state;
    open_usual(&r);
    shake(&r);
    assert_int_equal(tls_peek(r.client.tls), -EAGAIN); /* tickets have come, which are no news */
    assert_int_equal(buf_unread(&r.to_client.sent).len, 0);
    say(&r.server, "news");
    assert_int_equal(tls_peek(r.client.tls), 1);
    assert_int_equal(tls_awaits(r.client.tls, IO_READ), 0);
    assert_int_equal(tls_peek_at(r.client.tls, text, sizeof(text)), 4);
    assert_memory_equal(text, "news", 4);
    hear(&r.client, "news");
    assert_int_equal(tls_shutdown(r.server.tls), 0);
    assert_int_equal(tls_peek(r.client.tls), 0);
    assert_int_equal(tls_awaits(r.client.tls, IO_READ), 0); /* no event tells of it any more */
    close_usual(&r);
}

/* --- ends ------------------------------------------------------------------------------------- */

static void test_an_end_that_was_told_is_the_end(void **state) {
    struct tls_rig r;
    char text[16];
    (void)state;
    open_usual(&r);
    shake(&r);
    say(&r.server, "last");
    assert_int_equal(tls_shutdown(r.server.tls), 0);
    r.to_client.ended = true;
    hear(&r.client, "last");
    assert_int_equal(tls_recv(r.client.tls, text, sizeof(text)), 0);
    assert_int_equal(tls_recv(r.client.tls, text, sizeof(text)), 0);
    say(&r.client, "still"); /* the other direction goes on */
    hear(&r.server, "still");
    close_usual(&r);
}

static void test_an_end_that_nobody_told_is_a_truncation(void **state) {
    struct tls_rig r;
    char text[16];
    (void)state;
    open_usual(&r);
    shake(&r);
    say(&r.server, "last");
    r.to_client.ended = true;
    hear(&r.client, "last");
    assert_int_equal(tls_recv(r.client.tls, text, sizeof(text)), -ENODATA);
    assert_int_equal(r.client.tls->state, TLS_TRUNCATED);
    assert_string_equal(tls_reason(r.client.tls), "closed without close_notify");
    assert_int_equal(tls_send(r.client.tls, "x", 1), -ENODATA); /* it stays */
    close_usual(&r);
}

static void test_an_end_within_a_record_is_a_truncation(void **state) {
    struct tls_rig r;
    char text[16];
    (void)state;
    open_usual(&r);
    shake(&r);
    assert_int_equal(tls_peek(r.client.tls), -EAGAIN);
    say(&r.server, "last");
    r.to_client.stops_at = r.to_client.taken + 9;
    r.to_client.ended = true;
    assert_int_equal(tls_recv(r.client.tls, text, sizeof(text)), -ENODATA);
    assert_int_equal(r.client.tls->state, TLS_TRUNCATED);
    close_usual(&r);
}

static void test_an_end_within_the_handshake_has_a_name(void **state) {
    enum { STRIDE = 97, BYTES = 900 };
    struct tls_rig r;
    int client, server;
    (void)state;
    rig_open(&r, client_config(&pki), server_config(&pki.good));
    for (size_t cut = 0; cut < BYTES; cut += STRIDE) {
        rig_connect(&r, &localhost);
        r.to_client.stops_at = cut;
        r.to_client.ended = true;
        rig_shake(&r, &client, &server);
        assert_int_equal(client, -ENODATA);
        assert_int_equal(r.client.tls->state, TLS_FAILED_CLOSED);
        rig_hang_up(&r);
    }
    rig_connect(&r, &localhost);
    r.to_client.stops_at = 100;
    r.to_client.error = -ECONNRESET;
    rig_shake(&r, &client, &server);
    assert_int_equal(client, -ECONNRESET);
    assert_int_equal(r.client.tls->state, TLS_FAILED_CLOSED);
    rig_hang_up(&r);
    rig_close(&r);
}

static void test_a_broken_wire_is_told_as_such(void **state) {
    struct tls_rig r;
    char text[16];
    (void)state;
    open_usual(&r);
    shake(&r);
    r.to_client.error = -ECONNRESET;
    assert_int_equal(tls_recv(r.client.tls, text, sizeof(text)), -ECONNRESET);
    assert_int_equal(r.client.tls->state, TLS_FAILED_WIRE);
    assert_int_equal(tls_shutdown(r.client.tls), -ECONNRESET);
    close_usual(&r);
}

static void test_last_words_are_heard_when_nobody_listens(void **state) {
    struct tls_rig r;
    (void)state;
    open_usual(&r);
    shake(&r);
    say(&r.server, "too much");
    r.to_server.send_error = -EPIPE;
    assert_int_equal(tls_send(r.client.tls, "ask", 3), -EPIPE);
    assert_int_equal(tls_send(r.client.tls, "ask", 3), -EPIPE);
    hear(&r.client, "too much");
    close_usual(&r);
}

static void test_a_bad_record_fails_the_connection(void **state) {
    struct tls_rig r;
    char text[16];
    (void)state;
    open_usual(&r);
    shake(&r);
    assert_int_equal(tls_peek(r.client.tls), -EAGAIN);
    say(&r.server, "answer");
    r.to_client.sent.data[r.to_client.sent.end - 1] ^= 1;
    assert_int_equal(tls_recv(r.client.tls, text, sizeof(text)), -EPROTO);
    assert_int_equal(r.client.tls->state, TLS_FAILED_OPEN);
    assert_string_equal(tls_reason(r.client.tls), "decryption failed or bad record mac");
    assert_int_equal(tls_recv(r.server.tls, text, sizeof(text)), -EPROTO); /* its alert */
    close_usual(&r);
}

/* --- who is trusted --------------------------------------------------------------------------- */

static void expect_client(const struct tls_made *shown, const struct tls_peer *peer, int failure,
                          const char *reason) {
    struct tls_rig r;
    int client, server;
    rig_open(&r, client_config(&pki), server_config(shown));
    rig_connect(&r, peer);
    rig_shake(&r, &client, &server);
    if (client != failure || strcmp(tls_reason(r.client.tls), reason) != 0)
        fail_msg("%d '%s', not %d '%s'", client, tls_reason(r.client.tls), failure, reason);
    if (failure != 0) {
        assert_int_equal(r.client.tls->state, TLS_FAILED_VERIFY);
        assert_int_equal(tls_recv(r.server.tls, &client, 1), -EPROTO); /* it is told why */
    }
    rig_hang_up(&r);
    rig_close(&r);
}

static void test_certificates_are_judged(void **state) {
    const struct tls_peer address = { .name = "127.0.0.1" }, far = { .name = "127.0.0.2" };
    const struct tls_peer stranger = { .name = "other.example" }, nameless = { .name = NULL };
    const struct tls_peer wild = { .name = "a.wild.example" },
                          deep = { .name = "a.b.wild.example" };
    (void)state;
    expect_client(&pki.good, &localhost, 0, "");
    expect_client(&pki.rsa, &localhost, 0, "");
    expect_client(&pki.good, &address, 0, "");
    expect_client(&pki.good, &nameless, 0, "");
    expect_client(&pki.other, &wild, 0, "");
    expect_client(&pki.other, &deep, -EKEYREJECTED, "hostname mismatch");
    expect_client(&pki.good, &stranger, -EKEYREJECTED, "hostname mismatch");
    expect_client(&pki.good, &far, -EKEYREJECTED, "IP address mismatch");
    expect_client(&pki.expired, &localhost, -EKEYREJECTED, "certificate has expired");
    expect_client(&pki.early, &localhost, -EKEYREJECTED, "certificate is not yet valid");
    expect_client(&pki.lone, &localhost, -EKEYREJECTED, "self-signed certificate");
    expect_client(&pki.strange, &localhost, -EKEYREJECTED,
                  "self-signed certificate in certificate chain");
}

static void test_a_client_that_does_not_look_takes_any(void **state) {
    const struct tls_made *bad[] = { &pki.expired, &pki.early, &pki.lone, &pki.strange };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct tls_rig r;
        rig_open(&r, (struct tls_config){ .role = TLS_CLIENT }, server_config(bad[i]));
        rig_connect(&r, &(struct tls_peer){ .name = "wrong.example" });
        shake(&r);
        close_usual(&r);
    }
}

static void test_a_server_may_ask_for_a_certificate(void **state) {
    struct tls_config server = server_config(&pki.good), client = client_config(&pki);
    struct tls_facts facts;
    struct tls_rig r;
    int at_client, at_server;
    (void)state;
    server.verify = TLS_VERIFY_REQUIRED;
    server.trust = pki.authority.certificate.chain;
    rig_open(&r, client, server);
    rig_connect(&r, &localhost);
    rig_shake(&r, &at_client, &at_server);
    assert_int_equal(at_server, -EPROTO);
    assert_string_equal(tls_reason(r.server.tls), "peer did not return a certificate");
    close_usual(&r);

    client.certificates = &pki.client.certificate;
    client.certificate_count = 1;
    rig_open(&r, client, server);
    rig_connect(&r, &localhost);
    shake(&r);
    tls_describe(r.server.tls, &facts);
    assert_string_equal(facts.subject, "CN=a client");
    close_usual(&r);

    client.certificates = &pki.strange.certificate;
    rig_open(&r, client, server);
    rig_connect(&r, &localhost);
    rig_shake(&r, &at_client, &at_server);
    assert_int_equal(at_server, -EKEYREJECTED);
    close_usual(&r);

    server.verify = TLS_VERIFY_OPTIONAL;
    client.certificate_count = 0;
    rig_open(&r, client, server);
    rig_connect(&r, &localhost);
    shake(&r);
    close_usual(&r);
}

/* --- what is agreed on ------------------------------------------------------------------------ */

static void test_servers_show_the_certificate_of_the_name(void **state) {
    struct tls_certificate both[] = { pki.good.certificate, pki.other.certificate };
    struct tls_config client = client_config(&pki), server = server_config(&pki.good);
    const struct {
        struct tls_peer peer;
        const char *subject;
    } rows[] = {
        { { .name = "localhost" }, "CN=localhost" },
        { { .name = "other.example" }, "CN=other.example" },
        { { .name = "x.wild.example" }, "CN=other.example" },
        { { .name = "nobody.example" }, "CN=localhost" },
        { { .name = "127.0.0.1" }, "CN=localhost" },
        { { .name = "other.example", .hides_name = true }, "CN=localhost" },
    };
    (void)state;
    server.certificates = both;
    server.certificate_count = ARRAY_LEN(both);
    client.verify = TLS_VERIFY_NONE;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tls_facts facts;
        struct tls_rig r;
        rig_open(&r, client, server);
        rig_connect(&r, &rows[i].peer);
        shake(&r);
        tls_describe(r.client.tls, &facts);
        assert_string_equal(facts.subject, rows[i].subject);
        tls_describe(r.server.tls, &facts);
        if (rows[i].peer.hides_name || i == 4)
            assert_null(facts.server_name);
        else
            assert_string_equal(facts.server_name, rows[i].peer.name);
        close_usual(&r);
    }
}

static void expect_refusal(struct tls_config client, struct tls_config server,
                           const char *at_client, const char *at_server) {
    struct tls_rig r;
    int client_rc, server_rc;
    rig_open(&r, client, server);
    rig_connect(&r, &localhost);
    rig_shake(&r, &client_rc, &server_rc);
    assert_int_equal(client_rc, -EPROTO);
    assert_int_equal(server_rc, -EPROTO);
    assert_int_equal(r.client.tls->state, TLS_FAILED_HANDSHAKE);
    assert_string_equal(tls_reason(r.client.tls), at_client);
    assert_string_equal(tls_reason(r.server.tls), at_server);
    close_usual(&r);
}

static void test_what_does_not_fit_is_refused_by_name(void **state) {
    struct tls_config client = client_config(&pki), server = server_config(&pki.good);
    (void)state;
    client.version_max = TLS_VERSION_1_2;
    server.version_min = TLS_VERSION_1_3;
    expect_refusal(client, server, "tlsv1 alert protocol version", "unsupported protocol");

    server.version_min = TLS_VERSION_ANY;
    client.ciphers = "ECDHE-RSA-AES128-GCM-SHA256"; /* the certificate is for ECDSA */
    expect_refusal(client, server, "sslv3 alert handshake failure", "no shared cipher");

    client = client_config(&pki);
    client.alpn = SLICE("\x2h2");
    expect_refusal(client, server, "tlsv1 alert no application protocol",
                   "no application protocol");
}

static void test_ciphers_of_both_versions_stand_in_one_list(void **state) {
    struct tls_config client = client_config(&pki), server = server_config(&pki.good);
    struct tls_facts facts;
    (void)state;
    client.ciphers = "TLS_CHACHA20_POLY1305_SHA256:ECDHE-ECDSA-AES256-GCM-SHA384";
    for (int version = TLS_VERSION_1_2; version <= TLS_VERSION_1_3; version++) {
        struct tls_rig r;
        client.version_max = (enum tls_version)version;
        rig_open(&r, client, server);
        rig_connect(&r, &localhost);
        shake(&r);
        tls_describe(r.client.tls, &facts);
        assert_string_equal(facts.cipher, version == TLS_VERSION_1_2
                                              ? "ECDHE-ECDSA-AES256-GCM-SHA384"
                                              : "TLS_CHACHA20_POLY1305_SHA256");
        close_usual(&r);
    }
}

static void test_sessions_are_resumed_unless_that_is_off(void **state) {
    (void)state;
    for (int version = TLS_VERSION_1_2; version <= TLS_VERSION_1_3; version++) {
        for (int off = 0; off < 3; off++) {
            struct tls_config client = client_config(&pki), server = server_config(&pki.good);
            struct tls_session session = TLS_SESSION_INIT;
            struct tls_peer peer = { .name = "localhost", .session = &session };
            struct tls_facts facts;
            struct tls_rig r;
            client.version_max = (enum tls_version)version;
            client.no_resumption = off == 1;
            server.no_resumption = off == 2;
            rig_open(&r, client, server);
            for (int round = 0; round < 3; round++) {
                rig_connect(&r, &peer);
                shake(&r);
                say(&r.server, "answer");
                hear(&r.client, "answer"); /* takes the tickets in */
                tls_describe(r.client.tls, &facts);
                assert_int_equal(facts.resumed, round > 0 && off == 0);
                assert_string_equal(facts.subject, "CN=localhost");
                rig_hang_up(&r);
            }
            rig_close(&r);
            tls_session_forget(&session);
        }
    }
}

static void test_a_session_is_used_once_while_there_are_others(void **state) {
    struct tls_session session = TLS_SESSION_INIT;
    struct tls_peer peer = { .name = "localhost", .session = &session };
    struct tls_rig r, later;
    (void)state;
    rig_open(&r, client_config(&pki), server_config(&pki.good));
    later = r;
    for (unsigned i = 0; i <= TLS_SESSIONS_MAX; i++) {
        rig_connect(&r, NULL);
        SSL_set_app_data(r.client.tls->ssl, &session);
        shake(&r);
        assert_int_equal(tls_peek(r.client.tls), -EAGAIN); /* takes two tickets in */
        rig_hang_up(&r);
    }
    assert_int_equal(session.count, TLS_SESSIONS_MAX);
    for (unsigned left = TLS_SESSIONS_MAX - 1; left > 0; left--) {
        rig_connect(&later, &peer);
        assert_int_equal(session.count, left);
        rig_hang_up(&later);
    }
    rig_connect(&later, &peer);
    assert_int_equal(session.count, 1);
    rig_hang_up(&later);
    rig_close(&r);
    tls_session_forget(&session);
}

static void test_renegotiation_is_refused_and_does_no_harm(void **state) {
    struct tls_config client = client_config(&pki);
    struct tls_rig r;
    char text[16];
    (void)state;
    client.version_max = TLS_VERSION_1_2;
    rig_open(&r, client, server_config(&pki.good));
    rig_connect(&r, &localhost);
    shake(&r);
    SSL_clear_options(r.client.tls->ssl, SSL_OP_NO_RENEGOTIATION);
    assert_int_equal(SSL_renegotiate(r.client.tls->ssl), 1);
    SSL_do_handshake(r.client.tls->ssl);
    assert_int_equal(tls_recv(r.server.tls, text, sizeof(text)), -EAGAIN);
    say(&r.server, "go on");
    assert_true(tls_is_open(r.server.tls));
    assert_int_equal(tls_recv(r.client.tls, text, sizeof(text)), -EPROTO);
    assert_string_equal(tls_reason(r.client.tls), "no renegotiation");
    close_usual(&r);
}

static void test_connections_outlive_their_owner(void **state) {
    struct tls_rig r;
    (void)state;
    open_usual(&r);
    shake(&r);
    rig_close(&r); /* as when a new certificate is loaded */
    say(&r.client, "ask");
    hear(&r.server, "ask");
    rig_hang_up(&r);
}

/* --- strangers -------------------------------------------------------------------------------- */

static int serve_bytes(struct tls_rig *r, struct slice bytes) {
    char text[16];
    assert_int_equal(buf_append(&r->to_server.sent, bytes), 0);
    return (int)tls_recv(r->server.tls, text, sizeof(text));
}

static void test_strangers_are_told_apart(void **state) {
    const struct {
        const char *bytes, *reason;
        bool is_http;
    } rows[] = {
        { "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "http request", true },
        { "POST /x HTTP/1.0\r\n\r\n", "http request", true },
        { "DELETE /x HTTP/1.1\r\n\r\n", "wrong version number", true },
        { "CONNECT a:1 HTTP/1.1\r\n\r\n", "https proxy request", true },
        { " / HTTP/1.1\r\n\r\n", "wrong version number", false },
        { "\x80\x2e\x01\x03\x01garbage garbage garbage garbage garbage garbage", "", false },
        { "SSH-2.0-OpenSSH_9.2\r\n", "wrong version number", false },
        { "\x16\x03\x01\xff\xff.....................", "packet length too long", false },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tls_rig r;
        open_usual(&r);
        assert_int_equal(serve_bytes(&r, slice_str(rows[i].bytes)), -EPROTO);
        assert_int_equal(r.server.tls->state, TLS_FAILED_HANDSHAKE);
        if (rows[i].reason[0] != '\0')
            assert_string_equal(tls_reason(r.server.tls), rows[i].reason);
        assert_int_equal(tls_saw_http(r.server.tls), rows[i].is_http);
        close_usual(&r);
    }
}

/* A ClientHello with an extension of `padding` bytes (RFC 7685), in records of 16 KB. */
static void long_hello(struct buf *to, size_t padding) {
    static const char fixed[] = "\x03\x03"
                                "................................"
                                "\x00"
                                "\x00\x02\xc0\x2b"
                                "\x01\x00";
    static const char known[] = "\x00\x0a\x00\x04\x00\x02\x00\x17"
                                "\x00\x0d\x00\x04\x00\x02\x04\x03"
                                "\xff\x01\x00\x01\x00";
    size_t extensions = sizeof(known) - 1 + 4 + padding;
    size_t length = sizeof(fixed) - 1 + 2 + extensions;
    struct buf hello;

    buf_init(&hello, 1 << 20);
    char head[] = { 1, (char)(length >> 16), (char)(length >> 8), (char)length };
    char sizes[] = { (char)(extensions >> 8), (char)extensions };
    char pad[] = { 0, 21, (char)(padding >> 8), (char)padding };
    assert_int_equal(buf_append(&hello, slice_of(head, sizeof(head))), 0);
    assert_int_equal(buf_append(&hello, slice_of(fixed, sizeof(fixed) - 1)), 0);
    assert_int_equal(buf_append(&hello, slice_of(sizes, sizeof(sizes))), 0);
    assert_int_equal(buf_append(&hello, slice_of(known, sizeof(known) - 1)), 0);
    assert_int_equal(buf_append(&hello, slice_of(pad, sizeof(pad))), 0);
    assert_int_equal(buf_reserve(&hello, padding), 0);
    memset(buf_tail(&hello), 0, padding);
    buf_added(&hello, padding);
    while (buf_unread(&hello).len > 0) {
        struct slice part = slice_take(buf_unread(&hello), 16384);
        char record[] = { 22, 3, 1, (char)(part.len >> 8), (char)part.len };
        assert_int_equal(buf_append(to, slice_of(record, sizeof(record))), 0);
        assert_int_equal(buf_append(to, part), 0);
        buf_consume(&hello, part.len);
    }
    buf_free(&hello);
}

static void test_a_long_hello_is_answered(void **state) {
    struct tls_rig r;
    char text[16];
    (void)state;
    for (unsigned piecewise = 0; piecewise < 2; piecewise++) {
        open_usual(&r);
        long_hello(&r.to_server.sent, 65000);
        r.to_server.piece_max = piecewise * 100;
        while (buf_unread(&r.to_server.sent).len > 0)
            assert_int_equal(tls_recv(r.server.tls, text, sizeof(text)), -EAGAIN);
        assert_int_equal(r.server.tls->state, TLS_HANDSHAKING);
        assert_true(buf_unread(&r.to_client.sent).len > 500); /* hello, certificate, key */
        close_usual(&r);
    }
}

/* --- without memory --------------------------------------------------------------------------- */

static void *openssl_alloc(size_t size, const char *file UNUSED, int line UNUSED) {
    return mem_alloc(size);
}

static void *openssl_realloc(void *ptr, size_t size, const char *file UNUSED, int line UNUSED) {
    return mem_realloc(ptr, size > 0 ? size : 1);
}

static void openssl_free(void *ptr, const char *file UNUSED, int line UNUSED) {
    mem_free(ptr);
}

static void test_a_handshake_without_memory_fails_and_leaves_nothing(void **state) {
    struct tls_rig r;
    (void)state;
    rig_open(&r, client_config(&pki), server_config(&pki.good));
    rig_connect(&r, &localhost);
    shake(&r); /* what is fetched once is fetched */
    rig_hang_up(&r);
    for (long n = 0;; n += n < 60 ? 1 : 7) {
        int client = 0, server = 0;
        rig_connect(&r, &localhost);
        buf_free(&r.to_server.sent);
        mem_fail_after(n);
        client = tls_handshake(r.client.tls);
        bool failed = mem_failed();
        mem_fail_after(-1);
        assert_true(client == -EAGAIN || client == -ENOMEM || client == -EPROTO);
        if (client == -EAGAIN) {
            mem_fail_after(n);
            server = tls_handshake(r.server.tls);
            failed = mem_failed() || failed;
            mem_fail_after(-1);
            assert_true(server == -EAGAIN || server == -ENOMEM || server == -EPROTO);
        }
        rig_hang_up(&r);
        if (!failed)
            break;
    }
    rig_close(&r);
}

static void test_a_connection_without_memory_is_not_made(void **state) {
    struct tls_rig r;
    (void)state;
    rig_open(&r, client_config(&pki), server_config(&pki.good));
    for (long n = 0;; n++) {
        struct tls *t = NULL;
        mem_fail_after(n);
        int rc = tls_new(r.client_context, &localhost, &t);
        bool failed = mem_failed();
        mem_fail_after(-1);
        assert_true(rc == 0 || rc == -ENOMEM);
        assert_true(rc == 0 || failed);
        tls_free(rc == 0 ? t : NULL);
        if (!failed)
            break;
    }
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_versions_carry_bytes_both_ways),
        cmocka_unit_test(test_the_first_calls_make_the_handshake),
        cmocka_unit_test(test_a_byte_at_a_time_is_as_good),
        cmocka_unit_test(test_a_handshake_may_be_cut_anywhere),
        cmocka_unit_test(test_what_a_small_buffer_leaves_is_still_there),
        cmocka_unit_test(test_a_send_that_was_blocked_goes_on_where_it_was),
        cmocka_unit_test(test_a_look_takes_nothing_away),
        cmocka_unit_test(test_an_end_that_was_told_is_the_end),
        cmocka_unit_test(test_an_end_that_nobody_told_is_a_truncation),
        cmocka_unit_test(test_an_end_within_a_record_is_a_truncation),
        cmocka_unit_test(test_an_end_within_the_handshake_has_a_name),
        cmocka_unit_test(test_a_broken_wire_is_told_as_such),
        cmocka_unit_test(test_last_words_are_heard_when_nobody_listens),
        cmocka_unit_test(test_a_bad_record_fails_the_connection),
        cmocka_unit_test(test_certificates_are_judged),
        cmocka_unit_test(test_a_client_that_does_not_look_takes_any),
        cmocka_unit_test(test_a_server_may_ask_for_a_certificate),
        cmocka_unit_test(test_servers_show_the_certificate_of_the_name),
        cmocka_unit_test(test_what_does_not_fit_is_refused_by_name),
        cmocka_unit_test(test_ciphers_of_both_versions_stand_in_one_list),
        cmocka_unit_test(test_sessions_are_resumed_unless_that_is_off),
        cmocka_unit_test(test_a_session_is_used_once_while_there_are_others),
        cmocka_unit_test(test_renegotiation_is_refused_and_does_no_harm),
        cmocka_unit_test(test_connections_outlive_their_owner),
        cmocka_unit_test(test_strangers_are_told_apart),
        cmocka_unit_test(test_a_long_hello_is_answered),
        cmocka_unit_test(test_a_handshake_without_memory_fails_and_leaves_nothing),
        cmocka_unit_test(test_a_connection_without_memory_is_not_made),
    };
    if (CRYPTO_set_mem_functions(openssl_alloc, openssl_realloc, openssl_free) != 1)
        return 1; /* somebody has used OpenSSL already */
    return cmocka_run_group_tests(tests, open_pki, close_pki);
}
