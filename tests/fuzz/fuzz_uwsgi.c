/* SPDX-License-Identifier: MIT */
/* uwsgi packets and PROXY headers: complete at one byte and not before, and what became of a packet
 * can be walked and says only what a request over HTTP could say. */
#include "http/chars.h"
#include "http/proxy_protocol.h"
#include "http/uwsgi.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>

static const struct http_limits limits = HTTP_LIMITS_DEFAULT;

static bool is_inside(struct slice s, const char *text, size_t len) {
    return s.len == 0 || (s.ptr >= text && s.ptr + s.len <= text + len);
}

static void check_head(const struct http_head *head, const char *text, size_t len) {
    struct slice rest = head->fields, name, value;

    ASSERT(is_inside(head->fields, text, len) && is_inside(head->target, text, len));
    ASSERT(is_inside(head->method_text, text, len) && is_inside(head->host, text, len));
    ASSERT(head->target.len > 0 && head->method_text.len > 0);
    ASSERT(head->framing == HTTP_FRAMING_NONE || head->framing == HTTP_FRAMING_LENGTH);
    ASSERT(!head->chunked && !head->expects_continue && !head->says_keep_alive);
    while (http_field_next(&rest, &name, &value)) {
        ASSERT(name.len > 0 && http_span(name.ptr, name.len, HTTP_CHAR_TOKEN) == name.len);
        ASSERT(http_span_value(value.ptr, value.len) == value.len);
        ASSERT(memchr(name.ptr, '_', name.len) == NULL);
    }
}

static void check_packet(struct slice packet) {
    struct slice vars = slice_drop(packet, UWSGI_HEADER_BYTES);
    char *copy = malloc(vars.len + 1), *text = malloc(vars.len + 1);
    struct http_head head;
    struct uwsgi_origin origin;

    ASSERT(copy != NULL && text != NULL);
    memcpy(copy, vars.ptr, vars.len);
    if (uwsgi_request(slice_of(copy, vars.len), &limits, text, &head, &origin) == NULL) {
        memset(copy, 0, vars.len); /* the results must not need the packet any more */
        check_head(&head, text, vars.len);
        ASSERT(is_inside(origin.address, text, vars.len));
    }
    free(copy);
    free(text);
}

static void check_proxy(struct slice input) {
    struct proxy_client client;
    struct http_parse whole = proxy_protocol_parse(input, &client), part;

    ASSERT(whole.used <= input.len);
    for (size_t len = 0; len < input.len && len < 64; len++) {
        part = proxy_protocol_parse(slice_take(input, len), &client);
        ASSERT(part.kind == HTTP_PARSE_MORE || part.kind == whole.kind);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice input = slice_of((const char *)data, size);
    struct http_parse whole = uwsgi_packet(input, &limits);

    if (whole.kind == HTTP_PARSE_DONE) {
        ASSERT(whole.used <= input.len);
        ASSERT(uwsgi_packet(slice_take(input, whole.used - 1), &limits).kind == HTTP_PARSE_MORE);
        check_packet(slice_take(input, whole.used));
    }
    check_proxy(input);
    return 0;
}
