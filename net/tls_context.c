/* SPDX-License-Identifier: MIT */
/* Makes an SSL_CTX for each certificate from a const config, and is OpenSSL's way to the bytes of a
 * connection. */
#include "net/tls_context.h"
#include "base/alloc.h"
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <time.h>

enum { CIPHER_TEXT_BYTES = 1024 };

/* A responder of OCSP says it of a certificate, and clients get it (RFC 6066 section 8). */
struct staple {
    unsigned char *der; /* NULL: nothing */
    int len;
    int64_t ends_s; /* its end, since 1970; INT64_MAX: it has none */
};

struct tls_context {
    atomic_int owners;
    enum tls_role role;
    BIO_METHOD *wire_method;
    const struct tls_tickets *tickets; /* NULL: OpenSSL's own */
    unsigned char *alpn;
    unsigned int alpn_len;
    SSL_CTX **by_certificate; /* the first one is that of all connections until SNI tells more */
    struct staple *staples;   /* one per certificate */
    size_t count;             /* at least 1, once it is made */
};

const char *tls_take_reason(unsigned long *ret_code) {
    unsigned long code = ERR_get_error(); /* the first one: those behind say where it was noticed */
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

    ERR_clear_error();
    if (ret_code != NULL)
        *ret_code = code;
    return reason != NULL ? reason : "no reason given";
}

/* --- certificates and keys -------------------------------------------------------------------- */

/* A key behind a passphrase would ask the terminal. */
static int no_passphrase(char *text UNUSED, int size UNUSED, int writes UNUSED, void *arg) {
    bool *asked = arg;

    *asked = true;
    return -1;
}

static BIO *open_pem(const struct tls_pem *pem) {
    return pem->text.len < INT32_MAX ? BIO_new_mem_buf(pem->text.ptr, (int)pem->text.len) : NULL;
}

/* PEM_read_bio_X509(3) says NO_START_LINE where there is no further certificate. */
static bool is_end_of_pem(void) {
    unsigned long code = ERR_peek_last_error();

    return ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
}

/* Calls `take` for each certificate of the text. 0 or -EINVAL with the reason. */
static int each_certificate(const struct tls_pem *pem, int (*take)(void *arg, X509 *one, int nth),
                            void *arg, struct error *err) {
    BIO *bio = open_pem(pem);
    int count = 0, taken = 1;
    X509 *one;

    ERR_clear_error();
    while (bio != NULL && taken == 1 && (one = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        taken = take(arg, one, count++);
        X509_free(one);
    }
    bool complete = bio != NULL && taken == 1 && count > 0 && is_end_of_pem();
    BIO_free(bio);
    bool empty = count == 0 && is_end_of_pem();
    const char *reason = tls_take_reason(NULL);
    if (empty)
        return error_set(err, -EINVAL, "'%s' has no certificate in PEM", pem->name);
    return complete ? 0 : error_set(err, -EINVAL, "certificate '%s': %s", pem->name, reason);
}

static int take_chain(void *arg, X509 *one, int nth) {
    return nth == 0 ? SSL_CTX_use_certificate(arg, one) : (int)SSL_CTX_add1_chain_cert(arg, one);
}

static int use_key(SSL_CTX *ctx, const struct tls_certificate *certificate, struct error *err) {
    const struct tls_pem *pem = &certificate->key;
    BIO *bio = open_pem(pem);
    struct slice mark = SLICE("PRIVATE KEY-----");
    bool asked = false;
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked) : NULL;
    int rc = 0;

    BIO_free(bio);
    if (key == NULL && asked)
        rc = error_set(err, -EINVAL, "key '%s' has a passphrase; give one without", pem->name);
    else if (key == NULL && memmem(pem->text.ptr, pem->text.len, mark.ptr, mark.len) == NULL)
        rc = error_set(err, -EINVAL, "'%s' has no private key in PEM", pem->name);
    else if (key == NULL)
        rc = error_set(err, -EINVAL, "key '%s': %s", pem->name, tls_take_reason(NULL));
    else if (X509_check_private_key(SSL_CTX_get0_certificate(ctx), key) != 1)
        rc = error_set(err, -EINVAL, "key '%s' is not that of certificate '%s'", pem->name,
                       certificate->chain.name);
    else if (SSL_CTX_use_PrivateKey(ctx, key) != 1)
        rc = error_set(err, -EINVAL, "key '%s': %s", pem->name, tls_take_reason(NULL));
    EVP_PKEY_free(key);
    ERR_clear_error();
    return rc;
}

