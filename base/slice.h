/* SPDX-License-Identifier: MIT */
/* A slice is a pointer and a length into memory owned by somebody else; never NUL-terminated. */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include "base/attr.h"
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *ptr;
    size_t len;
};

#define SLICE(literal) ((struct slice){ "" literal, sizeof(literal) - 1 })

/* In static tables, where C17 (6.7.9 p4) wants constants. */
#define SLICE_INIT(literal) \
    { "" literal, sizeof(literal) - 1 }

static inline struct slice slice_of(const char *ptr, size_t len) {
    return (struct slice){ ptr, len };
}

static inline struct slice slice_str(const char *text) {
    return (struct slice){ text, text != NULL ? strlen(text) : 0 };
}

static inline bool slice_eq(struct slice a, struct slice b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* ASCII case folding only, independent of the locale. */
bool slice_eq_nocase(struct slice a, struct slice b);

/* Without the first `n` bytes; empty when `n` is at least the length. */
static inline struct slice slice_drop(struct slice s, size_t n) {
    if (s.len == 0) /* no arithmetic on NULL: undefined in C */
        return s;
    size_t skip = n < s.len ? n : s.len;
    return (struct slice){ s.ptr + skip, s.len - skip };
}

static inline struct slice slice_take(struct slice s, size_t n) {
    return (struct slice){ s.ptr, n < s.len ? n : s.len };
}

/* Without leading and trailing SP and HTAB (OWS of RFC 9110 section 5.6.3). */
struct slice slice_trim(struct slice s);

bool slice_starts_with(struct slice s, struct slice prefix);

/* Index of the first `c`, or s.len when there is none. */
size_t slice_find(struct slice s, char c);

/* Cuts `*rest` at the first `sep`: returns what stood before it and leaves what stood after it
 * (nothing when there was no separator). Usage:
 *
 *   while (rest.len > 0)
 *       use(slice_cut(&rest, ','));
 */
struct slice slice_cut(struct slice *rest, char sep);

/* Whether `word` is one of `a, b, c`, without the blanks around each; the latter as
 * slice_eq_nocase. */
bool slice_list_has(struct slice list, struct slice word);
bool slice_list_has_nocase(struct slice list, struct slice word);

/* 1*DIGIT, no sign, no space. 0, -EINVAL (not digits or empty), -ERANGE (above max). */
NODISCARD int slice_parse_u64(struct slice s, uint64_t max, uint64_t *ret);

/* A malloc'ed NUL-terminated copy, or NULL when out of memory. The caller frees it (mem_free). */
NODISCARD char *slice_dup(struct slice s);

#endif
