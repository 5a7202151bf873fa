/* SPDX-License-Identifier: MIT */
/* Writes heads and chunks: checks every piece, reserves once, then copies. Dates are cached. */
#include "http/encode.h"
#include "base/clock.h"
#include "http/chars.h"
#include <assert.h>
#include <errno.h>
#include <time.h>

/* Room for everything that is not a slice of the caller: versions, status, names, Content-Length,
 * Connection, line ends. */
#define FIXED_BYTES 192
#define FIELD_BYTES 4 /* ": " and CRLF */

static char *put(char *at, struct slice s) {
    if (s.len > 0)
        memcpy(at, s.ptr, s.len);
    return at + s.len;
}

static char *put_field(char *at, struct slice name_colon, struct slice value) {
    at = put(at, name_colon);
    at = put(at, value);
    return put(at, SLICE("\r\n"));
}

static char *put_u64(char *at, uint64_t value) {
    char digits[20];
    size_t i = sizeof(digits);
    do {
        digits[--i] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return put(at, slice_of(digits + i, sizeof(digits) - i));
}

static bool is_value(struct slice s) {
    return s.len == 0 || http_span_value(s.ptr, s.len) == s.len;
}

static bool is_token(struct slice s) {
    return s.len > 0 && http_span(s.ptr, s.len, HTTP_CHAR_TOKEN) == s.len;
}

/* Like a value, and no space either: it would end the target. Most hold only what a URL may. */
static bool is_target(struct slice s) {
    if (s.len > 0 && http_span_target(s.ptr, s.len) == s.len)
        return true;
    return s.len > 0 && is_value(s) && memchr(s.ptr, ' ', s.len) == NULL &&
           memchr(s.ptr, '\t', s.len) == NULL;
}

/* The bytes that the fields need, or 0 when one must not be sent. Never 0 for none: FIXED_BYTES is
 * in it. */
static size_t measure_fields(const struct http_field *fields, size_t count) {
    size_t bytes = FIXED_BYTES;
    for (size_t i = 0; i < count; i++) {
        if (!is_token(fields[i].name) || !is_value(fields[i].value))
            return 0;
        bytes += fields[i].name.len + fields[i].value.len + FIELD_BYTES;
    }
    return bytes;
}

static char *put_fields(char *at, const struct http_field *fields, size_t count) {
    for (size_t i = 0; i < count; i++) {
        at = put(at, fields[i].name);
        at = put_field(at, SLICE(": "), fields[i].value);
    }
    return at;
}

struct framing {
    uint64_t content_length;
    bool has_content_length, chunked, close, keep_alive;
};

static char *put_framing(char *at, struct framing f) {
    if (f.has_content_length) {
        at = put(at, SLICE("Content-Length: "));
        at = put_u64(at, f.content_length);
        at = put(at, SLICE("\r\n"));
    }
    if (f.chunked)
        at = put(at, SLICE("Transfer-Encoding: chunked\r\n"));
    if (f.close)
        at = put(at, SLICE("Connection: close\r\n"));
    else if (f.keep_alive)
        at = put(at, SLICE("Connection: keep-alive\r\n"));
    return at;
}

static void finish(struct buf *out, char *at) {
    at = put(at, SLICE("\r\n"));
    buf_added(out, (size_t)(at - buf_tail(out)));
}

int http_encode_request(struct buf *out, const struct http_request_head *head) {
    struct slice method =
        head->method_text.len > 0 ? head->method_text : slice_str(http_method_name(head->method));
    size_t bytes = measure_fields(head->fields, head->field_count);
    size_t target_len = head->target.len + head->suffix.len;
    if (bytes == 0 || !is_token(method) || !is_value(head->host))
        return -EINVAL;
    if (head->has_content_length && head->chunked)
        return -EINVAL;
    int rc = buf_reserve(out, bytes + method.len + target_len + head->host.len);
    if (rc != 0)
        return rc;

    char *at = put(buf_tail(out), method);
    *at++ = ' ';
    at = put(at, head->target);
    at = put(at, head->suffix);
    if (!is_target(slice_of(at - target_len, target_len)))
        return -EINVAL; /* nothing was added yet */
    at = put(at, head->version_minor > 0 ? SLICE(" HTTP/1.1\r\n") : SLICE(" HTTP/1.0\r\n"));
    if (head->host.len > 0)
        at = put_field(at, SLICE("Host: "), head->host);
    at = put_fields(at, head->fields, head->field_count);
    at = put_framing(at, (struct framing){ head->content_length, head->has_content_length,
                                           head->chunked, head->close, head->keep_alive });
    finish(out, at);
    return 0;
}

static char *put_status_line(char *at, const struct http_response_head *head, struct slice reason) {
    at = put(at, head->version_minor > 0 ? SLICE("HTTP/1.1 ") : SLICE("HTTP/1.0 "));
    at = put_u64(at, head->status);
    return put_field(at, SLICE(" "), reason);
}

int http_encode_response(struct buf *out, const struct http_response_head *head) {
    struct slice reason =
        head->reason.len > 0 ? head->reason : slice_str(http_status_reason(head->status));
    size_t bytes = measure_fields(head->fields, head->field_count);
    if (bytes == 0 || head->status < 100 || head->status > 999)
        return -EINVAL;
    if (!is_value(reason) || !is_value(head->content_type) || !is_value(head->date) ||
        !is_value(head->timing))
        return -EINVAL;
    if (head->has_content_length && head->chunked)
        return -EINVAL;
    int rc = buf_reserve(out, bytes + reason.len + head->content_type.len + head->date.len +
                                  head->timing.len);
    if (rc != 0)
        return rc;

    char *at = put_status_line(buf_tail(out), head, reason);
    if (head->date.len > 0)
        at = put_field(at, SLICE("Date: "), head->date);
    if (head->content_type.len > 0)
        at = put_field(at, SLICE("Content-Type: "), head->content_type);
    if (head->timing.len > 0)
        at = put_field(at, SLICE("Server-Timing: "), head->timing);
    at = put_framing(at, (struct framing){ head->content_length, head->has_content_length,
                                           head->chunked, head->close, head->keep_alive });
    at = put_fields(at, head->fields, head->field_count);
    finish(out, at);
    return 0;
}

int http_encode_chunk(struct buf *out, struct slice data) {
    char size[16];
    size_t i = sizeof(size);
    size_t left = data.len;
    do {
        size[--i] = "0123456789abcdef"[left & 15];
        left >>= 4;
    } while (left > 0);

    int rc = buf_reserve(out, sizeof(size) + 4 + data.len);
    if (rc != 0)
        return rc;
    char *at = put_field(buf_tail(out), slice_of(size + i, sizeof(size) - i), (struct slice){ 0 });
    at = put(at, data);
    finish(out, at);
    return 0;
}

/* --- dates ---------------------------------------------------------------------------------- */

/* 9999-12-31: the format has four digits for the year. */
#define SECONDS_MAX INT64_C(253402300799)

void http_date(int64_t seconds, char *text) {
    static_assert(HTTP_DATE_BYTES == CLOCK_HTTP_BYTES, "it is written by the clock");
    clock_format_http(seconds < 0 ? 0 : seconds > SECONDS_MAX ? SECONDS_MAX : seconds, text);
}

struct slice http_date_now(void) {
    static _Thread_local int64_t cached_second = -1;
    static _Thread_local char cached_text[HTTP_DATE_BYTES];
    struct timespec now;
    /* The coarse clock is a read of shared memory, and a tick late is still the right second to
     * HTTP. */
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != cached_second) {
        http_date(now.tv_sec, cached_text);
        cached_second = now.tv_sec;
    }
    return slice_of(cached_text, HTTP_DATE_BYTES - 1);
}
