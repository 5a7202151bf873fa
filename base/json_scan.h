/* SPDX-License-Identifier: MIT */
/* Reads an object of JSON member by member without building it (RFC 8259): for lines that are read
 * too often to be parsed into memory. Usage:
 *
 *   rc = json_scan_begin(&s, text)              0 or -EINVAL: no object
 *   while ((rc = json_scan_next(&s, &m)) > 0)   rc < 0: malformed, and s.why says how
 *       use(m.key, m.kind, m.value)
 */
#ifndef BASE_JSON_SCAN_H
#define BASE_JSON_SCAN_H

#include "base/buf.h"

#define JSON_SCAN_DEPTH_MAX 64

enum json_kind {
    JSON_KIND_STRING,
    JSON_KIND_NUMBER,
    JSON_KIND_OBJECT,
    JSON_KIND_ARRAY,
    JSON_KIND_WORD
};

/* Slices into the text. */
struct json_member {
    struct slice key;    /* between its quotes, escapes and all */
    struct slice value;  /* a string: between its quotes, escapes and all; else as it stands */
    enum json_kind kind; /* JSON_KIND_WORD: true, false or null */
    bool has_escapes;    /* of a string: json_scan_unescape is needed */
};

struct json_scan {
    const char *at, *end;
    bool began;
    const char *why; /* static */
};

/* `text` is one object and nothing else but white space. 0 or -EINVAL. */
NODISCARD int json_scan_begin(struct json_scan *s, struct slice text);

/* 1 with a member, 0 behind the last one, -EINVAL. Nested values are checked, too. */
NODISCARD int json_scan_next(struct json_scan *s, struct json_member *ret);

/* Writes what a string stands for, in UTF-8, to `out`, which has as many bytes as the string and
 * may be the string itself. The string comes from json_scan_next. Returns the length. */
size_t json_scan_unescape(struct slice string, char *out);

#endif
