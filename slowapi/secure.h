/* SPDX-License-Identifier: MIT */
/* TLS of slowapi: the certificates, good and faulty, that are made at the start, and the handshakes
 * of connections with their faults.
 *
 *   slow_secure_open      a connection at an https address, with the faults that were rolled
 *   slow_secure_step      goes on with the handshake, until it is complete or a fault is due
 *   slow_secure_leave     back to bare bytes */
#ifndef SLOWAPI_SECURE_H
#define SLOWAPI_SECURE_H

#include "net/tls.h"
#include "net/tls_files.h"
#include "slowapi/fault.h"

/* Kinds of certificates that a context can begin with. */
enum slow_secure_certificate {
    SLOW_GOOD,
    SLOW_EXPIRED,
    SLOW_SELF_SIGNED,
    SLOW_WRONG_NAME,
    SLOW_CERTIFICATES,
};

/* Contexts of a server, made before its workers are forked. */
struct slow_secure {
    struct tls_context *contexts[SLOW_CERTIFICATES];
    struct tls_context *unresumed; /* the good one, for handshakes with faults */
};

/* Makes certificates and contexts, and writes the authority that has signed what was made to
 * `ca_out` (a path, or NULL). Without files of certificates the good one is made, too, for
 * localhost, its addresses and the name of the machine. 0, or -errno with a reason. Say
 * slow_secure_free in any case. */
NODISCARD int slow_secure_make(struct slow_secure *s, const struct tls_files *files,
                               const char *ca_out, struct error *err);
void slow_secure_free(struct slow_secure *s);

/* Faults of one handshake; a connection without has none. */
struct slow_secure_faults;

/* Opens TLS for a connection, with the faults of its handshake: `*ret_faults` is NULL when there
 * are none. 0 or -ENOMEM. */
NODISCARD int slow_secure_open(const struct slow_secure *s, struct watch *w,
                               const struct fault *list, size_t count,
                               struct slow_secure_faults **ret_faults);

/* Goes on with the handshake: 0 when it is complete, -EAGAIN, or -errno (net/tls.h). When it has
 * come to the place of a fault, that is `*ret_due`, once. */
NODISCARD int slow_secure_step(struct watch *w, struct slow_secure_faults *faults,
                               struct fault **ret_due);

/* The fault that the client has chosen by the name that it asked for (SNI), such as
 * tls-expired.localhost; FAULT_KINDS: none. */
enum fault_kind slow_secure_asked(const struct tls *t);

/* Back to bare bytes, without a word to the client; NULL-safe. */
void slow_secure_leave(struct watch *w, struct slow_secure_faults *faults);

/* Sends half of a record, of which the client cannot read a byte. */
void slow_secure_cut(struct watch *w);

#endif
