/* SPDX-License-Identifier: MIT */
/* Spells control characters, so that nobody forges a log line or drives a terminal. */
#include "base/escape.h"
#include "base/assert.h"
#include <stdio.h>

#define ELLIPSIS          "..."
#define ESCAPED_BYTES_MAX 4 /* \xHH */

/* Characters that are spelled beside control characters. */
enum spelled { SPELL_CONTROLS, SPELL_QUOTES, SPELL_HIGH_BYTES };

static bool is_continuation(char c) {
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* C0, DEL and C1 drive terminals, C1 also as UTF-8; readers end lines at U+2028 and U+2029, too. */
static bool is_control(uint32_t code) {
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029;
}

/* Bytes of the first character; 0: it is no UTF-8 (RFC 3629), or a control character. */
static size_t shown_bytes(struct slice text) {
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    unsigned char lead = (unsigned char)text.ptr[0];
    size_t len = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    uint32_t code = len == 1 ? lead : lead & (0x7fu >> len);

    if (len == 0 || lead > 0xf4 || len > text.len)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if (!is_continuation(text.ptr[i]))
            return 0;
        code = code << 6 | ((unsigned char)text.ptr[i] & 0x3f);
    }
    return code < least[len] || code > 0x10ffff || is_control(code) ? 0 : len;
}

/* Bytes of the first character if it stays as it is, else 0. */
static size_t plain_bytes(struct slice text, enum spelled what) {
    unsigned char c = (unsigned char)text.ptr[0];
    bool is_special = (what == SPELL_QUOTES && (c == '"' || c == '\\')) ||
                      (what == SPELL_HIGH_BYTES && c >= 0x80);

    return is_special ? 0 : shown_bytes(text);
}

static size_t spell(char *out, unsigned char c) {
    static const char hex[] = "0123456789abcdef";
    const char *known = c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : NULL;
    if (known != NULL) {
        memcpy(out, known, 2);
        return 2;
    }
    out[0] = '\\';
    out[1] = 'x';
    out[2] = hex[c >> 4];
    out[3] = hex[c & 15];
    return 4;
}

static size_t escape(char *out, size_t cap, struct slice text, enum spelled what) {
    ASSERT(cap >= ESCAPED_BYTES_MAX + sizeof(ELLIPSIS));
    size_t len = 0, cut = 0; /* `cut`: where the ellipsis goes if the rest does not fit */
    while (text.len > 0) {
        char spelled[ESCAPED_BYTES_MAX];
        size_t plain = plain_bytes(text, what);
        size_t n = plain > 0 ? plain : spell(spelled, (unsigned char)text.ptr[0]);
        if (len + sizeof(ELLIPSIS) <= cap)
            cut = len;
        if (len + n + 1 > cap) {
            memcpy(out + cut, ELLIPSIS, sizeof(ELLIPSIS));
            return cut + sizeof(ELLIPSIS) - 1;
        }
        memcpy(out + len, plain > 0 ? text.ptr : spelled, n);
        len += n;
        text = slice_drop(text, plain > 0 ? plain : 1);
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

static bool is_plain_ascii(unsigned char c) {
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* Bytes at the beginning of a value that stay as they are: ASCII as a rule, and much of it. */
static size_t plain_run(struct slice text) {
    size_t len = 0, more = 1;

    while (more > 0) {
        while (len < text.len && is_plain_ascii((unsigned char)text.ptr[len]))
            len++;
        more = len < text.len ? plain_bytes(slice_drop(text, len), SPELL_QUOTES) : 0;
        len += more;
    }
    return len;
}

int escape_append(struct buf *out, struct slice text) {
    while (text.len > 0) {
        char spelled[ESCAPED_BYTES_MAX];
        size_t plain = plain_run(text);
        int rc = buf_append(out, slice_take(text, plain));

        text = slice_drop(text, plain);
        if (rc == 0 && text.len > 0) {
            size_t n = spell(spelled, (unsigned char)text.ptr[0]);

            rc = buf_append(out, slice_of(spelled, n));
            text = slice_drop(text, 1);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Bytes that no shell makes anything else of, wherever they stand. */
static bool is_plain_word(struct slice word) {
    static const char special[] = " \t\n'\"\\$`?*[]{}()<>|&;!#~";
    for (size_t i = 0; i < word.len; i++)
        if (memchr(special, word.ptr[i], sizeof(special)) != NULL)
            return false;
    return word.len > 0;
}

int escape_word(struct buf *out, struct slice word) {
    if (is_plain_word(word))
        return buf_append(out, word);
    int rc = buf_append(out, SLICE("'"));
    for (size_t i = 0; i < word.len && rc == 0; i++)
        rc = buf_append(out, word.ptr[i] == '\'' ? SLICE("'\\''") : slice_of(&word.ptr[i], 1));
    return rc == 0 ? buf_append(out, SLICE("'")) : rc;
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
