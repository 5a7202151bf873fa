/* SPDX-License-Identifier: MIT */
/* Checks credentials, and challenges those who have none. */
#include "slowapi/auth.h"
#include "base/alloc.h"
#include "base/base64.h"
#include "base/json.h"
#include "http/digest.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define REALM "slowapi"

/* USER/PASSWORD, and what follows. False: one of the two is missing. */
static bool take_user(struct slice *rest, struct slice *ret_user, struct slice *ret_password) {
    *ret_user = slice_cut(rest, '/');
    *ret_password = slice_cut(rest, '/');
    return ret_user->len > 0 && ret_password->len > 0;
}

static int welcome(struct reply *reply, struct slice user) {
    return reply_set_json(
        reply, json_pack("{s:b, s:o}", "authenticated", 1, "user", json_text(user, SIZE_MAX)));
}

/* 401 with that challenge. */
static int challenge(struct reply *reply, const char *text, struct error *why) {
    reply_set_status(reply, 401);
    reply->has_status_fields = true;
    int rc = reply_add_field(reply, "WWW-Authenticate", slice_str(text), why);
    return rc == 0 ? reply_set_json(reply, json_pack("{s:b}", "authenticated", 0)) : rc;
}

/* The credentials of that scheme; false: there are none. */
static bool find_credentials(const struct slow_request *request, struct slice scheme,
                             struct slice *ret) {
    struct slice value;

    if (!http_field_find(request->head, SLICE("Authorization"), &value))
        return false;
    bool is_it = slice_eq_nocase(slice_cut(&value, ' '), scheme);
    *ret = slice_trim(value);
    return is_it && ret->len > 0;
}

/* --- basic and bearer ------------------------------------------------------------------------- */

/* 1: the credentials are those of the path. 0: they are not. -ENOMEM, or -ENOENT: the path has no
 * such argument. */
static int check_basic(const struct slow_request *request, struct slice *ret_user) {
    struct slice rest = request->rest, password, credentials;

    if (!take_user(&rest, ret_user, &password) || rest.len > 0)
        return -ENOENT;
    if (!find_credentials(request, SLICE("Basic"), &credentials))
        return 0;
    char *plain = slice_dup(credentials);
    if (plain == NULL)
        return -ENOMEM;
    long size = base64_decode(credentials, plain);
    struct slice said = slice_of(plain, size > 0 ? (size_t)size : 0);
    struct slice user = slice_cut(&said, ':');
    bool fits = size > 0 && slice_eq(user, *ret_user) && slice_eq(said, password);
    mem_free(plain);
    return fits;
}

int auth_basic(struct reply *reply, const struct spec *spec UNUSED,
               const struct slow_request *request, struct error *why) {
    struct slice user;

    int fits = check_basic(request, &user);
    if (fits < 0)
        return fits;
    return fits ? welcome(reply, user) : challenge(reply, "Basic realm=\"" REALM "\"", why);
}

int auth_hidden(struct reply *reply, const struct spec *spec UNUSED,
                const struct slow_request *request, struct error *why UNUSED) {
    struct slice user;

    int fits = check_basic(request, &user);
    if (fits == 0)
        return -ENOENT;
    return fits < 0 ? fits : welcome(reply, user);
}

int auth_bearer(struct reply *reply, const struct spec *spec UNUSED,
                const struct slow_request *request, struct error *why) {
    struct slice token;

    if (!find_credentials(request, SLICE("Bearer"), &token))
        return challenge(reply, "Bearer realm=\"" REALM "\"", why);
    return reply_set_json(
        reply, json_pack("{s:b, s:o}", "authenticated", 1, "token", json_text(token, SIZE_MAX)));
}

/* --- digest ----------------------------------------------------------------------------------- */

#define NONCE_SECONDS 300
#define TIME_DIGITS   16 /* the time at the start of a nonce */

/* The arguments of the path. */
struct digest_path {
    struct slice qop, user, password, algorithm;
    uint64_t uses; /* the most that a nonce has; UINT64_MAX: any */
};

static int parse_digest_path(struct slice rest, struct digest_path *ret, struct error *why) {
    *ret = (struct digest_path){ .uses = UINT64_MAX };
    ret->qop = slice_cut(&rest, '/');
    if (!take_user(&rest, &ret->user, &ret->password))
        return -ENOENT;
    ret->algorithm = slice_cut(&rest, '/');
    if (ret->algorithm.len == 0)
        ret->algorithm = SLICE("MD5");
    if (!slice_eq(ret->qop, SLICE("auth")) && !slice_eq(ret->qop, SLICE("auth-int")))
        return error_set(why, -EINVAL, "the quality of protection is neither auth nor auth-int");
    if (!http_digest_knows(ret->algorithm))
        return error_set(why, -EINVAL,
                         "the algorithm is none of MD5, SHA-256, SHA-512-256, "
                         "SHA-512, and these with -sess");
    if (rest.len > 0 && !slice_eq(rest, SLICE("never")) &&
        slice_parse_u64(rest, UINT64_MAX, &ret->uses) < 0)
        return error_set(why, -EINVAL, "a nonce is stale after a number of requests, or never");
    return 0;
}

