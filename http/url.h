/* SPDX-License-Identifier: MIT */
/* Request targets and URLs, taken apart without copying; queries, decoded on demand. */
#ifndef HTTP_URL_H
#define HTTP_URL_H

#include "base/slice.h"

/* http://host:port/path?query, or unix:/path/to/socket[:/target] with the socket's path in `host`.
 * Slices into the text. */
struct http_url {
    struct slice scheme;   /* "http", "https", "unix"; "http" when the text had none */
    struct slice userinfo; /* without the @; may be empty */
    struct slice host;     /* without brackets */
    uint16_t port;         /* the scheme's own when none was given */
    bool has_port, host_is_ipv6;
    struct slice target; /* path and query as it goes on the request line; "/" when empty */
};

/* Accepts absolute URLs and `host:port/path`; refuses fragments, spaces and control characters.
 * 0 or -EINVAL with a static text in *ret_why. */
NODISCARD int http_url_parse(struct slice text, struct http_url *ret, const char **ret_why);

/* Splits an origin-form or absolute-form target into path and query (without the '?'; empty when
 * none). */
void http_target_split(struct slice target, struct slice *ret_path, struct slice *ret_query);

/* Walks `a=b&c=d`: raw (still encoded) name and value; false at the end. */
bool http_query_next(struct slice *rest, struct slice *ret_name, struct slice *ret_value);

/* The raw value of the first parameter with that (decoded) name; false when there is none. */
bool http_query_find(struct slice query, struct slice name, struct slice *ret_value);

/* Whether one of the parameters decodes to that name and value. */
bool http_query_has(struct slice query, struct slice name, struct slice value);

/* Walks the raw values of the parameters with that (decoded) name; false at the end. */
bool http_query_walk(struct slice *rest, struct slice name, struct slice *ret_value);

/* Percent-decoding, '+' as a space. Writes at most raw.len bytes to `out`. The length, or -EINVAL
 * for a bad escape or an encoded NUL. `out` may be the raw text itself. */
NODISCARD long http_percent_decode(struct slice raw, char *out);

/* Decodes a path, where '+' is itself (RFC 3986 section 3.3). */
NODISCARD long http_path_decode(struct slice raw, char *out);

#endif
