/* SPDX-License-Identifier: MIT */
/* TLS on one connection: what OpenSSL says of each step becomes bytes, the end, or an errno. */
#include "net/tls.h"
#include "base/alloc.h"
#include <errno.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>

/* --- opening and closing ---------------------------------------------------------------------- */

static ssize_t socket_wire_recv(void *arg, void *data, size_t size) {
    const struct tls *t = arg;

    return socket_recv(t->fd, data, size);
}

static ssize_t socket_wire_send(void *arg, const void *data, size_t size) {
    const struct tls *t = arg;

    return socket_send(t->fd, data, size);
}

static const struct tls_wire_ops socket_wire = { socket_wire_recv, socket_wire_send };

/* A connection that nothing is attached to. */
static ssize_t no_wire_recv(void *arg UNUSED, void *data UNUSED, size_t size UNUSED) {
    return -ENOTCONN;
}

static ssize_t no_wire_send(void *arg UNUSED, const void *data UNUSED, size_t size UNUSED) {
    return -ENOTCONN;
}

static const struct tls_wire_ops no_wire = { no_wire_recv, no_wire_send };

void tls_attach(struct tls *t, const struct tls_wire_ops *ops, void *arg) {
    t->wire.ops = ops != NULL ? ops : &no_wire;
    t->wire.arg = arg;
    t->fd = -1;
}

void tls_attach_socket(struct tls *t, int fd) {
    tls_attach(t, &socket_wire, t);
    t->fd = fd;
}

/* SSL_set_tlsext_host_name(3) without its cast, which clang does not like; the name is copied. */
static bool send_name(SSL *ssl, const char *name) {
    return SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                    (void *)(uintptr_t)name) == 1;
}

/* RFC 6066 section 3: a name that is sent is no address. */
static bool set_name(SSL *ssl, const struct tls_peer *peer) {
    X509_VERIFY_PARAM *rules = SSL_get0_param(ssl);

    if (peer->name == NULL || X509_VERIFY_PARAM_set1_ip_asc(rules, peer->name) == 1)
        return true;
    return X509_VERIFY_PARAM_set1_host(rules, peer->name, 0) == 1 &&
           (peer->hides_name || send_name(ssl, peer->name));
}

int tls_new(struct tls_context *context, const struct tls_peer *peer, struct tls **ret) {
    struct tls *t = mem_calloc(1, sizeof(*t));

    if (t == NULL)
        return -ENOMEM;
    t->ssl = tls_context_open(context, &t->wire, peer != NULL ? peer->session : NULL);
    if (t->ssl == NULL || (peer != NULL && !set_name(t->ssl, peer))) {
        SSL_free(t->ssl);
        mem_free(t);
        ERR_clear_error();
        return -ENOMEM;
    }
    ERR_clear_error(); /* a name that is no address was noted there */
    t->context = tls_context_ref(context);
    t->recv_awaits = IO_READ;
    t->send_awaits = IO_WRITE;
    tls_attach(t, NULL, NULL);
    *ret = t;
    return 0;
}

/* Sessions of connections that were not shut down would not be resumed. */
void tls_free(struct tls *t) {
    if (t == NULL)
        return;

    SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(t->ssl);
    tls_context_unref(t->context);
    mem_free(t);
}

void tls_leave_thread(void) {
    OPENSSL_thread_stop();
}

/* --- what came of a step ---------------------------------------------------------------------- */

static int fail(struct tls *t, enum tls_state state, int failure, const char *reason) {
    t->state = (uint8_t)state;
    t->failure = failure;
    t->reason = reason;
    return failure;
}

/* The wire ended or failed, and OpenSSL has nothing to add. */
static int fail_by_wire(struct tls *t) {
    bool was_open = tls_is_open(t);

    if (t->wire.fruitless >= TLS_FRUITLESS_BYTES_MAX)
        return fail(t, TLS_FAILED_OPEN, -EPROTO, "too many records without data");
    if (t->wire.error != 0)
        return fail(t, was_open ? TLS_FAILED_WIRE : TLS_FAILED_CLOSED, t->wire.error,
                    strerrordesc_np(-t->wire.error));
    return fail(t, was_open ? TLS_TRUNCATED : TLS_FAILED_CLOSED, -ENODATA,
                was_open ? "closed without close_notify" : "closed within the handshake");
}