/* A server tells its clients, too, whose certificates it takes. */
static int take_trusted(void *arg, X509 *one, int nth UNUSED) {
    SSL_CTX *ctx = arg;

    return X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), one) == 1 &&
           SSL_CTX_add_client_CA(ctx, one) == 1;
}

static int use_trust(SSL_CTX *ctx, const struct tls_config *config, struct error *err) {
    int mode = SSL_VERIFY_PEER;

    if (config->verify == TLS_VERIFY_NONE)
        return 0;
    if (config->verify == TLS_VERIFY_REQUIRED)
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(ctx, mode, NULL);
    if (config->trust.name != NULL)
        return each_certificate(&config->trust, take_trusted, ctx, err);
    if (SSL_CTX_set_default_verify_paths(ctx) != 1)
        return error_set(err, -EINVAL, "the system's certificates: %s", tls_take_reason(NULL));
    return 0;
}

/* --- what OCSP responders say of certificates ------------------------------------------------- */

/* Whether `id` names the certificate, as far as that tells who has issued it: by serial number and
 * issuer's name (RFC 6960 section 4.1.1). */
static bool is_about(const OCSP_CERTID *id, const X509 *certificate) {
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    ASN1_OCTET_STRING *name = NULL;
    ASN1_OBJECT *digest = NULL;
    ASN1_INTEGER *serial = NULL;

    OCSP_id_get0_info(&name, &digest, NULL, &serial, (OCSP_CERTID *)(uintptr_t)id);
    const EVP_MD *md = EVP_get_digestbyobj(digest);
    return md != NULL && ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(certificate)) == 0 &&
           X509_NAME_digest(X509_get_issuer_name(certificate), md, hash, &len) == 1 &&
           (unsigned)ASN1_STRING_length(name) == len &&
           memcmp(ASN1_STRING_get0_data(name), hash, len) == 0;
}

static OCSP_SINGLERESP *find_response(OCSP_BASICRESP *basic, const X509 *certificate) {
    for (int i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *one = OCSP_resp_get0(basic, i);

        if (is_about(OCSP_SINGLERESP_get0_id(one), certificate))
            return one;
    }
    return NULL;
}

/* In the chain behind it, or itself; NULL: it is not there. */
static X509 *issuer_of(SSL_CTX *ctx) {
    X509 *certificate = SSL_CTX_get0_certificate(ctx);
    STACK_OF(X509) *chain = NULL;

    SSL_CTX_get0_chain_certs(ctx, &chain);
    for (int i = 0; i < sk_X509_num(chain); i++)
        if (X509_check_issued(sk_X509_value(chain, i), certificate) == X509_V_OK)
            return sk_X509_value(chain, i);
    return X509_check_issued(certificate, certificate) == X509_V_OK ? certificate : NULL;
}

/* By the issuer, or by whom it has appointed. Clients check it in any case: without the issuer in
 * the chain, nobody does here. */
static bool is_signed(OCSP_BASICRESP *basic, SSL_CTX *ctx) {
    X509 *issuer = issuer_of(ctx);
    X509_STORE *store = issuer != NULL ? X509_STORE_new() : NULL;
    STACK_OF(X509) *signers = store != NULL ? sk_X509_new_null() : NULL;
    bool good = signers != NULL && sk_X509_push(signers, issuer) > 0 &&
                X509_STORE_add_cert(store, issuer) == 1 &&
                X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1 &&
                OCSP_basic_verify(basic, signers, store, 0) == 1;

    sk_X509_free(signers);
    X509_STORE_free(store);
    return issuer == NULL || good;
}

enum { STAPLE_CLOCK_SKEW_S = 300 };

