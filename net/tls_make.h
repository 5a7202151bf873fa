/* SPDX-License-Identifier: MIT */
/* Certificates that are made when they are needed: for tests, and for servers that show faulty ones
 * on purpose. None lasts longer than the process that made it. */
#ifndef NET_TLS_MAKE_H
#define NET_TLS_MAKE_H

#include "base/buf.h"
#include "net/tls_context.h"

struct tls_make {
    const char *common_name;
    const char *names;        /* subjectAltName, "DNS:localhost,IP:127.0.0.1"; NULL: none */
    int64_t begins_s, ends_s; /* from now, in seconds; may be in the past. Both 0: an hour ago, in
                                  30 days */
    bool is_authority;        /* may sign others */
    bool is_rsa;              /* 2048 bits; else ECDSA over P-256 */
    const struct tls_certificate *issuer; /* NULL: signed by itself */
};

/* PEM in memory of its own. */
struct tls_made {
    struct buf chain, key;
    struct tls_certificate certificate; /* both, as a context wants them */
};

/* 0 or -errno with the reason. tls_made_free in any case. */
NODISCARD int tls_make(const struct tls_make *want, struct tls_made *ret, struct error *err);
void tls_made_free(struct tls_made *made);

#endif
