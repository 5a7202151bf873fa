/* SPDX-License-Identifier: MIT */
/* Makes strings of JSON from bytes that nobody has looked at. */
#include "base/json.h"
#include "base/alloc.h"
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

char *json_line(json_t *json) {
    char *text = json != NULL
                     ? json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9))
                     : NULL;

    json_decref(json);
    return text;
}
