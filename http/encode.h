/* SPDX-License-Identifier: MIT */
/* Encoder of heads, chunks and dates. Appends to a buffer; errors are those of buf_append. */
#ifndef HTTP_ENCODE_H
#define HTTP_ENCODE_H

#include "base/buf.h"
#include "http/head.h"

struct http_field {
    struct slice name, value;
};

/* A head to be sent. -EINVAL when it would not be parsed as what it is: a name or method that is
 * no token, a control character in a value (HTAB may be), white space in a target, two framings. */
struct http_request_head {
    enum http_method method;
    struct slice method_text;    /* instead of `method` when not empty */
    struct slice target, suffix; /* appended to `target`; may be empty */
    struct slice host;           /* Host is sent when not empty */
    const struct http_field *fields;
    size_t field_count;
    uint64_t content_length;
    bool has_content_length, chunked;
    bool close, keep_alive; /* Connection: close, Connection: keep-alive */
    uint8_t version_minor;
};

struct http_response_head {
    uint16_t status;
    struct slice reason;       /* empty: the registered phrase */
    struct slice content_type; /* sent when not empty */
    struct slice date;         /* an IMF-fixdate (http_date); sent when not empty */
    struct slice timing;       /* Server-Timing; sent when not empty */
    const struct http_field *fields;
    size_t field_count;
    uint64_t content_length;
    bool has_content_length, chunked, close, keep_alive;
    uint8_t version_minor; /* a server always says 1, also to HTTP/1.0 (RFC 9110 section 6.2) */
};

NODISCARD int http_encode_request(struct buf *out, const struct http_request_head *head);
NODISCARD int http_encode_response(struct buf *out, const struct http_response_head *head);

/* One chunk; an empty one is the last and ends the body, without trailers. */
NODISCARD int http_encode_chunk(struct buf *out, struct slice data);

#define HTTP_DATE_BYTES 30

/* IMF-fixdate (RFC 9110 section 5.6.7) of a time in seconds since 1970. `text` has HTTP_DATE_BYTES.
 */
void http_date(int64_t seconds, char *text);

/* The date of now, formatted once per second and cached by thread. Valid until the thread's next
 * call. */
struct slice http_date_now(void);

/* The registered reason phrase, or "Unknown". */
const char *http_status_reason(uint16_t status);

#endif
