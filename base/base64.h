/* SPDX-License-Identifier: MIT */
/* Base64 (RFC 4648): the standard alphabet, and the one for URLs and names of files. */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "base/slice.h"

enum base64_alphabet { BASE64_STANDARD, BASE64_URL };

/* Characters of so many bytes, padding included. */
static inline size_t base64_size(size_t bytes) {
    return (bytes + 2) / 3 * 4;
}

/* Writes base64_size(in.len) characters with padding, without a NUL; their number. */
size_t base64_encode(struct slice in, enum base64_alphabet alphabet, char *out);

/* Takes both alphabets, with padding or without. Writes at most in.len bytes; `out` may be the text
 * itself. The length, or -EINVAL. */
NODISCARD long base64_decode(struct slice in, char *out);

#endif