static int check_response(const char *file, OCSP_BASICRESP *basic, OCSP_SINGLERESP *one,
                          SSL_CTX *ctx, struct staple *ret, struct error *err) {
    ASN1_GENERALIZEDTIME *begins = NULL, *ends = NULL;
    int status = OCSP_single_get0_status(one, NULL, NULL, &begins, &ends);
    struct tm end;

    if (status != V_OCSP_CERTSTATUS_GOOD)
        return error_set(err, -EINVAL, "OCSP response '%s': its certificate is %s", file,
                         OCSP_cert_status_str(status));
    if (OCSP_check_validity(begins, ends, STAPLE_CLOCK_SKEW_S, -1) != 1)
        return error_set(err, -EINVAL, "OCSP response '%s': %s", file, tls_take_reason(NULL));
    if (!is_signed(basic, ctx))
        return error_set(err, -EINVAL,
                         "OCSP response '%s': its signature is not good, or not that of the "
                         "certificate's issuer",
                         file);
    ret->ends_s = ends != NULL && ASN1_TIME_to_tm(ends, &end) == 1 ? timegm(&end) : INT64_MAX;
    return 0;
}

static int keep_response(struct staple *s, const struct tls_pem *response, struct error *err) {
    unsigned char *der = mem_alloc(response->text.len);

    if (der == NULL)
        return error_set(err, -ENOMEM, "TLS: out of memory");
    memcpy(der, response->text.ptr, response->text.len);
    mem_free(s->der);
    s->der = der;
    s->len = (int)response->text.len;
    return 0;
}

/* Several certificates may have one name, but each has a number of its own. */
static int place_response(struct tls_context *c, const struct tls_pem *response,
                          OCSP_BASICRESP *basic, struct error *err) {
    for (size_t i = 0; i < c->count; i++) {
        SSL_CTX *ctx = c->by_certificate[i];
        OCSP_SINGLERESP *one = find_response(basic, SSL_CTX_get0_certificate(ctx));

        if (one == NULL)
            continue;
        int rc = check_response(response->name, basic, one, ctx, &c->staples[i], err);
        return rc == 0 ? keep_response(&c->staples[i], response, err) : rc;
    }
    return error_set(err, -EINVAL, "OCSP response '%s' is about none of the certificates",
                     response->name);
}

static int take_response(struct tls_context *c, const struct tls_pem *response, struct error *err) {
    const unsigned char *at = (const unsigned char *)response->text.ptr;
    size_t len = response->text.len;
    OCSP_RESPONSE *whole = len < INT32_MAX ? d2i_OCSP_RESPONSE(NULL, &at, (long)len) : NULL;
    OCSP_BASICRESP *basic = NULL;
    int rc, status = whole != NULL ? OCSP_response_status(whole) : 0;

    if (whole == NULL || at != (const unsigned char *)response->text.ptr + len)
        rc = error_set(err, -EINVAL, "'%s' is no OCSP response in DER", response->name);
    else if (status != OCSP_RESPONSE_STATUS_SUCCESSFUL)
        rc = error_set(err, -EINVAL, "OCSP response '%s': the responder said %s", response->name,
                       OCSP_response_status_str(status));
    else if ((basic = OCSP_response_get1_basic(whole)) == NULL)
        rc = error_set(err, -EINVAL, "OCSP response '%s': %s", response->name,
                       tls_take_reason(NULL));
    else
        rc = place_response(c, response, basic, err);
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(whole);
    ERR_clear_error();
    return rc;
}

/* SSL_CTX_set_tlsext_status_cb(3): OpenSSL frees what it is given. Clients would break off at one
 * that has expired, and go on without one. */
static int staple_response(SSL *ssl, void *arg) {
    const struct staple *s = arg;
    unsigned char *copy;

    if (s->der == NULL || s->ends_s <= clock_wall() / NSEC_PER_SEC)
        return SSL_TLSEXT_ERR_NOACK;
    copy = OPENSSL_memdup(s->der, (size_t)s->len);
    if (copy == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, s->len);
    return SSL_TLSEXT_ERR_OK;
}

static int take_responses(struct tls_context *c, const struct tls_config *config,
                          struct error *err) {
    int rc = 0;

    for (size_t i = 0; i < config->response_count && rc == 0; i++)
        rc = take_response(c, &config->responses[i], err);
    for (size_t i = 0; i < c->count && config->response_count > 0; i++) {
        SSL_CTX_set_tlsext_status_cb(c->by_certificate[i], staple_response);
        SSL_CTX_set_tlsext_status_arg(c->by_certificate[i], &c->staples[i]);
    }
    return rc;
}

