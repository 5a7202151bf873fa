/* SPDX-License-Identifier: MIT */
/* Every limit of the codec in one place. A product may tighten or widen them with its options. */
#ifndef HTTP_LIMITS_H
#define HTTP_LIMITS_H

#include <stdint.h>

#define HTTP_LEADING_LINES_MAX 4  /* empty lines skipped before a request (RFC 9112 section 2.2) */
#define HTTP_INTERIMS_MAX      16 /* 1xx responses skipped before the final one */
#define HTTP_CHUNK_DIGITS_MAX  16 /* hex digits of a chunk size: what fits 64 bits */

struct http_limits {
    uint32_t start_line_bytes; /* request line or status line, without CRLF (RFC 9112 section 3:
                                  accept >= 8000) */
    uint32_t field_bytes;      /* one field line, name and value */
    uint32_t fields;           /* number of field lines */
    uint32_t head_bytes;       /* start line and all fields */
    uint32_t chunk_ext_bytes;  /* chunk extensions and trailers of one message, summed */
    uint64_t body_bytes;       /* decoded body */

    /* NULL: strict. A client that cannot change its servers reads leniently: what enum
     * http_lenience lists is accepted and noted, a head that is over these limits but within its
     * own included. */
    const struct http_limits *usual;
};

#define HTTP_LIMITS_DEFAULT                                                                \
    {                                                                                      \
        .start_line_bytes = 8190, .field_bytes = 8190, .fields = 100, .head_bytes = 65536, \
        .chunk_ext_bytes = 4096, .body_bytes = 1048576,                                    \
    }

/* For clients (upstream, bench): what a server answers is bounded, but more widely. */
#define HTTP_LIMITS_RESPONSE                                                                  \
    {                                                                                         \
        .start_line_bytes = 8190, .field_bytes = 65536, .fields = 1000, .head_bytes = 262144, \
        .chunk_ext_bytes = 65536, .body_bytes = UINT64_MAX,                                   \
    }

/* For a lenient client, beside `.usual`. */
#define HTTP_LIMITS_LENIENT(usual_)                                                                \
    {                                                                                              \
        .start_line_bytes = 65536, .field_bytes = 1048576, .fields = 10000, .head_bytes = 1048576, \
        .chunk_ext_bytes = 65536, .body_bytes = UINT64_MAX, .usual = usual_,                       \
    }

#endif