static int fail_by_protocol(struct tls *t) {
    unsigned long code;
    const char *reason = tls_take_reason(&code);
    int number = ERR_GET_REASON(code);

    if (number == ERR_R_MALLOC_FAILURE)
        return fail(t, tls_is_open(t) ? TLS_FAILED_OPEN : TLS_FAILED_HANDSHAKE, -ENOMEM,
                    "out of memory");
    if (ERR_GET_LIB(code) == ERR_LIB_SSL && number == SSL_R_CERTIFICATE_VERIFY_FAILED)
        return fail(t, TLS_FAILED_VERIFY, -EKEYREJECTED,
                    X509_verify_cert_error_string(SSL_get_verify_result(t->ssl)));
    return fail(t, tls_is_open(t) ? TLS_FAILED_OPEN : TLS_FAILED_HANDSHAKE, -EPROTO, reason);
}

/* A step returned `rc`, which says no. `awaits`: the one of the step, receiving or sending. */
static int refusal(struct tls *t, int rc, uint8_t *awaits) {
    switch (SSL_get_error(t->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        *awaits = IO_READ;
        return -EAGAIN;
    case SSL_ERROR_WANT_WRITE:
        *awaits = IO_WRITE;
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        t->ended = true;
        return 0;
    case SSL_ERROR_SSL:
        return fail_by_protocol(t);
    default:
        return fail_by_wire(t);
    }
}

/* A peer that stopped listening may have said something before. */
static int refuse_send(struct tls *t, int rc) {
    if (!tls_is_open(t) || SSL_get_error(t->ssl, rc) != SSL_ERROR_SYSCALL || t->wire.error == 0)
        return refusal(t, rc, &t->send_awaits);
    t->send_failure = t->wire.error;
    t->wire.error = 0;
    return t->send_failure;
}

/* Other users of OpenSSL on this thread may have left errors behind, which would be taken for those
 * of the next step: SSL_get_error(3). */
static void begin(void) {
    if (UNLIKELY(ERR_peek_error() != 0))
        ERR_clear_error();
}

/* Neither way waits any more for what the handshake waited for. */
static void become_open(struct tls *t) {
    t->state = TLS_OPEN;
    t->wire.open = true;
    t->recv_awaits = IO_READ;
    t->send_awaits = IO_WRITE;
}

static void note_open(struct tls *t) {
    if (UNLIKELY(t->state == TLS_HANDSHAKING) && SSL_is_init_finished(t->ssl))
        become_open(t);
}

/* --- the steps -------------------------------------------------------------------------------- */

int tls_handshake(struct tls *t) {
    if (t->failure != 0 || tls_is_open(t))
        return t->failure;

    begin();
    int rc = SSL_do_handshake(t->ssl);
    if (rc == 1) {
        become_open(t);
        t->has_rest = SSL_has_pending(t->ssl);
        return 0;
    }
    rc = refusal(t, rc, &t->recv_awaits);
    t->send_awaits = t->recv_awaits;
    return rc;
}

/* Reads a record at a time, until there is none: a caller that got less than it has room for waits
 * for the next event, and what has come already gives none. */
ssize_t tls_recv(struct tls *t, void *data, size_t size) {
    char *to = data;
    size_t got = 0, n = 0;
    int rc = 0;

    if (t->failure != 0 || t->ended)
        return t->failure;
    begin();
    t->recv_awaits = IO_READ;
    t->has_rest = false;
    do {
        rc = SSL_read_ex(t->ssl, to + got, size - got, &n);
        if (rc == 1)
            got += n;
    } while (rc == 1 && got < size && (t->wire.full || SSL_has_pending(t->ssl)));
    note_open(t);
    if (got > 0)
        t->wire.fruitless = 0;
    if (rc == 1) {
        t->has_rest = got == size && SSL_has_pending(t->ssl);
        return (ssize_t)got;
    }
    rc = refusal(t, rc, &t->recv_awaits);
    return got > 0 ? (ssize_t)got : rc; /* the next call tells what stays */
}

ssize_t tls_send(struct tls *t, const void *data, size_t size) {
    const char *from = data;
    size_t sent = 0, n = 0;
    int rc = 1;

    if (t->failure != 0 || t->send_failure != 0)
        return t->failure != 0 ? t->failure : t->send_failure;
    begin();
    t->send_awaits = IO_WRITE;
    while (rc == 1 && sent < size) {
        rc = SSL_write_ex(t->ssl, from + sent, size - sent, &n);
        if (rc == 1)
            sent += n;
    }
    note_open(t);
    if (rc == 1)
        return (ssize_t)sent;
    rc = refuse_send(t, rc);
    return sent > 0 ? (ssize_t)sent : rc;
}

ssize_t tls_peek_at(struct tls *t, void *data, size_t size) {
    size_t n;

    if (t->failure != 0 || t->ended)
        return t->failure;
    begin();
    t->recv_awaits = IO_READ;
    int rc = SSL_peek_ex(t->ssl, data, size, &n);
    note_open(t);
    t->has_rest = rc == 1;
    if (rc == 1)
        t->wire.fruitless = 0;
    return rc == 1 ? (ssize_t)n : refusal(t, rc, &t->recv_awaits);
}

int tls_peek(struct tls *t) {
    char byte;

    return (int)tls_peek_at(t, &byte, 1);
}

int tls_shutdown(struct tls *t) {
    if (t->failure != 0 || t->send_failure != 0 || !tls_is_open(t))
        return t->failure != 0 ? t->failure : t->send_failure;

    begin();
    int rc = SSL_shutdown(t->ssl);
    if (rc >= 0)
        return 0;
    rc = SSL_get_error(t->ssl, rc) == SSL_ERROR_WANT_WRITE ? -EAGAIN : -EPIPE;
    ERR_clear_error();
    return rc;
}

unsigned tls_awaits(const struct tls *t, unsigned what) {
    unsigned awaits = what & ~(unsigned)(IO_READ | IO_WRITE);

    if ((what & IO_READ) && (t->has_rest || t->ended || t->failure != 0))
        return 0;
    if (what & IO_READ)
        awaits |= t->recv_awaits;
    if (what & IO_WRITE)
        awaits |= t->send_awaits;
    return awaits;
}

/* --- what is known of it ---------------------------------------------------------------------- */

const char *tls_reason(const struct tls *t) {
    return t->reason != NULL ? t->reason : "";
}

/* A method and a space, where TLS has the number of a record's kind. OpenSSL knows four methods. */
bool tls_saw_http(const struct tls *t) {
    const struct tls_wire *wire = &t->wire;
    size_t n = 0;

    while (n < wire->first_len && wire->first[n] >= 'A' && wire->first[n] <= 'Z')
        n++;
    return t->state == TLS_FAILED_HANDSHAKE && n > 0 && n < wire->first_len &&
           wire->first[n] == ' ';
}

bool tls_is_resumed(const struct tls *t) {
    return SSL_session_reused(t->ssl) == 1;
}

static void describe_temp_key(SSL *ssl, char *text, size_t size) {
    EVP_PKEY *key = NULL;
    char group[40] = "";
    const char *nist = NULL;

    if (!SSL_get_peer_tmp_key(ssl, &key))
        return;
    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
        EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1)
        nist = EC_curve_nid2nist(OBJ_sn2nid(group));
    if (group[0] != '\0')
        snprintf(text, size, "ECDH %s %d bits", nist != NULL ? nist : group,
                 EVP_PKEY_get_bits(key));
    else
        snprintf(text, size, "%s %d bits", EVP_PKEY_get0_type_name(key), EVP_PKEY_get_bits(key));
    EVP_PKEY_free(key);
}

