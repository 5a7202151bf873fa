/* SPDX-License-Identifier: MIT */
/* Walks over values of JSON, and says where they end. */
#include "base/json_scan.h"
#include <errno.h>

static int refuse(struct json_scan *s, const char *why) {
    s->why = why;
    return -EINVAL;
}

static void skip_space(struct json_scan *s) {
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r'))
        s->at++;
}

static bool take(struct json_scan *s, char c) {
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* -1 for what is no hexadecimal digit. */
static int hex_of(char c) {
    char lower = (char)(c | 0x20);
    if (is_digit(c))
        return c - '0';
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The four digits behind a \u, or -1. */
static int unit_of(const char *at, const char *end) {
    int unit = 0;
    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_of(at[i]);
        if (digit < 0)
            return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

static int skip_escape(struct json_scan *s) {
    char c = s->at < s->end ? *s->at : '\0';
    if (c == 'u' && unit_of(s->at + 1, s->end) > 0) {
        s->at += 5;
        return 0;
    }
    if (c == '\0' || strchr("\"\\/bfnrt", c) == NULL)
        return refuse(s, "has an escape that is none, or \\u0000");
    s->at++;
    return 0;
}

/* Behind the opening quote. */
static int scan_string(struct json_scan *s, struct slice *ret, bool *ret_has_escapes) {
    const char *start = s->at;
    *ret_has_escapes = false;
    for (;;) {
        const char *at = s->at, *end = s->end; /* registers, while nothing is special */
        while (at < end && *at != '"' && *at != '\\' && (unsigned char)*at >= ' ')
            at++;
        s->at = at;
        if (s->at == s->end)
            return refuse(s, "has a string without an end");
        if (*s->at == '"')
            break;
        if (*s->at != '\\')
            return refuse(s, "has a control character within a string");
        s->at++;
        *ret_has_escapes = true;
        int rc = skip_escape(s);
        if (rc != 0)
            return rc;
    }
    *ret = slice_of(start, (size_t)(s->at - start));
    s->at++;
    return 0;
}

static bool skip_digits(struct json_scan *s) {
    const char *start = s->at;
    while (s->at < s->end && is_digit(*s->at))
        s->at++;
    return s->at > start;
}

static int scan_number(struct json_scan *s) {
    (void)take(s, '-');
    bool ok = take(s, '0') || skip_digits(s);
    if (ok && take(s, '.'))
        ok = skip_digits(s);
    if (ok && s->at < s->end && (*s->at | 0x20) == 'e') {
        s->at++;
        if (!take(s, '+'))
            (void)take(s, '-');
        ok = skip_digits(s);
    }
    return ok ? 0 : refuse(s, "has a number that is none");
}

static int scan_word(struct json_scan *s) {
    static const struct slice words[] = { SLICE_INIT("true"), SLICE_INIT("false"),
                                          SLICE_INIT("null") };
    struct slice rest = slice_of(s->at, (size_t)(s->end - s->at));
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!slice_starts_with(rest, words[i]))
            continue;
        s->at += words[i].len;
        return 0;
    }
    return refuse(s, "has a value that is none of JSON");
}

static int skip_key(struct json_scan *s, struct slice *ret) {
    bool has_escapes;
    skip_space(s);
    if (!take(s, '"'))
        return refuse(s, "lacks the name of a member, in double quotes");
    int rc = scan_string(s, ret, &has_escapes);
    if (rc != 0)
        return rc;
    skip_space(s);
    return take(s, ':') ? 0 : refuse(s, "lacks a colon behind the name of a member");
}

/* A string, a number or a word at `at`, where no white space is. */
static int scan_scalar(struct json_scan *s, struct slice *ret, enum json_kind *ret_kind,
                       bool *ret_has_escapes) {
    const char *start = s->at;
    *ret_has_escapes = false;
    *ret_kind = JSON_KIND_STRING;
    if (take(s, '"'))
        return scan_string(s, ret, ret_has_escapes);
    bool is_number = s->at < s->end && (*s->at == '-' || is_digit(*s->at));
    *ret_kind = is_number ? JSON_KIND_NUMBER : JSON_KIND_WORD;
    int rc = is_number ? scan_number(s) : scan_word(s);
    *ret = slice_of(start, (size_t)(s->at - start));
    return rc;
}

/* A bit of `objects` per open bracket: an object, or a list. Between two values of it. */
static int next_nested(struct json_scan *s, uint64_t objects, unsigned depth, bool is_first) {
    struct slice key;
    bool is_object = objects >> depth & 1;
    if (!is_first && !take(s, ','))
        return refuse(s, "lacks a comma, or the end of a list or an object");
    int rc = is_object ? skip_key(s, &key) : 0;
    skip_space(s);
    return rc;
}

/* An object or a list at `at`, whole. Brackets are bits, so that no input deepens the stack. */
static int scan_nested(struct json_scan *s) {
    uint64_t objects = 0;
    unsigned depth = 0; /* of the innermost bracket, plus one */
    bool is_first = true;
    do {
        struct slice value;
        enum json_kind kind;
        bool has_escapes;
        skip_space(s);
        if (depth > 0 && take(s, objects >> depth & 1 ? '}' : ']')) {
            depth--;
            is_first = false;
            continue;
        }
        int rc = depth > 0 ? next_nested(s, objects, depth, is_first) : 0;
        if (rc != 0)
            return rc;
        is_first = false;
        if (s->at < s->end && (*s->at == '{' || *s->at == '[')) {
            if (++depth == JSON_SCAN_DEPTH_MAX)
                return refuse(s, "is nested too deeply");
            uint64_t bit = UINT64_C(1) << depth;
            objects = *s->at == '{' ? objects | bit : objects & ~bit;
            s->at++;
            is_first = true;
            continue;
        }
        rc = scan_scalar(s, &value, &kind, &has_escapes);
        if (rc != 0)
            return rc;
    } while (depth > 0);
    return 0;
}

static int scan_value(struct json_scan *s, struct json_member *m) {
    skip_space(s);
    const char *start = s->at;
    if (start == s->end || (*start != '{' && *start != '['))
        return scan_scalar(s, &m->value, &m->kind, &m->has_escapes);
    m->kind = *start == '{' ? JSON_KIND_OBJECT : JSON_KIND_ARRAY;
    m->has_escapes = false;
    int rc = scan_nested(s);
    m->value = slice_of(start, (size_t)(s->at - start));
    return rc;
}

int json_scan_begin(struct json_scan *s, struct slice text) {
    *s = (struct json_scan){ .at = text.ptr, .end = text.ptr + text.len };
    skip_space(s);
    return take(s, '{') ? 0 : refuse(s, "is no object of JSON");
}

/* 0 at the end of the object, behind which nothing may stand. */
static int finish(struct json_scan *s) {
    skip_space(s);
    return s->at == s->end ? 0 : refuse(s, "goes on behind the end of its object");
}

int json_scan_next(struct json_scan *s, struct json_member *ret) {
    skip_space(s);
    if (take(s, '}'))
        return finish(s);
    if (s->began && !take(s, ','))
        return refuse(s, "lacks a comma between members, or the end of the object");
    s->began = true;
    int rc = skip_key(s, &ret->key);
    if (rc == 0)
        rc = scan_value(s, ret);
    return rc == 0 ? 1 : rc;
}

/* --- strings ---------------------------------------------------------------------------------- */

/* Three bytes at most: what needs four stands for two units, twelve bytes of the string. */
static char *put_character(char *out, uint32_t c) {
    static const unsigned char marks[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    int bytes = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (int i = bytes - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(marks[bytes == 1 ? 0 : bytes] | c);
    return out + bytes;
}

/* Two units that belong together are one character; one that stands alone becomes U+FFFD. */
static char *put_units(char *out, const char **at, const char *end) {
    uint32_t high = (uint32_t)unit_of(*at, end);
    *at += 4;
    if (high < 0xd800 || high > 0xdfff)
        return put_character(out, high);
    int low = end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u' ? unit_of(*at + 2, end) : -1;
    if (high > 0xdbff || low < 0xdc00 || low > 0xdfff)
        return put_character(out, 0xfffd);
    *at += 6;
    return put_character(out, 0x10000 + ((high - 0xd800) << 10) + ((uint32_t)low - 0xdc00));
}

size_t json_scan_unescape(struct slice string, char *out) {
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    char *start = out;
    const char *at = string.ptr, *end = string.ptr + string.len;
    while (at < end) {
        char c = *at++;
        if (c != '\\') {
            *out++ = c;
            continue;
        }
        c = *at++;
        const char *found = c != '\0' ? strchr(from, c) : NULL;
        if (c == 'u')
            out = put_units(out, &at, end);
        else
            *out++ = found != NULL ? to[found - from] : c;
    }
    return (size_t)(out - start);
}
