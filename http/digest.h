/* SPDX-License-Identifier: MIT */
/* Digest authentication (RFC 7616): credentials taken apart, and the response that they should
 * have. */
#ifndef HTTP_DIGEST_H
#define HTTP_DIGEST_H

#include "base/slice.h"

#define HTTP_DIGEST_HEX_BYTES 129 /* the longest hash in hexadecimal, and a NUL */

/* Parameters of the credentials, without their quotes; ptr NULL: it is not there. */
struct http_digest {
    struct slice username, realm, nonce, uri, response, algorithm, cnonce, opaque, qop, nc;
};

/* A user, and what the request was. */
struct http_digest_asked {
    struct slice user, realm, password, method, body;
};

/* Whether there is such an algorithm: MD5, SHA-256, SHA-512-256 and SHA-512, which no RFC names but
 * servers know, each also with -sess. In any case. */
bool http_digest_knows(struct slice algorithm);

/* Takes the value of Authorization apart. False: these are no such credentials. */
bool http_digest_parse(struct slice credentials, struct http_digest *ret);

/* Computes the response (RFC 7616 section 3.4.1) by the algorithm (empty: MD5), nonce, uri, qop and
 * the rest of `digest`. NUL-terminated hexadecimal. 0, or -EINVAL: the algorithm is not known. */
NODISCARD int http_digest_response(const struct http_digest *digest,
                                   const struct http_digest_asked *asked,
                                   char ret[static HTTP_DIGEST_HEX_BYTES]);

/* The hash of the parts with `:` between them. As http_digest_response. */
NODISCARD int http_digest_hash(struct slice algorithm, const struct slice *parts, size_t count,
                               char ret[static HTTP_DIGEST_HEX_BYTES]);

#endif
