/* SPDX-License-Identifier: MIT */
/* Spells control characters, so that nobody forges a log line or drives a terminal. */
#include "base/escape.h"
#include "base/assert.h"
#include <stdio.h>

#define ELLIPSIS          "..."
#define ESCAPED_BYTES_MAX 4 /* \xHH */

static bool is_control(unsigned char c) {
    return c < 0x20 || c == 0x7f;
}

/* What is spelled beside control characters. */
enum spelled { SPELL_CONTROLS, SPELL_QUOTES, SPELL_HIGH_BYTES };

static bool is_spelled(unsigned char c, enum spelled what) {
    return is_control(c) || (what == SPELL_QUOTES && (c == '"' || c == '\\')) ||
           (what == SPELL_HIGH_BYTES && c >= 0x80);
}

static size_t escape_char(char *out, unsigned char c, enum spelled what) {
    static const char hex[] = "0123456789abcdef";
    const char *known = c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : NULL;
    if (known != NULL) {
        memcpy(out, known, 2);
        return 2;
    }
    if (!is_spelled(c, what)) {
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

static size_t escape(char *out, size_t cap, struct slice text, enum spelled what) {
    ASSERT(cap >= ESCAPED_BYTES_MAX + sizeof(ELLIPSIS));
    size_t len = 0, cut = 0; /* `cut`: where the ellipsis goes if the rest does not fit */
    for (size_t i = 0; i < text.len; i++) {
        char spelled[ESCAPED_BYTES_MAX];
        size_t n = escape_char(spelled, (unsigned char)text.ptr[i], what);
        bool is_torn = what != SPELL_HIGH_BYTES && is_continuation(text.ptr[i]);
        if (len + sizeof(ELLIPSIS) <= cap && !is_torn)
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

size_t escape_text(char *out, size_t cap, struct slice text) {
    return escape(out, cap, text, SPELL_CONTROLS);
}

size_t escape_bytes(char *out, size_t cap, struct slice bytes) {
    return escape(out, cap, bytes, SPELL_HIGH_BYTES);
}

size_t escape_quoted(char *out, size_t cap, struct slice text) {
    return escape(out, cap, text, SPELL_QUOTES);
}

static bool is_plain(unsigned char c) {
    return !is_spelled(c, SPELL_QUOTES);
}

int escape_append(struct buf *out, struct slice text) {
    while (text.len > 0) {
        char spelled[ESCAPED_BYTES_MAX];
        size_t plain = 0;
        int rc;

        while (plain < text.len && is_plain((unsigned char)text.ptr[plain]))
            plain++;
        rc = buf_append(out, slice_take(text, plain));
        text = slice_drop(text, plain);
        if (rc == 0 && text.len > 0) {
            size_t n = escape_char(spelled, (unsigned char)text.ptr[0], SPELL_QUOTES);

            rc = buf_append(out, slice_of(spelled, n));
            text = slice_drop(text, 1);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

size_t escape_cut(struct slice line, size_t len) {
    if (len >= line.len)
        return line.len;
    while (len > 0 && is_continuation(line.ptr[len]))
        len--;
    for (size_t back = 1; back < ESCAPED_BYTES_MAX && back <= len; back++)
        if (line.ptr[len - back] == '\\')
            return len - back;
    return len;
}