/* --- versions and ciphers --------------------------------------------------------------------- */

static int version_number(enum tls_version version, int any) {
    switch (version) {
    case TLS_VERSION_1_2:
        return TLS1_2_VERSION;
    case TLS_VERSION_1_3:
        return TLS1_3_VERSION;
    case TLS_VERSION_ANY:
        break;
    }
    return any;
}

static size_t append_name(char *text, size_t len, struct slice name) {
    if (len > 0)
        text[len++] = ':';
    memcpy(text + len, name.ptr, name.len);
    text[len + name.len] = '\0';
    return len + name.len;
}

/* OpenSSL has one list for TLS 1.3, whose names begin with TLS_, and one for all before. */
static int use_ciphers(SSL_CTX *ctx, const char *ciphers, struct error *err) {
    char older[CIPHER_TEXT_BYTES] = "", newer[CIPHER_TEXT_BYTES] = "";
    size_t older_len = 0, newer_len = 0;
    struct slice rest = slice_str(ciphers);

    if (ciphers == NULL)
        return 0;
    if (rest.len + 2 > CIPHER_TEXT_BYTES)
        return error_set(err, -EINVAL, "ciphers: the list is too long");
    while (rest.len > 0) {
        struct slice name = slice_trim(slice_cut(&rest, ':'));
        if (name.len > 0 && slice_starts_with(name, SLICE("TLS_")))
            newer_len = append_name(newer, newer_len, name);
        else if (name.len > 0)
            older_len = append_name(older, older_len, name);
    }
    if ((older_len > 0 && SSL_CTX_set_cipher_list(ctx, older) != 1) ||
        (newer_len > 0 && SSL_CTX_set_ciphersuites(ctx, newer) != 1) || older_len + newer_len == 0)
        return error_set(err, -EINVAL, "ciphers '%s': %s", ciphers, tls_take_reason(NULL));
    return 0;
}

