/* SPDX-License-Identifier: MIT */
/* Makes strings of JSON from bytes that nobody has looked at, and objects. */
#include "base/json.h"
#include "base/alloc.h"
#include "base/stream.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A character has at most three continuation bytes; more of them are no UTF-8. */
static struct slice take_whole(struct slice text, size_t max) {
    size_t len = max;

    for (int i = 0; i < 3 && len > 0 && ((unsigned char)text.ptr[len] & 0xc0) == 0x80; i++)
        len--;
    return slice_take(text, len);
}

/* Latin-1 to UTF-8: two bytes for each from 0x80 on. */
static size_t widen(char *out, struct slice text) {
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c >= 0x80)
            out[len++] = (char)(0xc0 | c >> 6);
        out[len++] = (char)(c >= 0x80 ? 0x80 | (c & 0x3f) : c);
    }
    return len;
}

json_t *json_text(struct slice text, size_t bytes_max) {
    struct slice end = text.len > bytes_max ? SLICE("...") : SLICE("");
    json_t *json = NULL;
    char *room;

    if (end.len > 0)
        text = take_whole(text, bytes_max);
    else
        json = json_stringn(text.len > 0 ? text.ptr : "", text.len);
    if (json != NULL)
        return json;
    room = mem_alloc(2 * text.len + end.len);
    if (room == NULL)
        return NULL;
    memcpy(room, text.ptr, text.len);
    memcpy(room + text.len, end.ptr, end.len);
    json = json_stringn(room, text.len + end.len);
    if (json == NULL) {
        size_t len = widen(room, text);
        memcpy(room + len, end.ptr, end.len);
        json = json_stringn(room, len + end.len);
    }
    mem_free(room);
    return json;
}

/* The length of the real number there; 0: there is none. */
static size_t real_at(const char *at) {
    size_t len = strspn(at, "+-.0123456789eE");
    bool begins = *at == '-' || isdigit((unsigned char)*at);

    return begins && strcspn(at, ".eE") < len ? len : 0;
}

/* Writes the number with the fewest digits that it needs, never more than it had. Returns the
 * length. `out` may be before `at` in one text. */
static size_t shorten(char *out, const char *at, size_t len) {
    char text[40];
    double value = strtod(at, NULL);

    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    if (strpbrk(text, ".e") == NULL)
        strcat(text, ".0");
    if (strlen(text) < len) {
        at = text;
        len = strlen(text);
    }
    memmove(out, at, len);
    return len;
}

char *json_dump_short(const json_t *json, size_t flags) {
    char *text = json_dumps(json, flags), *out = text;
    bool in_string = false;

    for (const char *at = text; at != NULL && *at != '\0';) {
        size_t len = in_string ? 0 : real_at(at);
        if (len > 0) {
            out += shorten(out, at, len);
            at += len;
            continue;
        }
        in_string ^= *at == '"';
        if (*at == '\\')
            *out++ = *at++; /* what an escape stands for ends no string */
        *out++ = *at++;
    }
    if (text != NULL)
        *out = '\0';
    return text;
}

json_t *json_parse(struct slice text) {
    size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
    json_t *json;

    if (text.len == 0)
        return NULL;
    json = json_loadb(text.ptr, text.len, flags, NULL);
    return json != NULL ? json
                        : json_loadb(text.ptr, text.len, flags | JSON_DECODE_INT_AS_REAL, NULL);
}

/* A member of an object, or an element of a list by its number from 0; NULL: there is none. */
static json_t *member_of(json_t *json, struct slice name) {
    uint64_t index;

    if (json_is_array(json))
        return slice_parse_u64(name, SIZE_MAX, &index) == 0 ? json_array_get(json, index) : NULL;
    char *key = slice_dup(name);
    json_t *member = key != NULL ? json_object_get(json, key) : NULL;
    mem_free(key);
    return member;
}

json_t *json_at(json_t *json, struct slice path) {
    while (json != NULL && path.len > 0)
        json = member_of(json, slice_cut(&path, '.'));
    return json;
}

char *json_line(json_t *json) {
    char *text = json != NULL
                     ? json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9))
                     : NULL;

    json_decref(json);
    return text;
}

int json_write(FILE *out, json_t *json, bool one_line) {
    size_t form = one_line ? JSON_COMPACT | JSON_ENSURE_ASCII : JSON_INDENT(2);
    int rc = json != NULL ? 0 : -ENOMEM;

    errno = 0;
    if (rc == 0 && (json_dumpf(json, out, form) != 0 || fputc('\n', out) == EOF))
        rc = errno != 0 ? -errno : -EIO;
    if (rc == 0)
        rc = stream_flush(out);
    json_decref(json);
    return rc;
}

void json_put(struct json_draft o, const char *key, json_t *value) {
    if (json_object_set_new(o.json, key, value) != 0)
        *o.ok = false;
}

void json_append(struct json_draft o, json_t *list, json_t *value) {
    if (json_array_append_new(list, value) != 0)
        *o.ok = false;
}

void json_put_count(struct json_draft o, const char *key, uint64_t value) {
    json_put(o, key, json_integer((json_int_t)value));
}

void json_put_real(struct json_draft o, const char *key, double value) {
    json_put(o, key, isfinite(value) ? json_real(value) : json_null());
}

void json_put_text(struct json_draft o, const char *key, struct slice text) {
    json_put(o, key, json_text(text, SIZE_MAX));
}

struct json_draft json_put_object(struct json_draft o, const char *key) {
    struct json_draft child = { json_object(), o.ok };
    json_put(o, key, child.json);
    return child;
}
