/* SPDX-License-Identifier: MIT */
/* Which fields must not come after the body. Private to http/. */
#ifndef HTTP_TRAILER_H
#define HTTP_TRAILER_H

#include <stdbool.h>
#include <stdint.h>

/* A name is hashed byte by byte while it arrives, since the decoder keeps no text (64-bit FNV-1a,
 * case-blind). */
#define HTTP_TRAILER_HASH_START UINT64_C(0xcbf29ce484222325)

static inline uint64_t http_trailer_hash(uint64_t hash, char c) {
    return (hash ^ (uint8_t)(c | 0x20)) * UINT64_C(0x100000001b3);
}

/* RFC 9110 section 6.5.1: framing, routing, authentication, request modifiers, response control,
 * content format. */
bool http_trailer_is_forbidden(uint64_t name_hash, uint32_t name_len);

/* Of those: the fields that frame a body. */
bool http_trailer_is_framing(uint64_t name_hash, uint32_t name_len);

#endif
