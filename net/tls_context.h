/* SPDX-License-Identifier: MIT */
/* A context holds what connections of one kind agree on before they speak TLS: certificates, whom
 * to trust, versions, ciphers. It is made from a const config, never changes, is shared by threads
 * and by processes forked later, and lives until the last of its connections is gone: a new
 * certificate is a new context, and connections of the old one go on.
 *
 * TLS 1.2 and 1.3 only. Compression is off, renegotiation is refused (RFC 9325 section 3). */
#ifndef NET_TLS_CONTEXT_H
#define NET_TLS_CONTEXT_H

#include "base/clock.h"
#include "base/error.h"
#include "base/slice.h"
#include <pthread.h>
#include <sys/types.h>

enum tls_role { TLS_SERVER, TLS_CLIENT };
enum tls_version { TLS_VERSION_ANY, TLS_VERSION_1_2, TLS_VERSION_1_3 };

enum tls_verify {
    TLS_VERIFY_NONE,     /* server: asks for no certificate; client: takes any */
    TLS_VERIFY_OPTIONAL, /* server: a certificate that comes must be good; client: as REQUIRED */
    TLS_VERIFY_REQUIRED,
};

/* PEM text, or DER where that is said, and a name of it for messages: usually the file's. */
struct tls_pem {
    const char *name;
    struct slice text;
};

/* The chain begins with the certificate of the key. */
struct tls_certificate {
    struct tls_pem chain, key;
};

/* RFC 7301: names, each behind its length. */
#define TLS_ALPN_HTTP SLICE("\x8http/1.1")

struct tls_config {
    enum tls_role role;
    enum tls_verify verify;
    enum tls_version version_min, version_max; /* ANY: all that there are */
    /* A server has at least one: the first whose names have the one that a client asks for (SNI),
     * or the first of all. A client has at most one, for servers that ask. */
    const struct tls_certificate *certificates;
    size_t certificate_count;
    /* Each, in DER and of an OCSP responder, is sent with the certificate that it is about, to
     * clients that ask, until it expires. */
    const struct tls_pem *responses;
    size_t response_count;
    struct tls_pem trust; /* certificates of authorities; no name: those of the system */
    const char *ciphers;  /* openssl-ciphers(1), names of TLS 1.3 among them; NULL: OpenSSL's */
    struct slice alpn;    /* offered by a client; accepted by a server, by its preference. Empty:
                             the extension is not used */
    bool no_resumption;   /* no tickets, no sessions: every handshake is a full one */
    bool keeps_buffers;   /* for few connections, all busy: 34 KB for each between two records, and
                             no allocation for a record */
};

struct tls_context;

/* The caller's, as one reference of it. NULL with the reason: a certificate, key or authority that
 * cannot be read, that does not fit, or a word that OpenSSL does not know. */
NODISCARD struct tls_context *tls_context_new(const struct tls_config *config, struct error *err);

/* Another owner; a connection is one by itself. Returns its argument. */
struct tls_context *tls_context_ref(struct tls_context *context);

/* NULL-safe. The last owner frees. */
void tls_context_unref(struct tls_context *context);

/* The time, in seconds since 1970, at which the certificate of `index` among those of the config
 * ends; 0: there is none. */
int64_t tls_context_expires(const struct tls_context *context, size_t index);

/* Keys of the tickets that a server hands to its clients for resumption, in memory that processes
 * forked later share: each worker takes the tickets of the others. Contexts that use them may come
 * and go. A key makes tickets for TLS_TICKETS_NSEC, and takes them for as long again. */
#define TLS_TICKETS_NSEC (12 * 3600 * NSEC_PER_SEC)
struct tls_tickets;

/* NULL when out of memory, or without random numbers. tls_tickets_free is NULL-safe. */
NODISCARD struct tls_tickets *tls_tickets_new(nsec_t now);
void tls_tickets_free(struct tls_tickets *tickets);

/* One process calls it, in time: makes a new key when that is due. Returns when the next one is. */
nsec_t tls_tickets_tend(struct tls_tickets *tickets, nsec_t now);

/* From now on, for a context that no connection has used; the tickets outlive it. */
void tls_context_use_tickets(struct tls_context *context, struct tls_tickets *tickets);

/* The last sessions that a server gave to connections of one client, for the next to resume. Each
 * is used once, since a server may see to that (RFC 8446 section 8.1), but for one that stays.
 * Threads may share it. */
enum { TLS_SESSIONS_MAX = 64 };
struct tls_session {
    pthread_mutex_t lock;
    struct ssl_session_st *kept[TLS_SESSIONS_MAX]; /* the newest last */
    unsigned count;
};
#define TLS_SESSION_INIT ((struct tls_session){ .lock = PTHREAD_MUTEX_INITIALIZER })

/* Nobody may use it any more; usable again. */
void tls_session_forget(struct tls_session *session);

/* --- for connections -------------------------------------------------------------------------- */

struct ssl_st;

/* A wire is what a connection's bytes go through: a socket, or what stands in for one. As recv(2)
 * and send(2) without blocking: bytes, 0 at the end (recv), -EAGAIN, or -errno. */
struct tls_wire_ops {
    ssize_t (*recv)(void *arg, void *data, size_t size);
    ssize_t (*send)(void *arg, const void *data, size_t size);
};

/* Records without data, like new keys and tickets, cost more to take than to send: a connection
 * fails with this many bytes of them in a row. */
enum { TLS_FRUITLESS_BYTES_MAX = 64 * 1024, TLS_FIRST_BYTES = 12 };

struct tls_wire {
    const struct tls_wire_ops *ops;
    void *arg;
    int error;  /* -errno that it failed with; 0: it works */
    bool ended; /* read to its end */
    bool full;  /* the last read had no room for more */
    bool said;  /* it has taken bytes, so that it is connected */
    bool open;  /* the handshake is complete */
    uint8_t first_len;
    char first[TLS_FIRST_BYTES]; /* what came first, which tells strangers apart */
    size_t fruitless;            /* bytes read, once open, since the owner got any */
};

/* A connection's state in OpenSSL, over a wire that outlives it; SSL_free(3). Sessions are kept in
 * `session`; NULL: not. NULL when out of memory. */
struct ssl_st *tls_context_open(const struct tls_context *context, struct tls_wire *wire,
                                struct tls_session *session);

/* Takes the reason why the last call of this thread failed: OpenSSL's words, which live for ever.
 * `*ret_code` is that of ERR_get_error(3), 0 when nothing failed. */
const char *tls_take_reason(unsigned long *ret_code);

#endif
