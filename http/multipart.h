/* SPDX-License-Identifier: MIT */
/* Bodies of forms as multipart/form-data (RFC 7578, RFC 2046 section 5.1), taken apart without
 * copying.
 *
 *   http_multipart_begin(&m, content_type, body)     0, or -EINVAL with m.why
 *   while ((rc = http_multipart_next(&m, &part)) > 0)
 *   rc < 0: malformed, and m.why says how
 *
 * Strict: lines end with CRLF, each part has a Content-Disposition of form-data with a name, and
 * the final boundary is there. What stands before the first boundary and behind the last one is
 * skipped. */
#ifndef HTTP_MULTIPART_H
#define HTTP_MULTIPART_H

#include "base/slice.h"

#define HTTP_BOUNDARY_BYTES_MAX  70 /* RFC 2046 section 5.1.1 */
#define HTTP_PART_HEAD_BYTES_MAX 8192

struct http_multipart {
    struct slice rest;                           /* behind the last boundary seen */
    char delimiter[HTTP_BOUNDARY_BYTES_MAX + 4]; /* CRLF, two dashes, boundary */
    size_t delimiter_len;
    const char *why; /* static */
};

/* Slices into the body. Names are raw: see http_unquote. */
struct http_part {
    struct slice name, file; /* file.ptr NULL: not a file */
    struct slice type;       /* Content-Type; "" when it has none */
    struct slice data;
};

/* Whether the type is that of such a form. */
bool http_is_multipart(struct slice content_type);

/* Finds the boundary in the value of Content-Type, and the first one in the body. */
NODISCARD int http_multipart_begin(struct http_multipart *m, struct slice content_type,
                                   struct slice body);

/* 1 with a part, 0 after the last one, -EINVAL. */
NODISCARD int http_multipart_next(struct http_multipart *m, struct http_part *ret);

/* Takes the backslashes away that stand before '"' and '\' in a quoted string; others are what the
 * client wrote. Writes at most raw.len bytes; the length. `out` may be the raw text itself. */
size_t http_unquote(struct slice raw, char *out);

#endif
