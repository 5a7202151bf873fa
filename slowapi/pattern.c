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

/* Copies what stands before the next star, or the end, without its backslashes, to `room`, and
 * moves behind that star. */
static struct slice cut_piece(struct slice *wanted, char *room, bool *ret_star) {
    size_t i = 0, len = 0;

    while (i < wanted->len && wanted->ptr[i] != '*') {
        bool is_escaped = wanted->ptr[i] == '\\' && i + 1 < wanted->len &&
                          (wanted->ptr[i + 1] == '*' || wanted->ptr[i + 1] == '\\');
        i += is_escaped ? 1 : 0;
        room[len++] = wanted->ptr[i++];
    }
    *ret_star = i < wanted->len;
    *wanted = slice_drop(*wanted, i + *ret_star);
    return slice_of(room, len);
}

/* Each piece between two stars is taken where it stands first: memmem(3) keeps the time linear.
 * `room` has wanted.len bytes. */
static bool text_fits(struct slice wanted, struct slice text, char *room) {
    bool has_star;
    struct slice piece = cut_piece(&wanted, room, &has_star);

    if (!has_star)
        return slice_eq(text, piece);
    if (!slice_starts_with(text, piece))
        return false;
    text = slice_drop(text, piece.len);
    for (;;) {
        piece = cut_piece(&wanted, room, &has_star);
        if (piece.len > text.len)
            return false;
        if (!has_star)
            return slice_eq(slice_drop(text, text.len - piece.len), piece);
        const char *at =
            piece.len > 0 ? memmem(text.ptr, text.len, piece.ptr, piece.len) : text.ptr;
        if (at == NULL)
            return false;
        text = slice_drop(text, (size_t)(at - text.ptr) + piece.len);
    }
}

bool pattern_text_fits(struct slice wanted, struct slice text) {
    char small[256], *room = wanted.len <= sizeof(small) ? small : mem_alloc(wanted.len);
    bool fits = room != NULL && text_fits(wanted, text, room);

    if (room != small)
        mem_free(room);
    return fits;
}

static void lower(char *to, struct slice text) {
    for (size_t i = 0; i < text.len; i++)
        to[i] = (char)tolower((unsigned char)text.ptr[i]);
}

bool pattern_text_fits_nocase(struct slice wanted, struct slice text) {
    char small[512], *room;
    size_t size = 2 * wanted.len + text.len;

    room = size <= sizeof(small) ? small : mem_alloc(size);
    if (room == NULL)
        return false;
    lower(room, wanted);
    lower(room + wanted.len, text);
    bool fits = text_fits(slice_of(room, wanted.len), slice_of(room + wanted.len, text.len),
                          room + wanted.len + text.len);
    if (room != small)
        mem_free(room);
    return fits;
}