static void set_modes(SSL_CTX *ctx, const struct tls_config *config) {
    /* Buffers may move between two tries of a send, and it may take a part, as send(2). */
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (!config->keeps_buffers)
        SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_read_ahead(ctx, 1); /* one recv(2) takes head and body of a record, and more */

    /* A server's sessions are in tickets, so that workers share them and nothing grows. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    if (config->no_resumption) {
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(ctx, 0);
    }
    if (config->role == TLS_SERVER)
        SSL_CTX_set_dh_auto(ctx, 1);
}

/* --- what the peer asks for ------------------------------------------------------------------- */

static int choose_certificate(SSL *ssl, int *alert UNUSED, void *arg) {
    const struct tls_context *c = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    for (size_t i = 0; name != NULL && i < c->count; i++) {
        X509 *certificate = SSL_CTX_get0_certificate(c->by_certificate[i]);
        if (X509_check_host(certificate, name, 0, 0, NULL) == 1) {
            SSL_set_SSL_CTX(ssl, c->by_certificate[i]);
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return name != NULL ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

/* RFC 7301 section 3.2: a client that speaks none of ours is refused. */
static int choose_protocol(SSL *ssl UNUSED, const unsigned char **ret, unsigned char *ret_len,
                           const unsigned char *offered, unsigned int offered_len, void *arg) {
    const struct tls_context *c = arg;
    unsigned char *chosen = NULL;

    if (SSL_select_next_proto(&chosen, ret_len, c->alpn, c->alpn_len, offered, offered_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *ret = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int use_alpn(struct tls_context *c, SSL_CTX *ctx) {
    if (c->alpn_len == 0)
        return 0;
    if (c->role == TLS_SERVER)
        SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, c);
    else if (SSL_CTX_set_alpn_protos(ctx, c->alpn, c->alpn_len) != 0)
        return -ENOMEM;
    return 0;
}

/* --- sessions that a client resumes ----------------------------------------------------------- */

/* The oldest makes room. */
static int keep_session(SSL *ssl, SSL_SESSION *session) {
    struct tls_session *s = SSL_get_app_data(ssl);
    SSL_SESSION *oldest = NULL;

    if (s == NULL)
        return 0;
    pthread_mutex_lock(&s->lock);
    if (s->count == TLS_SESSIONS_MAX) {
        oldest = s->kept[0];
        s->count--;
        memmove(&s->kept[0], &s->kept[1], s->count * sizeof(s->kept[0]));
    }
    s->kept[s->count++] = session;
    pthread_mutex_unlock(&s->lock);
    SSL_SESSION_free(oldest);
    return 1;
}

static void offer_session(SSL *ssl, struct tls_session *s) {
    SSL_SESSION *used_up = NULL;

    pthread_mutex_lock(&s->lock);
    if (s->count > 0)
        SSL_set_session(ssl, s->kept[s->count - 1]);
    if (s->count > 1)
        used_up = s->kept[--s->count];
    pthread_mutex_unlock(&s->lock);
    SSL_SESSION_free(used_up);
}

void tls_session_forget(struct tls_session *s) {
    while (s->count > 0)
        SSL_SESSION_free(s->kept[--s->count]);
}

/* --- tickets that a server hands out ---------------------------------------------------------- */

/* RFC 5077 section 4: a name, a key to encrypt with, and one to authenticate. */
struct ticket_key {
    unsigned char name[16], aes[32], hmac[32];
};

enum { TICKET_KEYS = 3 }; /* one is in use, one was, and one comes next */

struct tls_tickets {
    nsec_t next_at;
    atomic_uint current; /* makes tickets; the one before it, in a ring, still takes them */
    struct ticket_key keys[TICKET_KEYS];
};

static bool make_key(struct ticket_key *key) {
    return RAND_bytes(key->name, sizeof(key->name)) == 1 &&
           RAND_priv_bytes(key->aes, sizeof(key->aes)) == 1 &&
           RAND_priv_bytes(key->hmac, sizeof(key->hmac)) == 1;
}

struct tls_tickets *tls_tickets_new(nsec_t now) {
    struct tls_tickets *t = mem_share(sizeof(*t));
    bool made = t != NULL;

    for (unsigned i = 0; made && i < TICKET_KEYS; i++)
        made = make_key(&t->keys[i]);
    if (!made) {
        tls_tickets_free(t);
        return NULL;
    }
    t->next_at = deadline_after(now, TLS_TICKETS_NSEC);
    return t;
}

void tls_tickets_free(struct tls_tickets *t) {
    mem_unshare(t, sizeof(*t));
}

/* The key that was to come is used, and the oldest is made anew, to come next. */
nsec_t tls_tickets_tend(struct tls_tickets *t, nsec_t now) {
    unsigned next = (atomic_load(&t->current) + 1) % TICKET_KEYS;

    if (now < t->next_at)
        return t->next_at;
    if (make_key(&t->keys[next])) /* unused so far, or for long */
        atomic_store(&t->current, next);
    t->next_at = deadline_after(now, TLS_TICKETS_NSEC);
    return t->next_at;
}

static bool init_mac(EVP_MAC_CTX *mac, const struct ticket_key *key) {
    unsigned char secret[sizeof(key->hmac)];
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, secret, sizeof(secret)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };

    memcpy(secret, key->hmac, sizeof(secret));
    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* The key with that name, unless it is the one to come; TICKET_KEYS: there is none. */
static unsigned find_key(const struct tls_tickets *t, const unsigned char *name, unsigned current) {
    for (unsigned i = 0; i < TICKET_KEYS; i++)
        if (memcmp(name, t->keys[i].name, sizeof(t->keys[i].name)) == 0)
            return i != (current + 1) % TICKET_KEYS ? i : TICKET_KEYS;
    return TICKET_KEYS;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3): 1: good; 2: good, and the client gets a new one; 0: not
 * known; -1: a failure. Clients of TLS 1.3 use a ticket once (RFC 8446 appendix C.4), so that each
 * connection leaves them the next. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int encrypts) {
    const struct tls_context *c = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    const struct tls_tickets *t = c->tickets;
    unsigned current = atomic_load(&t->current);
    unsigned i = encrypts ? current : find_key(t, name, current);

    if (i == TICKET_KEYS)
        return 0;
    if (encrypts && RAND_bytes(iv, EVP_MAX_IV_LENGTH) != 1)
        return -1;
    if (encrypts)
        memcpy(name, t->keys[i].name, sizeof(t->keys[i].name));
    if (EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, t->keys[i].aes, iv, encrypts) != 1 ||
        !init_mac(mac, &t->keys[i]))
        return -1;
    return i == current && SSL_version(ssl) < TLS1_3_VERSION ? 1 : 2;
}

void tls_context_use_tickets(struct tls_context *c, struct tls_tickets *tickets) {
    c->tickets = tickets;
    for (size_t i = 0; i < c->count; i++) {
        SSL_CTX_set_app_data(c->by_certificate[i], c);
        SSL_CTX_set_tlsext_ticket_key_evp_cb(c->by_certificate[i], on_ticket);
    }
}

/* --- the wire --------------------------------------------------------------------------------- */

static void note_first(struct tls_wire *wire, const char *data, size_t n) {
    size_t room = sizeof(wire->first) - wire->first_len;
    size_t taken = n < room ? n : room;

    memcpy(wire->first + wire->first_len, data, taken);
    wire->first_len = (uint8_t)(wire->first_len + taken);
}

static ssize_t wire_receive(struct tls_wire *wire, char *data, size_t size) {
    if (UNLIKELY(wire->fruitless >= TLS_FRUITLESS_BYTES_MAX))
        return -EPROTO;

    ssize_t n = wire->ops->recv(wire->arg, data, size);
    if (n > 0 && LIKELY(wire->open))
        wire->fruitless += (size_t)n;
    else if (n > 0 && wire->first_len < sizeof(wire->first))
        note_first(wire, data, (size_t)n);
    return n;
}

static int wire_read(BIO *bio, char *data, int size) {
    struct tls_wire *wire = BIO_get_data(bio);
    ssize_t n = wire_receive(wire, data, (size_t)size);

    BIO_clear_retry_flags(bio);
    wire->full = n == size;
    if (n > 0)
        return (int)n;
    if (n == -EAGAIN)
        BIO_set_retry_read(bio);
    else if (n < 0)
        wire->error = (int)n;
    else
        wire->ended = true;
    return n == 0 ? 0 : -1;
}

static int wire_write(BIO *bio, const char *data, int size) {
    struct tls_wire *wire = BIO_get_data(bio);
    ssize_t n = wire->ops->send(wire->arg, data, (size_t)size);

    BIO_clear_retry_flags(bio);
    wire->said |= n > 0;
    if (n >= 0)
        return (int)n;
    if (n == -EAGAIN)
        BIO_set_retry_write(bio);
    else
        wire->error = (int)n;
    return -1;
}

/* OpenSSL asks for flushes, and for what only its own kinds of BIO can do. */
static long wire_control(BIO *bio UNUSED, int command, long number UNUSED, void *arg UNUSED) {
    return command == BIO_CTRL_FLUSH;
}

static int wire_create(BIO *bio) {
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *new_wire_method(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "wire");

    if (method != NULL) {
        BIO_meth_set_read(method, wire_read);
        BIO_meth_set_write(method, wire_write);
        BIO_meth_set_ctrl(method, wire_control);
        BIO_meth_set_create(method, wire_create);
    }
    return method;
}

SSL *tls_context_open(const struct tls_context *c, struct tls_wire *wire,
                      struct tls_session *session) {
    SSL *ssl = SSL_new(c->by_certificate[0]);
    BIO *bio = ssl != NULL ? BIO_new(c->wire_method) : NULL;

    if (bio == NULL) {
        SSL_free(ssl);
        ERR_clear_error();
        return NULL;
    }
    BIO_set_data(bio, wire);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_app_data(ssl, session);
    if (session != NULL)
        offer_session(ssl, session);
    if (c->role == TLS_SERVER)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    return ssl;
}

/* --- making and freeing ----------------------------------------------------------------------- */

static void set_callbacks(struct tls_context *c, SSL_CTX *ctx, const struct tls_config *config) {
    static const unsigned char id[] = "srv"; /* wanted with client certificates */

    if (c->role == TLS_SERVER) {
        SSL_CTX_set_session_id_context(ctx, id, sizeof(id) - 1);
        SSL_CTX_set_tlsext_servername_callback(ctx, choose_certificate);
        SSL_CTX_set_tlsext_servername_arg(ctx, c);
    } else if (!config->no_resumption) {
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(ctx, keep_session);
    }
}

/* `certificate` NULL: a client without. The context has the SSL_CTX, finished or not. */
static int add_certificate(struct tls_context *c, const struct tls_config *config,
                           const struct tls_certificate *certificate, struct error *err) {
    int newest = version_number(config->version_max, 0);
    int oldest = version_number(config->version_min, TLS1_2_VERSION);
    SSL_CTX *ctx = SSL_CTX_new(c->role == TLS_SERVER ? TLS_server_method() : TLS_client_method());

    if (ctx == NULL)
        return error_set(err, -ENOMEM, "TLS: %s", tls_take_reason(NULL));
    c->by_certificate[c->count++] = ctx;
    set_modes(ctx, config);
    set_callbacks(c, ctx, config);
    if (SSL_CTX_set_min_proto_version(ctx, oldest) != 1 ||
        SSL_CTX_set_max_proto_version(ctx, newest) != 1 || use_alpn(c, ctx) < 0)
        return error_set(err, -EINVAL, "TLS: %s", tls_take_reason(NULL));

    int rc = use_ciphers(ctx, config->ciphers, err);
    if (rc == 0)
        rc = use_trust(ctx, config, err);
    if (rc == 0 && certificate != NULL)
        rc = each_certificate(&certificate->chain, take_chain, ctx, err);
    if (rc == 0 && certificate != NULL)
        rc = use_key(ctx, certificate, err);
    return rc;
}

static int fill(struct tls_context *c, const struct tls_config *config, struct error *err) {
    size_t count = config->certificate_count;
    int rc = 0;

    c->by_certificate = mem_calloc(count > 0 ? count : 1, sizeof(SSL_CTX *));
    c->staples = mem_calloc(count > 0 ? count : 1, sizeof(*c->staples));
    c->wire_method = new_wire_method();
    c->alpn = mem_alloc(config->alpn.len);
    if (c->by_certificate == NULL || c->staples == NULL || c->wire_method == NULL ||
        c->alpn == NULL)
        return error_set(err, -ENOMEM, "TLS: out of memory");
    if (config->alpn.len > 0)
        memcpy(c->alpn, config->alpn.ptr, config->alpn.len);
    c->alpn_len = (unsigned)config->alpn.len;
    if (count == 0)
        return add_certificate(c, config, NULL, err);
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = add_certificate(c, config, &config->certificates[i], err);
    return rc == 0 ? take_responses(c, config, err) : rc;
}

struct tls_context *tls_context_new(const struct tls_config *config, struct error *err) {
    struct tls_context *c = mem_calloc(1, sizeof(*c));

    if (c == NULL) {
        error_set(err, -ENOMEM, "TLS: out of memory");
        return NULL;
    }
    atomic_init(&c->owners, 1);
    c->role = config->role;
    if (fill(c, config, err) < 0) {
        tls_context_unref(c);
        return NULL;
    }
    return c;
}

int64_t tls_context_expires(const struct tls_context *c, size_t index) {
    const X509 *one = index < c->count ? SSL_CTX_get0_certificate(c->by_certificate[index]) : NULL;
    struct tm end;

    if (one == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(one), &end) != 1)
        return 0;
    return timegm(&end);
}

struct tls_context *tls_context_ref(struct tls_context *c) {
    atomic_fetch_add_explicit(&c->owners, 1, memory_order_relaxed);
    return c;
}

void tls_context_unref(struct tls_context *c) {
    if (c == NULL || atomic_fetch_sub(&c->owners, 1) > 1)
        return;

    for (size_t i = 0; i < c->count; i++) {
        SSL_CTX_free(c->by_certificate[i]);
        mem_free(c->staples[i].der);
    }
    mem_free(c->staples);
    BIO_meth_free(c->wire_method);
    mem_free(c->by_certificate);
    mem_free(c->alpn);
    mem_free(c);
}
