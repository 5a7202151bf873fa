/* SPDX-License-Identifier: MIT */
/* TLS on one connection, over a wire that never blocks; it makes its handshake within the first
 * calls.
 *
 * Most owners never call these. They make a struct tls, say watch_secure (net/watch.h) or io_secure
 * (fiber/io.h) once, and go on with watch_recv, io_read and so on, which then mean what is within:
 *
 *   rc = tls_new(context, NULL, &t);        a server's side; clients name their server
 *   watch_secure(&c->watch, t);
 *   n = watch_recv(&c->watch, ...);         the handshake, then bytes
 *   (void)tls_shutdown(t);                  says that no more will be sent: close_notify
 *   watch_close(&c->watch);
 *   tls_free(t);                            after the watch, or io_close
 *
 * What calls return: bytes; 0 where the peer said that it ends (close_notify); -EAGAIN; or a
 * failure, which stays: all later calls return it, too.
 *
 *   -EPROTO        the peer, or one of us, does not like what was said; tls_reason tells
 *   -EKEYREJECTED  its certificate is not to be trusted; tls_reason tells
 *   -ENODATA       it closed the connection without close_notify: what came may be a part
 *   -ENOMEM, and those of recv(2) and send(2)
 *
 * After -EAGAIN a send must begin with the bytes of before, and have at least as many: they are
 * encrypted already, and maybe on their way. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "net/loop.h"
#include "net/socket.h"
#include "net/tls_context.h"

/* A kind for counters: how far a connection came, or why it failed. */
enum tls_state {
    TLS_HANDSHAKING,
    TLS_OPEN,
    TLS_FAILED_HANDSHAKE, /* -EPROTO */
    TLS_FAILED_VERIFY,    /* -EKEYREJECTED */
    TLS_FAILED_CLOSED,    /* the wire ended or failed within the handshake */
    TLS_FAILED_OPEN,      /* -EPROTO after the handshake: a bad record, or an alert */
    TLS_TRUNCATED,        /* -ENODATA after the handshake */
    TLS_FAILED_WIRE,      /* recv(2) or send(2) failed after the handshake */
};

struct tls {
    struct ssl_st *ssl;
    struct tls_context *context; /* one of its owners */
    struct tls_wire wire;
    struct tls *next; /* in the list of one io_block */
    int fd;           /* set by tls_attach_socket; -1: another wire */
    uint8_t state;    /* enum tls_state */
    bool ended;       /* the peer's close_notify was read */
    bool has_rest;    /* there was more to read than the last caller had room for */
    bool may_go_on;   /* `turn` below has come */
    /* IO_* bits that the last receive and send wait for, whichever way their bytes go: within a
     * handshake a send may wait for bytes to come. 0: nothing. */
    uint8_t recv_awaits, send_awaits;
    int failure;          /* -errno that stays; 0: none */
    int send_failure;     /* of send(2), once open: what has come can still be read; 0: none */
    const char *reason;   /* lives for ever; NULL: none */
    struct deferred turn; /* a watch's: handshakes take turns on a loop */
    struct deferred news; /* a watch's: an end that came with the last bytes gives no event */
};

/* A client's server. */
struct tls_peer {
    const char *name; /* demanded of the certificate (a host name or an IP address), and told to the
                         server unless it is an address (SNI); NULL: neither */
    bool hides_name;  /* SNI is not sent */
    struct tls_session *session; /* one per server and name; NULL: none is resumed */
};

/* A connection; `peer` is NULL for a server. 0 or -ENOMEM. */
NODISCARD int tls_new(struct tls_context *context, const struct tls_peer *peer, struct tls **ret);

/* NULL-safe. Says nothing to the peer. No watch and no io knows it any more. */
void tls_free(struct tls *t);

/* Bytes go through `ops` from now on, or through a socket; the caller's, until the next attach. */
void tls_attach(struct tls *t, const struct tls_wire_ops *ops, void *arg);
void tls_attach_socket(struct tls *t, int fd);

/* A thread that has used connections is about to end: what it has of OpenSSL goes now. (It would go
 * with the thread, whose end nobody waits for when it is detached.) */
void tls_leave_thread(void);

/* Goes on with the handshake. 0 when it is complete, or as all calls. */
NODISCARD int tls_handshake(struct tls *t);

/* Receives as many bytes as there are and `size` (at least 1) has room for: fewer mean that all was
 * read. */
NODISCARD ssize_t tls_recv(struct tls *t, void *data, size_t size);

/* Bytes, maybe fewer than asked for. */
NODISCARD ssize_t tls_send(struct tls *t, const void *data, size_t size);

/* Looks for something to read, which stays: 1, or as tls_recv. Takes in what is no news to the
 * owner, like tickets. */
NODISCARD int tls_peek(struct tls *t);

/* Looks as tls_peek, and shows bytes of the record that is next: as many as `size` (at least 1) has
 * room for. How many, 0 at the end, or -errno. */
NODISCARD ssize_t tls_peek_at(struct tls *t, void *data, size_t size);

/* Says that no more will be sent (close_notify), when there is somebody to tell. 0, or -errno: no
 * reason to wait. Reading may go on. */
int tls_shutdown(struct tls *t);

/* Translates what a caller waits for (IO_READ, IO_WRITE, other bits) to what its socket is to be
 * waited for; 0: not at all, since bytes, an end or a failure that came before are still to be
 * read. */
unsigned tls_awaits(const struct tls *t, unsigned what);

static inline bool tls_is_open(const struct tls *t) {
    return t->state == TLS_OPEN;
}

/* The reason of a failure for people, in OpenSSL's words; "" without one. Lives for ever. */
const char *tls_reason(const struct tls *t);

/* A peer that spoke HTTP without TLS: the handshake failed, and the peer can read an answer without
 * TLS. */
bool tls_saw_http(const struct tls *t);

/* Whether an open connection goes on with an earlier session. */
bool tls_is_resumed(const struct tls *t);

enum { TLS_SUBJECT_BYTES = 256 }; /* with its NUL; longer ones are cut */

/* The subject in the peer's certificate, as RFC 2253; "": none came. Returns `text`. */
const char *tls_subject(const struct tls *t, char text[TLS_SUBJECT_BYTES]);

/* Facts of an open connection. Texts live as long as it does. */
struct tls_facts {
    const char *version, *cipher; /* "TLSv1.3", "TLS_AES_256_GCM_SHA384" */
    char alpn[32];                /* "" when none */
    const char *server_name;      /* SNI; NULL: none was sent */
    int cipher_bits;
    int key_bits;      /* in the peer's certificate; 0: none came */
    char temp_key[64]; /* "X25519 253 bits"; "" when resumed without one */
    char subject[TLS_SUBJECT_BYTES];
    bool resumed;
};
void tls_describe(const struct tls *t, struct tls_facts *ret);

#endif
