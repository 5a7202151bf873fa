/* SPDX-License-Identifier: MIT */
/* Keys of tickets: shared by the contexts of a server, and changed while tickets are in use. */
#include "tls_rig.h"

/* A server's context of its own for each round, as workers and reloads have them. */
static bool resumes(struct tls_session *session, struct tls_tickets *tickets, int version) {
    struct tls_config client = client_config(&pki);
    struct tls_peer peer = { .name = "localhost", .session = session };
    struct tls_rig r;
    int client_end, server_end;
    char got[8];

    client.version_max = (enum tls_version)version;
    rig_open(&r, client, server_config(&pki.good));
    tls_context_use_tickets(r.server_context, tickets);
    rig_connect(&r, &peer);
    rig_shake(&r, &client_end, &server_end);
    assert_int_equal(client_end, 0);
    assert_int_equal(server_end, 0);
    bool resumed = tls_is_resumed(r.server.tls);
    assert_int_equal(tls_send(r.server.tls, "answer", 6), 6);
    assert_int_equal(tls_recv(r.client.tls, got, sizeof(got)), 6); /* with tickets before it */
    rig_hang_up(&r);
    rig_close(&r);
    return resumed;
}

static void tickets_outlive_contexts_and_the_key_before(void **state) {
    (void)state;
    for (int version = TLS_VERSION_1_2; version <= TLS_VERSION_1_3; version++) {
        struct tls_session old = TLS_SESSION_INIT, session = TLS_SESSION_INIT;
        struct tls_tickets *tickets = tls_tickets_new(0);
        nsec_t at = TLS_TICKETS_NSEC;

        assert_non_null(tickets);
        assert_false(resumes(&old, tickets, version));
        assert_false(resumes(&session, tickets, version));
        assert_true(resumes(&session, tickets, version));
        assert_int_equal(tls_tickets_tend(tickets, at - 1), at);
        for (unsigned i = 0; i < 5; i++) { /* each key takes tickets of the one before */
            assert_int_equal(tls_tickets_tend(tickets, at), at + TLS_TICKETS_NSEC);
            at += TLS_TICKETS_NSEC;
            bool resumed = resumes(&session, tickets, version);
            if (version == TLS_VERSION_1_3) /* clients do not keep a ticket that renews in 1.2 */
                assert_true(resumed);
            else
                assert_int_equal(resumed, i % 2 == 0);
        }
        assert_false(resumes(&old, tickets, version));
        tls_session_forget(&session);
        tls_session_forget(&old);
        tls_tickets_free(tickets);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tickets_outlive_contexts_and_the_key_before),
    };

    return cmocka_run_group_tests(tests, open_pki, close_pki);
}
