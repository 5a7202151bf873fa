/* SPDX-License-Identifier: MIT */
/* Content codings (RFC 9110 section 8.4.1, RFC 7932): which one a client asks for, and the coding
 * itself. */
#ifndef HTTP_CODING_H
#define HTTP_CODING_H

#include "base/buf.h"
#include "http/head.h"

enum http_coding { HTTP_CODING_IDENTITY, HTTP_CODING_GZIP, HTTP_CODING_DEFLATE, HTTP_CODING_BR };

/* "gzip", as Content-Encoding spells it. */
struct slice http_coding_name(enum http_coding coding);

/* The coding of that name in any case, "identity" among them. False: none that is known here. */
bool http_coding_find(struct slice name, enum http_coding *ret);

/* Chooses by all Accept-Encoding lines (RFC 9110 section 12.5.3): the greatest weight, and of equal
 * ones br before gzip before deflate. Identity when there is no line, or nothing else fits. */
enum http_coding http_coding_choose(const struct http_head *head);

/* Appends `plain`, coded; `deflate` is the zlib format (RFC 9110 section 8.4.1.2). 0, or as
 * buf_reserve. */
NODISCARD int http_coding_append(enum http_coding coding, struct slice plain, struct buf *out);

#endif
