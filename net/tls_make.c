/* SPDX-License-Identifier: MIT */
/* Makes a key and a certificate of it, signed by another one or by itself. */
#include "net/tls_make.h"
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

enum { PEM_BYTES_MAX = 65536, BEGINS_S = -3600, ENDS_S = 30 * 86400 };

static X509 *read_certificate(const struct tls_pem *pem) {
    BIO *bio = BIO_new_mem_buf(pem->text.ptr, (int)pem->text.len);
    X509 *one = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

    BIO_free(bio);
    return one;
}

static EVP_PKEY *read_key(const struct tls_pem *pem) {
    BIO *bio = BIO_new_mem_buf(pem->text.ptr, (int)pem->text.len);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;

    BIO_free(bio);
    return key;
}

static bool add_extension(X509 *one, X509 *issuer, int kind, const char *value) {
    X509V3_CTX context;

    X509V3_set_ctx(&context, issuer, one, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    bool added = extension != NULL && X509_add_ext(one, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return added;
}

/* Two of the same number would be one to who remembers them. */
static bool set_serial(X509 *one) {
    uint64_t number = 0;

    return RAND_bytes((unsigned char *)&number, sizeof(number)) == 1 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(one), number >> 1) == 1;
}

static bool fill(X509 *one, X509 *issuer, EVP_PKEY *key, const struct tls_make *want) {
    bool usual = want->begins_s == 0 && want->ends_s == 0;
    X509_NAME *name = X509_get_subject_name(one);
    const unsigned char *text = (const unsigned char *)want->common_name;

    return X509_set_version(one, X509_VERSION_3) == 1 && set_serial(one) &&
           X509_gmtime_adj(X509_getm_notBefore(one), usual ? BEGINS_S : want->begins_s) != NULL &&
           X509_gmtime_adj(X509_getm_notAfter(one), usual ? ENDS_S : want->ends_s) != NULL &&
           X509_set_pubkey(one, key) == 1 &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, text, -1, -1, 0) == 1 &&
           X509_set_issuer_name(one, X509_get_subject_name(issuer)) == 1 &&
           add_extension(one, issuer, NID_basic_constraints,
                         want->is_authority ? "critical,CA:TRUE" : "CA:FALSE") &&
           add_extension(one, issuer, NID_subject_key_identifier, "hash") &&
           (!want->is_authority ||
            add_extension(one, issuer, NID_key_usage, "critical,keyCertSign,cRLSign")) &&
           (issuer == one ||
            add_extension(one, issuer, NID_authority_key_identifier, "keyid:always")) &&
           (want->names == NULL || add_extension(one, issuer, NID_subject_alt_name, want->names));
}

static bool take_text(BIO *bio, struct buf *ret) {
    char *text;
    long len = BIO_get_mem_data(bio, &text);

    return len > 0 && buf_append(ret, slice_of(text, (size_t)len)) == 0;
}

/* Behind the certificate stands that of its issuer, which who knows the root only needs. */
static bool write_pem(X509 *one, EVP_PKEY *key, const struct tls_make *want, struct tls_made *ret) {
    BIO *chain = BIO_new(BIO_s_mem()), *secret = BIO_new(BIO_s_mem());
    bool written = chain != NULL && secret != NULL && PEM_write_bio_X509(chain, one) == 1 &&
                   PEM_write_bio_PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL) == 1 &&
                   take_text(chain, &ret->chain) && take_text(secret, &ret->key);

    if (written && want->issuer != NULL)
        written = buf_append(&ret->chain, want->issuer->chain.text) == 0;
    BIO_free(chain);
    BIO_free(secret);
    return written;
}

int tls_make(const struct tls_make *want, struct tls_made *ret, struct error *err) {
    buf_init(&ret->chain, PEM_BYTES_MAX);
    buf_init(&ret->key, PEM_BYTES_MAX);

    EVP_PKEY *key = want->is_rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    X509 *one = X509_new();
    X509 *issuer = want->issuer != NULL ? read_certificate(&want->issuer->chain) : one;
    EVP_PKEY *signer = want->issuer != NULL ? read_key(&want->issuer->key) : key;

    bool made = key != NULL && one != NULL && issuer != NULL && signer != NULL &&
                fill(one, issuer, key, want) && X509_sign(one, signer, EVP_sha256()) > 0 &&
                write_pem(one, key, want, ret);
    if (signer != key)
        EVP_PKEY_free(signer);
    if (issuer != one)
        X509_free(issuer);
    X509_free(one);
    EVP_PKEY_free(key);
    if (!made)
        return error_set(err, -EINVAL, "cannot make a certificate for '%s': %s", want->common_name,
                         tls_take_reason(NULL));
    ret->certificate = (struct tls_certificate){
        .chain = { want->common_name, buf_unread(&ret->chain) },
        .key = { want->common_name, buf_unread(&ret->key) },
    };
    return 0;
}

void tls_made_free(struct tls_made *made) {
    buf_free(&made->chain);
    buf_free(&made->key);
}
