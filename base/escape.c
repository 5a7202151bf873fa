/* SPDX-License-Identifier: MIT */
/* Spells control characters, so that nobody forges a log line or drives a terminal. */
#include "base/escape.h"
#include "base/assert.h"
#include <stdio.h>

#define ELLIPSIS          "..."
#define ESCAPED_BYTES_MAX 4 /* \xHH */

static size_t escape_char(char *out, unsigned char c) {
    static const char hex[] = "0123456789abcdef";
    const char *known = c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : NULL;
    if (known != NULL) {
        memcpy(out, known, 2);
        return 2;
    }
    if (c >= 0x20 && c != 0x7f) {
        out[0] = (char)c;
        return 1;
    }
    out[0] = '\\';
    out[1] = 'x';
    out[2] = hex[c >> 4];
    out[3] = hex[c & 15];
    return 4;
}

static bool is_continuation(char c) {
    return ((unsigned char)c & 0xc0) == 0x80;
}

size_t escape_text(char *out, size_t cap, struct slice text) {
    ASSERT(cap >= ESCAPED_BYTES_MAX + sizeof(ELLIPSIS));
    size_t len = 0, cut = 0; /* `cut`: where the ellipsis goes if the rest does not fit */
    for (size_t i = 0; i < text.len; i++) {
        char spelled[ESCAPED_BYTES_MAX];
        size_t n = escape_char(spelled, (unsigned char)text.ptr[i]);
        if (len + sizeof(ELLIPSIS) <= cap && !is_continuation(text.ptr[i]))
            cut = len;
        if (len + n + 1 > cap) {
            memcpy(out + cut, ELLIPSIS, sizeof(ELLIPSIS));
            return cut + sizeof(ELLIPSIS) - 1;
        }
        memcpy(out + len, spelled, n);
        len += n;
    }
    out[len] = '\0';
    return len;
}