const char *tls_subject(const struct tls *t, char text[TLS_SUBJECT_BYTES]) {
    const X509 *certificate = SSL_get0_peer_certificate(t->ssl);
    BIO *bio = certificate != NULL ? BIO_new(BIO_s_mem()) : NULL;
    int n = 0;

    if (bio != NULL && X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0,
                                          XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0)
        n = BIO_read(bio, text, TLS_SUBJECT_BYTES - 1);
    text[n > 0 ? n : 0] = '\0';
    BIO_free(bio);
    return text;
}

void tls_describe(const struct tls *t, struct tls_facts *ret) {
    const unsigned char *alpn = NULL;
    unsigned int alpn_len = 0;
    const X509 *certificate = SSL_get0_peer_certificate(t->ssl);

    *ret = (struct tls_facts){
        .version = SSL_get_version(t->ssl),
        .cipher = SSL_get_cipher_name(t->ssl),
        .cipher_bits = SSL_get_cipher_bits(t->ssl, NULL),
        .server_name = SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name),
        .resumed = tls_is_resumed(t),
    };
    SSL_get0_alpn_selected(t->ssl, &alpn, &alpn_len);
    snprintf(ret->alpn, sizeof(ret->alpn), "%.*s", (int)alpn_len, (const char *)alpn);
    describe_temp_key(t->ssl, ret->temp_key, sizeof(ret->temp_key));
    if (certificate != NULL)
        ret->key_bits = EVP_PKEY_get_bits(X509_get0_pubkey(certificate));
    tls_subject(t, ret->subject);
    ERR_clear_error();
}
