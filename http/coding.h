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

/* --- the way back ----------------------------------------------------------------------------- */

/* Takes a coded body piece by piece, in constant memory. All zero: none has begun.
 *
 *   http_decoder_begin(&d, coding)
 *   while ((rc = http_decoder_next(&d, &piece, room, size, &plain)) > 0)
 *   http_decoder_is_done(&d)            at the end of the body
 *   http_decoder_end(&d) */
struct http_decoder {
    enum http_coding coding;
    bool begun, done; /* done: the end of the coded data was seen */
    void *state;      /* zlib's or brotli's */
};

/* 0 or -ENOMEM. Identity needs no decoder. */
NODISCARD int http_decoder_begin(struct http_decoder *d, enum http_coding coding);

/* Decodes from the front of `*input` into `room`. 1 with *ret, which may be empty; 0 when it needs
 * more input; -EINVAL when the data are not of that coding. `deflate` is taken with zlib's wrapping
 * and without, as servers send both; gzip may have several members (RFC 1952 section 2.2). */
NODISCARD int http_decoder_next(struct http_decoder *d, struct slice *input, char *room,
                                size_t size, struct slice *ret);

/* Whether the coded data are complete, or none came. */
bool http_decoder_is_done(const struct http_decoder *d);

/* Gives the memory back; idempotent. */
void http_decoder_end(struct http_decoder *d);

#endif
