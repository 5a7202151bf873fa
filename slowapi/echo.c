/* SPDX-License-Identifier: MIT */
/* Writes requests as JSON, with httpbin's names. */
#include "slowapi/echo.h"
#include "base/alloc.h"
#include "http/url.h"
#include <jansson.h>
#include <stdlib.h>

json_t *echo_text(struct slice s) {
    json_t *text = json_stringn(s.len > 0 ? s.ptr : "", s.len);
    if (text != NULL)
        return text;

    char *wide = mem_alloc(2 * s.len);
    size_t len = 0;
    for (size_t i = 0; wide != NULL && i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c >= 0x80)
            wide[len++] = (char)(0xc0 | c >> 6);
        wide[len++] = (char)(c >= 0x80 ? 0x80 | (c & 0x3f) : c);
    }
    text = wide != NULL ? json_stringn(wide, len) : NULL;
    mem_free(wide);
    return text;
}

/* Of a name that comes again the values stand in a list. */
static void add(json_t *object, struct slice name, json_t *value) {
    char *key = slice_dup(name);
    json_t *there = key != NULL ? json_object_get(object, key) : NULL;

    if (json_is_array(there)) {
        json_array_append_new(there, value);
    } else if (there != NULL) {
        json_object_set_new(object, key, json_pack("[O,o]", there, value));
    } else if (key == NULL || json_object_set_new(object, key, value) < 0) {
        /* a name that is no UTF-8 is left out */
    }
    mem_free(key);
}

static json_t *headers_of(const struct http_head *head) {
    json_t *object = json_object();
    struct http_cursor at = { .started = false };
    struct slice name, value;

    while (http_field_walk(head, &at, &name, &value))
        add(object, name, echo_text(value));
    return object;
}

/* `room` is as long as `raw`, or NULL; what cannot be decoded stays as it is. */
static struct slice decoded(struct slice raw, char *room) {
    long len = room != NULL ? http_percent_decode(raw, room) : -1;

    return len < 0 ? raw : slice_of(room, (size_t)len);
}

static json_t *args_of(struct slice query) {
    json_t *object = json_object();
    struct slice name, value;

    while (http_query_next(&query, &name, &value)) {
        char *name_room = slice_dup(name), *value_room = slice_dup(value);
        add(object, decoded(name, name_room), echo_text(decoded(value, value_room)));
        mem_free(name_room);
        mem_free(value_room);
    }
    return object;
}

char *echo_json(const struct http_head *head, enum echo_parts parts) {
    json_t *json = json_object();
    struct slice path, query;

    if (parts == ECHO_ALL) {
        http_target_split(head->target, &path, &query);
        json_object_set_new(json, "args", args_of(query));
        json_object_set_new(json, "method", echo_text(head->method_text));
        json_object_set_new(json, "url", echo_text(head->target));
    }
    json_object_set_new(json, "headers", headers_of(head));
    char *text = json_dumps(json, JSON_INDENT(2) | JSON_SORT_KEYS);
    json_decref(json);
    return text;
}
