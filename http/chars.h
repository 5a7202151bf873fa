/* SPDX-License-Identifier: MIT */
/* The character classes of RFC 9110 and RFC 3986, and the spans that the parsers cut with them. */
#ifndef HTTP_CHARS_H
#define HTTP_CHARS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum http_char {
    HTTP_CHAR_TOKEN = 1,  /* tchar, RFC 9110 section 5.6.2 */
    HTTP_CHAR_VALUE = 2,  /* field-vchar, SP, HTAB, RFC 9110 section 5.5 */
    HTTP_CHAR_TARGET = 4, /* visible ASCII but '#': a request target never holds a fragment */
    HTTP_CHAR_HOST =
        8, /* unreserved and sub-delims of RFC 3986 but ',': nobody's name, two hosts */
    HTTP_CHAR_HEX = 16,
};

extern const uint8_t http_chars[256]; /* bits of enum http_char */

static inline bool http_char_is(char c, enum http_char class) {
    return (http_chars[(uint8_t)c] & class) != 0;
}

/* All spans: how many bytes from `p` belong to the class; at most `len`. They never read beyond
 * `len`. */
static inline size_t http_span(const char *p, size_t len, enum http_char class) {
    size_t i = 0;
    while (i < len && http_char_is(p[i], class))
        i++;
    return i;
}

#ifdef __SSE2__

/* Sixteen at once: control characters but HTAB, and DEL. */
static inline unsigned http_mask_not_value(__m128i x) {
    __m128i below = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x);
    __m128i tab = _mm_cmpeq_epi8(x, _mm_set1_epi8('\t'));
    __m128i del = _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, below), del));
}

/* The signed comparison takes SP and below together with everything that is not ASCII. */
static inline unsigned http_mask_not_target(__m128i x) {
    __m128i outside = _mm_cmplt_epi8(x, _mm_set1_epi8(0x21));
    __m128i del = _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f));
    __m128i hash = _mm_cmpeq_epi8(x, _mm_set1_epi8('#'));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(outside, _mm_or_si128(del, hash)));
}

static inline size_t http_span_value(const char *p, size_t len) {
    size_t i = 0;
    for (; len - i >= 16; i += 16) {
        unsigned mask =
            http_mask_not_value(_mm_loadu_si128((const __m128i *)(const void *)(p + i)));
        if (mask != 0)
            return i + (size_t)__builtin_ctz(mask);
    }
    return i + http_span(p + i, len - i, HTTP_CHAR_VALUE);
}

static inline size_t http_span_target(const char *p, size_t len) {
    size_t i = 0;
    for (; len - i >= 16; i += 16) {
        unsigned mask =
            http_mask_not_target(_mm_loadu_si128((const __m128i *)(const void *)(p + i)));
        if (mask != 0)
            return i + (size_t)__builtin_ctz(mask);
    }
    return i + http_span(p + i, len - i, HTTP_CHAR_TARGET);
}

#else

static inline size_t http_span_value(const char *p, size_t len) {
    return http_span(p, len, HTTP_CHAR_VALUE);
}

static inline size_t http_span_target(const char *p, size_t len) {
    return http_span(p, len, HTTP_CHAR_TARGET);
}

#endif

#endif
