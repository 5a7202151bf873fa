/* SPDX-License-Identifier: MIT */
/* Computes the hashes of digest authentication, over libcrypto. */
#include "http/digest.h"
#include <errno.h>
#include <openssl/evp.h>
#include <stddef.h>
#include <stdio.h>

static const struct {
    struct slice name;
    const EVP_MD *(*hash)(void);
} algorithms[] = {
    { SLICE_INIT("MD5"), EVP_md5 },
    { SLICE_INIT("SHA-256"), EVP_sha256 },
    { SLICE_INIT("SHA-512-256"), EVP_sha512_256 },
    { SLICE_INIT("SHA-512"), EVP_sha512 },
};

#define SESSION SLICE("-sess")

static bool is_session(struct slice algorithm) {
    return algorithm.len > SESSION.len &&
           slice_eq_nocase(slice_drop(algorithm, algorithm.len - SESSION.len), SESSION);
}

/* NULL: it is not known. */
static const EVP_MD *hash_of(struct slice algorithm) {
    if (algorithm.len == 0)
        return EVP_md5();
    if (is_session(algorithm))
        algorithm.len -= SESSION.len;
    for (size_t i = 0; i < ARRAY_LEN(algorithms); i++)
        if (slice_eq_nocase(algorithms[i].name, algorithm))
            return algorithms[i].hash();
    return NULL;
}

bool http_digest_knows(struct slice algorithm) {
    return algorithm.len > 0 && hash_of(algorithm) != NULL;
}

/* --- credentials ------------------------------------------------------------------------------ */

/* Takes a token or a quoted string, without its quotes, from the start of *rest. */
static bool take_value(struct slice *rest, struct slice *ret) {
    size_t i = 1;

    if (rest->len == 0 || rest->ptr[0] != '"') {
        *ret = slice_trim(slice_take(*rest, slice_find(*rest, ',')));
        *rest = slice_drop(*rest, slice_find(*rest, ','));
        return ret->len > 0;
    }
    while (i < rest->len && rest->ptr[i] != '"')
        i += rest->ptr[i] == '\\' ? 2 : 1;
    if (i >= rest->len)
        return false;
    *ret = slice_of(rest->ptr + 1, i - 1);
    *rest = slice_trim(slice_drop(*rest, i + 1));
    return rest->len == 0 || rest->ptr[0] == ',';
}

static void note(struct http_digest *digest, struct slice name, struct slice value) {
    const struct {
        struct slice name;
        struct slice *to;
    } members[] = {
        { SLICE("username"), &digest->username }, { SLICE("realm"), &digest->realm },
        { SLICE("nonce"), &digest->nonce },       { SLICE("uri"), &digest->uri },
        { SLICE("response"), &digest->response }, { SLICE("algorithm"), &digest->algorithm },
        { SLICE("cnonce"), &digest->cnonce },     { SLICE("opaque"), &digest->opaque },
        { SLICE("qop"), &digest->qop },           { SLICE("nc"), &digest->nc },
    };

    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if (slice_eq_nocase(members[i].name, name))
            *members[i].to = value;
}

bool http_digest_parse(struct slice credentials, struct http_digest *ret) {
    struct slice rest = slice_trim(credentials), value;

    *ret = (struct http_digest){ .username = { NULL, 0 } };
    if (!slice_eq_nocase(slice_cut(&rest, ' '), SLICE("Digest")))
        return false;
    while ((rest = slice_trim(rest)).len > 0) {
        if (rest.ptr[0] == ',') { /* elements of a list may be empty (RFC 9110 section 5.6.1) */
            rest = slice_drop(rest, 1);
            continue;
        }
        struct slice name = slice_trim(slice_cut(&rest, '='));
        rest = slice_trim(rest);
        if (name.len == 0 || !take_value(&rest, &value))
            return false;
        note(ret, name, value);
    }
    return ret->username.ptr != NULL && ret->nonce.ptr != NULL && ret->uri.ptr != NULL &&
           ret->response.ptr != NULL;
}

/* --- hashes ----------------------------------------------------------------------------------- */

int http_digest_hash(struct slice algorithm, const struct slice *parts, size_t count,
                     char ret[static HTTP_DIGEST_HEX_BYTES]) {
    const EVP_MD *hash = hash_of(algorithm);
    EVP_MD_CTX *context = hash != NULL ? EVP_MD_CTX_new() : NULL;
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned size = 0;

    bool is_good = context != NULL && EVP_DigestInit_ex(context, hash, NULL) == 1;
    for (size_t i = 0; i < count && is_good; i++)
        is_good = (i == 0 || EVP_DigestUpdate(context, ":", 1) == 1) &&
                  EVP_DigestUpdate(context, parts[i].ptr, parts[i].len) == 1;
    is_good = is_good && EVP_DigestFinal_ex(context, bytes, &size) == 1;
    EVP_MD_CTX_free(context);
    ret[0] = '\0';
    for (unsigned i = 0; i < size && is_good; i++)
        snprintf(ret + (size_t)2 * i, 3, "%02x", bytes[i]);
    return is_good ? 0 : -EINVAL;
}

static int hash_user(const struct http_digest *digest, const struct http_digest_asked *asked,
                     char ret[static HTTP_DIGEST_HEX_BYTES]) {
    const struct slice user[] = { asked->user, asked->realm, asked->password };
    char hash[HTTP_DIGEST_HEX_BYTES];

    if (!is_session(digest->algorithm))
        return http_digest_hash(digest->algorithm, user, ARRAY_LEN(user), ret);
    int rc = http_digest_hash(digest->algorithm, user, ARRAY_LEN(user), hash);
    const struct slice session[] = { slice_str(hash), digest->nonce, digest->cnonce };
    return rc == 0 ? http_digest_hash(digest->algorithm, session, ARRAY_LEN(session), ret) : rc;
}

static int hash_request(const struct http_digest *digest, const struct http_digest_asked *asked,
                        char ret[static HTTP_DIGEST_HEX_BYTES]) {
    char body[HTTP_DIGEST_HEX_BYTES];

    int rc = http_digest_hash(digest->algorithm, &asked->body, 1, body);
    const struct slice request[] = { asked->method, digest->uri, slice_str(body) };
    bool is_whole = slice_eq_nocase(digest->qop, SLICE("auth-int"));
    return rc == 0 ? http_digest_hash(digest->algorithm, request, is_whole ? 3 : 2, ret) : rc;
}

int http_digest_response(const struct http_digest *digest, const struct http_digest_asked *asked,
                         char ret[static HTTP_DIGEST_HEX_BYTES]) {
    char user[HTTP_DIGEST_HEX_BYTES], request[HTTP_DIGEST_HEX_BYTES];

    int rc = hash_user(digest, asked, user);
    if (rc == 0)
        rc = hash_request(digest, asked, request);
    if (rc < 0)
        return rc;
    const struct slice with_qop[] = { slice_str(user), digest->nonce, digest->nc,
                                      digest->cnonce,  digest->qop,   slice_str(request) };
    const struct slice without[] = { slice_str(user), digest->nonce, slice_str(request) };
    return digest->qop.ptr != NULL
               ? http_digest_hash(digest->algorithm, with_qop, ARRAY_LEN(with_qop), ret)
               : http_digest_hash(digest->algorithm, without, ARRAY_LEN(without), ret);
}
