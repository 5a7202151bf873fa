/* SPDX-License-Identifier: MIT */
/* Compares, searches, cuts and converts slices. */
#include "base/slice.h"
#include "base/alloc.h"
#include <errno.h>

static unsigned char fold(char c) {
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

bool slice_eq_nocase(struct slice a, struct slice b) {
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (fold(a.ptr[i]) != fold(b.ptr[i]))
            return false;
    return true;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

struct slice slice_trim(struct slice s) {
    while (s.len > 0 && is_blank(s.ptr[s.len - 1]))
        s.len--;
    while (s.len > 0 && is_blank(s.ptr[0]))
        s = slice_drop(s, 1);
    return s;
}

bool slice_starts_with(struct slice s, struct slice prefix) {
    return s.len >= prefix.len && slice_eq(slice_take(s, prefix.len), prefix);
}

size_t slice_find(struct slice s, char c) {
    const char *hit = s.len > 0 ? memchr(s.ptr, c, s.len) : NULL;
    return hit != NULL ? (size_t)(hit - s.ptr) : s.len;
}

struct slice slice_cut(struct slice *rest, char sep) {
    struct slice head = slice_take(*rest, slice_find(*rest, sep));
    *rest = slice_drop(*rest, head.len + 1);
    return head;
}

bool slice_list_has(struct slice list, struct slice word) {
    while (list.len > 0)
        if (slice_eq(slice_trim(slice_cut(&list, ',')), word))
            return true;
    return false;
}

bool slice_list_has_nocase(struct slice list, struct slice word) {
    while (list.len > 0)
        if (slice_eq_nocase(slice_trim(slice_cut(&list, ',')), word))
            return true;
    return false;
}

int slice_parse_u64(struct slice s, uint64_t max, uint64_t *ret) {
    if (s.len == 0)
        return -EINVAL;
    uint64_t value = 0;
    bool above = false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned char)s.ptr[i] - (unsigned)'0';
        if (digit > 9)
            return -EINVAL; /* junk wins over range, however long the digits before it are */
        above = above || value > (UINT64_MAX - digit) / 10;
        value = above ? 0 : value * 10 + digit;
    }
    if (above || value > max)
        return -ERANGE;
    *ret = value;
    return 0;
}

char *slice_dup(struct slice s) {
    char *copy = mem_alloc(s.len + 1);
    if (copy == NULL)
        return NULL;
    if (s.len > 0)
        memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return copy;
}
