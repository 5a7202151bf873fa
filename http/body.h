/* SPDX-License-Identifier: MIT */
/* Body decoder: length, chunked (RFC 9112 section 7.1), until close. Resumable at any byte; copies
 * nothing. */
#ifndef HTTP_BODY_H
#define HTTP_BODY_H

#include "http/head.h"

enum http_body_kind {
    HTTP_BODY_MORE, /* all input was used; feed more */
    HTTP_BODY_DATA, /* `data` is a piece of the decoded body; call again with what is left */
    HTTP_BODY_DONE, /* the message is complete; what is left belongs to the next one */
    HTTP_BODY_BAD,  /* `why` */
};

struct http_body_step {
    enum http_body_kind kind;
    size_t used; /* bytes of input consumed by this step (the data's included) */
    struct slice data;
    const char *why;
};

struct http_body {
    uint64_t left;       /* rest of the length, or of the current chunk */
    uint64_t decoded;    /* decoded so far */
    uint32_t overhead;   /* bytes of chunk extensions and trailers so far */
    uint16_t line;       /* bytes of the current chunk-size or trailer line so far */
    uint8_t state;       /* enum chunk_state, private */
    uint8_t framing : 2; /* enum http_framing */
    uint8_t noted : 6;   /* lenient: 1 << enum http_lenience of what was forgiven */
};

/* The compact member types are deliberate: one lives in every connection. */
void http_body_init(struct http_body *b, enum http_framing framing, uint64_t content_length);

/* One step over `input`. `eof`: the peer closed and no more will come. */
struct http_body_step http_body_next(struct http_body *b, struct slice input, bool eof,
                                     const struct http_limits *limits);

#endif
