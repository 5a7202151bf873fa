/* SPDX-License-Identifier: MIT */
/* Patterns of paths and of texts. */
#include "slowapi/pattern.h"
#include "base/alloc.h"
#include "http/url.h"
#include <ctype.h>

/* --- paths ------------------------------------------------------------------------------------ */

enum kind {
    IS_BYTE,
    IS_STAR,  /* any bytes but slashes */
    IS_STARS, /* any bytes */
    IS_SLASH, /* a slash that may be left out, together with the stars behind it */
};

static bool has_stars_at(struct slice path, size_t i) {
    return i + 1 < path.len && path.ptr[i] == '*' && path.ptr[i + 1] == '*';
}

/* Whether a slash and stars stand there, and then a slash or the end. */
static bool has_segments_at(struct slice path, size_t i) {
    return path.ptr[i] == '/' && has_stars_at(path, i + 1) &&
           (i + 3 == path.len || path.ptr[i + 3] == '/');
}

static void add(struct pattern *p, enum kind kind, char byte) {
    p->text[p->len] = byte;
    p->kinds[p->len++] = (uint8_t)kind;
}

/* Decodes the byte at *i, and moves behind it. False: the escape is none. */
static bool add_byte(struct pattern *p, struct slice path, size_t *i) {
    size_t raw = path.ptr[*i] == '%' ? 3 : 1;
    char byte[3];

    if (http_path_decode(slice_take(slice_drop(path, *i), raw), byte) != 1)
        return false;
    add(p, IS_BYTE, byte[0]);
    *i += raw;
    return true;
}

static bool parse(struct pattern *p, struct slice path) {
    for (size_t i = 0; i < path.len;) {
        if (has_segments_at(path, i)) {
            add(p, IS_SLASH, '/');
            i++;
        } else if (has_stars_at(path, i)) {
            add(p, IS_STARS, '*');
            while (i < path.len && path.ptr[i] == '*')
                i++;
        } else if (path.ptr[i] == '*') {
            add(p, IS_STAR, '*');
            i++;
        } else if (!add_byte(p, path, &i)) {
            return false;
        }
    }
    return true;
}

const char *pattern_parse(struct slice path, struct pattern *ret) {
    *ret = (struct pattern){ .text = NULL };
    if (path.len == 0 || (path.ptr[0] != '/' && path.ptr[0] != '*'))
        return "has a path that does not begin with /";
    if (slice_find(path, '?') < path.len)
        return "has a path with ? in it: queries are not matched (as a character it is %3F)";
    if (path.len > PATTERN_BYTES_MAX)
        return "has a path of more than 1024 bytes";
    ret->text = mem_alloc(2 * path.len);
    if (ret->text == NULL)
        return "out of memory";
    ret->kinds = (uint8_t *)ret->text + path.len;
    if (!parse(ret, path))
        return "has a path with a bad percent-escape (% itself is %25)";
    while (ret->prefix < ret->len && ret->kinds[ret->prefix] == IS_BYTE)
        ret->prefix++;
    while (ret->suffix < ret->len - ret->prefix &&
           ret->kinds[ret->len - 1 - ret->suffix] == IS_BYTE)
        ret->suffix++;
    return NULL;
}

void pattern_free(struct pattern *pattern) {
    mem_free(pattern->text);
    *pattern = (struct pattern){ .text = NULL };
}

/* The places in a pattern up to which it fits what was read so far: at[i] is place from + i. */
struct places {
    bool at[PATTERN_BYTES_MAX + 3];
    size_t low, high; /* none outside */
};

/* Stars may stand for nothing. */
static void skip(const struct pattern *p, struct places *s, size_t end) {
    for (size_t i = s->low; i <= s->high && i < end; i++) {
        size_t step = p->kinds[i] == IS_SLASH ? 2 : p->kinds[i] == IS_BYTE ? 0 : 1;
        if (!s->at[i] || step == 0)
            continue;
        s->at[i + step] = true;
        if (i + step > s->high)
            s->high = i + step;
    }
}

static bool stays(enum kind kind, char c) {
    return kind == IS_STARS || (kind == IS_STAR && c != '/');
}

/* Backwards: a place is left before the one ahead of it is moved there. */
static void move(const struct pattern *p, struct places *s, size_t end, char c) {
    for (size_t i = s->high + 1; i-- > s->low;) {
        if (!s->at[i])
            continue;
        enum kind kind = i < end ? (enum kind)p->kinds[i] : IS_BYTE;
        bool is_next = i < end && p->text[i] == c && (kind == IS_BYTE || kind == IS_SLASH);
        s->at[i] = i < end && stays(kind, c);
        if (is_next)
            s->at[i + 1] = true;
        if (is_next && i == s->high)
            s->high++;
    }
    while (s->low < s->high && !s->at[s->low])
        s->low++;
    while (s->high > s->low && !s->at[s->high])
        s->high--;
}

/* The part between the literal ends, with `path` cut in the same way. */
static bool middle_fits(const struct pattern *p, struct slice path) {
    size_t end = p->len - p->suffix;
    struct places s;

    s.low = s.high = p->prefix;
    memset(s.at, 0, p->len + 2);
    s.at[p->prefix] = true;
    skip(p, &s, end);
    for (size_t i = 0; i < path.len && s.at[s.low]; i++) {
        move(p, &s, end, path.ptr[i]);
        skip(p, &s, end);
    }
    return s.high == end && s.at[end];
}

bool pattern_fits(const struct pattern *pattern, struct slice path) {
    size_t ends = pattern->prefix + pattern->suffix;

    if (path.len < ends || memcmp(path.ptr, pattern->text, pattern->prefix) != 0)
        return false;
    if (pattern->prefix == pattern->len)
        return path.len == pattern->len;
    return memcmp(path.ptr + path.len - pattern->suffix,
                  pattern->text + pattern->len - pattern->suffix, pattern->suffix) == 0 &&
           middle_fits(pattern, slice_of(path.ptr + pattern->prefix, path.len - ends));
}

/* --- texts ------------------------------------------------------------------------------------ */

static bool is_same(char a, char b, bool any_case) {
    return a == b || (any_case && tolower((unsigned char)a) == tolower((unsigned char)b));
}

/* Bytes of the pattern that stand for its next byte: 2 with a backslash before it. */
static size_t width_at(struct slice wanted, size_t p) {
    bool is_escaped = wanted.ptr[p] == '\\' && p + 1 < wanted.len &&
                      (wanted.ptr[p + 1] == '*' || wanted.ptr[p + 1] == '\\');

    return is_escaped ? 2 : 1;
}

/* After a mismatch the last star takes one byte more. */
static bool text_fits(struct slice wanted, struct slice text, bool any_case) {
    size_t p = 0, i = 0, star = SIZE_MAX, retry_at = 0;

    while (i < text.len) {
        size_t width = p < wanted.len ? width_at(wanted, p) : 0;
        if (width == 1 && wanted.ptr[p] == '*') {
            star = p++;
            retry_at = i;
        } else if (width > 0 && is_same(wanted.ptr[p + width - 1], text.ptr[i], any_case)) {
            p += width;
            i++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            i = ++retry_at;
        } else {
            return false;
        }
    }
    while (p < wanted.len && wanted.ptr[p] == '*')
        p++;
    return p == wanted.len;
}

bool pattern_text_fits(struct slice wanted, struct slice text) {
    return text_fits(wanted, text, false);
}

bool pattern_text_fits_nocase(struct slice wanted, struct slice text) {
    return text_fits(wanted, text, true);
}
