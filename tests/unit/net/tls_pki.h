/* SPDX-License-Identifier: MIT */
/* Certificates, good and bad, and the contexts that tests of TLS begin with. */
#ifndef TESTS_NET_TLS_PKI_H
#define TESTS_NET_TLS_PKI_H

#include "net/tls_make.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct tls_pki {
    struct tls_made authority, stranger; /* two that sign; nobody trusts the second */
    struct tls_made good, other;         /* for localhost and 127.0.0.1; for other.example */
    struct tls_made expired, early, lone, strange, rsa, client;
};

static inline void pki_make(struct tls_made *ret, struct tls_make want) {
    struct error err = { .text = "" };

    if (want.common_name == NULL)
        want.common_name = "localhost";
    if (want.names == NULL && !want.is_authority)
        want.names = "DNS:localhost,IP:127.0.0.1";
    if (tls_make(&want, ret, &err) != 0)
        fail_msg("%s", err.text);
}

static inline void pki_open(struct tls_pki *p) {
    pki_make(&p->authority, (struct tls_make){ .common_name = "Authority", .is_authority = true });
    pki_make(&p->stranger, (struct tls_make){ .common_name = "Stranger", .is_authority = true });
    const struct tls_certificate *by = &p->authority.certificate;
    pki_make(&p->good, (struct tls_make){ .issuer = by });
    pki_make(&p->other, (struct tls_make){ .common_name = "other.example",
                                           .names = "DNS:other.example,DNS:*.wild.example",
                                           .issuer = by });
    pki_make(&p->expired, (struct tls_make){ .begins_s = -7200, .ends_s = -3600, .issuer = by });
    pki_make(&p->early, (struct tls_make){ .begins_s = 3600, .ends_s = 7200, .issuer = by });
    pki_make(&p->lone, (struct tls_make){ .common_name = "localhost" });
    pki_make(&p->strange, (struct tls_make){ .issuer = &p->stranger.certificate });
    pki_make(&p->rsa, (struct tls_make){ .is_rsa = true, .issuer = by });
    pki_make(&p->client, (struct tls_make){ .common_name = "a client", .issuer = by });
}

static inline void pki_close(struct tls_pki *p) {
    struct tls_made *all[] = { &p->authority, &p->stranger, &p->good,    &p->other, &p->expired,
                               &p->early,     &p->lone,     &p->strange, &p->rsa,   &p->client };

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        tls_made_free(all[i]);
}

/* Shared by all tests of a program: fixtures of its group. */
static UNUSED struct tls_pki pki;

static UNUSED int open_pki(void **state UNUSED) {
    pki_open(&pki);
    return 0;
}

static UNUSED int close_pki(void **state UNUSED) {
    pki_close(&pki);
    return 0;
}

static inline struct tls_context *context_of(struct tls_config config) {
    struct error err = { .text = "" };
    struct tls_context *context = tls_context_new(&config, &err);

    if (context == NULL)
        fail_msg("%s", err.text);
    return context;
}

/* A server with one certificate, and a client that trusts the authority. */
static inline struct tls_config server_config(const struct tls_made *shown) {
    return (struct tls_config){ .role = TLS_SERVER,
                                .certificates = &shown->certificate,
                                .certificate_count = 1,
                                .alpn = TLS_ALPN_HTTP };
}

static inline struct tls_config client_config(const struct tls_pki *p) {
    return (struct tls_config){ .role = TLS_CLIENT,
                                .verify = TLS_VERIFY_REQUIRED,
                                .trust = p->authority.certificate.chain,
                                .alpn = TLS_ALPN_HTTP };
}

#endif