/* A nonce tells when it was made, and that it was made here. No state is kept. */
static int make_nonce(const struct slow_request *request, uint64_t seconds,
                      char nonce[static HTTP_DIGEST_HEX_BYTES]) {
    char stamp[TIME_DIGITS + 1], secret[20], hash[HTTP_DIGEST_HEX_BYTES];

    snprintf(stamp, sizeof(stamp), "%016llx", (unsigned long long)seconds);
    snprintf(secret, sizeof(secret), "%016llx", (unsigned long long)request->secret);
    const struct slice parts[] = { slice_str(secret), slice_str(stamp), slice_str(secret) };
    int rc = http_digest_hash(SLICE("SHA-256"), parts, ARRAY_LEN(parts), hash);
    snprintf(nonce, HTTP_DIGEST_HEX_BYTES, "%s%.32s", stamp, hash);
    return rc < 0 ? -ENOMEM : 0;
}

static uint64_t parse_hex(struct slice text) {
    char digits[TIME_DIGITS + 1];

    snprintf(digits, sizeof(digits), "%.*s", (int)(text.len < TIME_DIGITS ? text.len : TIME_DIGITS),
             text.len > 0 ? text.ptr : "");
    return strtoull(digits, NULL, 16);
}

/* Whether the nonce is one of ours, and neither too old nor used too often. */
static bool is_fresh(const struct slow_request *request, const struct http_digest *digest,
                     uint64_t uses) {
    uint64_t made = parse_hex(digest->nonce), now = (uint64_t)(clock_wall() / NSEC_PER_SEC);
    char nonce[HTTP_DIGEST_HEX_BYTES];

    if (make_nonce(request, made, nonce) < 0 || !slice_eq(digest->nonce, slice_str(nonce)))
        return false;
    return made <= now && now - made < NONCE_SECONDS && parse_hex(digest->nc) <= uses;
}

static bool is_response_right(const struct slow_request *request, const struct digest_path *path,
                              const struct http_digest *digest) {
    const struct http_digest_asked asked = { .user = path->user,
                                             .realm = SLICE(REALM),
                                             .password = path->password,
                                             .method = request->head->method_text,
                                             .body = request->body };
    struct slice algorithm = digest->algorithm.len > 0 ? digest->algorithm : SLICE("MD5");
    char response[HTTP_DIGEST_HEX_BYTES];

    return slice_eq(digest->username, path->user) && slice_eq(digest->realm, SLICE(REALM)) &&
           slice_eq(digest->uri, request->head->target) && slice_eq(digest->qop, path->qop) &&
           slice_eq_nocase(algorithm, path->algorithm) &&
           http_digest_response(digest, &asked, response) == 0 &&
           slice_eq_nocase(slice_str(response), digest->response);
}

static int challenge_digest(struct reply *reply, const struct slow_request *request,
                            const struct digest_path *path, bool is_stale, struct error *why) {
    char nonce[HTTP_DIGEST_HEX_BYTES], text[HTTP_DIGEST_HEX_BYTES + 200];

    int rc = make_nonce(request, (uint64_t)(clock_wall() / NSEC_PER_SEC), nonce);
    if (rc < 0)
        return rc;
    snprintf(text, sizeof(text),
             "Digest realm=\"" REALM "\", qop=\"%.*s\", algorithm=%.*s, nonce=\"%s\", "
             "opaque=\"%.16s\"%s",
             (int)path->qop.len, path->qop.ptr, (int)path->algorithm.len, path->algorithm.ptr,
             nonce, nonce + TIME_DIGITS, is_stale ? ", stale=true" : "");
    return challenge(reply, text, why);
}

int auth_digest(struct reply *reply, const struct spec *spec UNUSED,
                const struct slow_request *request, struct error *why) {
    struct http_digest digest;
    struct digest_path path;
    struct slice value;

    int rc = parse_digest_path(request->rest, &path, why);
    if (rc == 0) /* httpbin sets one, and tests of clients look for it */
        rc = reply_add_fields(reply, "Set-Cookie: fake=fake_value; Path=/\r\n");
    if (rc < 0)
        return rc;
    if (!http_field_find(request->head, SLICE("Authorization"), &value) ||
        !http_digest_parse(value, &digest) || !is_response_right(request, &path, &digest))
        return challenge_digest(reply, request, &path, false, why);
    if (!is_fresh(request, &digest, path.uses))
        return challenge_digest(reply, request, &path, true, why);
    return welcome(reply, path.user);
}
