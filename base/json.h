/* SPDX-License-Identifier: MIT */
/* Text from outside as JSON, and objects that are made member by member, over jansson. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/slice.h"
#include <jansson.h>
#include <stdio.h>

/* A string of at most `bytes_max` bytes of the text; a longer text is cut at a whole character and
 * ends in "...". JSON holds UTF-8 only: text that is none is read as Latin-1, which any bytes are
 * (RFC 9110 section 5.5). NULL when out of memory; new functions of jansson take that. */
NODISCARD json_t *json_text(struct slice text, size_t bytes_max);

/* The part of it that the path names by members of objects and numbers of elements, from 0:
 * `items.0.id`; the empty path is all of it. Borrowed; NULL: there is none, or `json` is NULL. */
json_t *json_at(json_t *json, struct slice path);

/* The object or list as one line of ASCII, without newline: characters that end lines for some
 * readers, or drive terminals, are escaped. Drops the reference, takes NULL. For free(3); NULL when
 * out of memory. */
NODISCARD char *json_line(json_t *json);

/* As json_dumps of jansson with these flags, but each number is as short as it can be and still
 * reads as the same: 19.99, not 19.989999999999998. For free(3); NULL when out of memory. */
NODISCARD char *json_dump_short(const json_t *json, size_t flags);

/* A value of any kind. An integer that needs more than 63 bits makes numbers real, with a double's
 * precision, instead of the text no JSON. NULL: it is none, or memory was short. */
NODISCARD json_t *json_parse(struct slice text);

/* Writes it to the stream: indented, or as one line of ASCII, and a newline. Drops the reference;
 * NULL is what is left when memory was short. 0, -ENOMEM, or the -errno of what could not be
 * written. */
NODISCARD int json_write(FILE *out, json_t *json, bool one_line);

/* An object in the making. Its keys are valid UTF-8, so that only memory can be short, and then
 * `ok`, which all objects of one document share, becomes false: to be looked at once, at the end.
 *
 *     bool ok = true;
 *     struct json_draft root = { json_object(), &ok };
 *     json_put_count(json_put_object(root, "totals"), "requests", 7);
 *     if (!ok)
 *         json_decref(root.json);
 */
struct json_draft {
    json_t *json;
    bool *ok;
};

/* Each takes over `value`, also when that is NULL for lack of memory. */
void json_put(struct json_draft o, const char *key, json_t *value);
void json_append(struct json_draft o, json_t *list, json_t *value);

void json_put_count(struct json_draft o, const char *key, uint64_t value);
/* null for what JSON has no number for. */
void json_put_real(struct json_draft o, const char *key, double value);
void json_put_text(struct json_draft o, const char *key, struct slice text);
struct json_draft json_put_object(struct json_draft o, const char *key);

#endif
