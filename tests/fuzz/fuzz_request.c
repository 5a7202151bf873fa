/* SPDX-License-Identifier: MIT */
/* Request heads: split invariance, and what was accepted can be written and read again. */
#include "http/encode.h"
#include "http/head.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/heads.h"

static const struct http_limits limits = HTTP_LIMITS_DEFAULT;

static void check_round_trip(const struct http_head *head) {
    struct http_field fields[100];
    struct slice rest = head->fields;
    size_t count = 0;
    while (http_field_next(&rest, &fields[count].name, &fields[count].value))
        count++;
    const struct http_request_head out = {
        .method_text = head->method_text,
        .target = head->target,
        .fields = fields,
        .field_count = count,
        .version_minor = head->version_minor,
    };
    struct buf text;
    struct http_head again;
    buf_init(&text, SIZE_MAX / 2);
    ASSERT(http_encode_request(&text, &out) == 0);
    struct http_parse parse = http_parse_request(buf_unread(&text), 0, &limits, &again);
    ASSERT(parse.kind == HTTP_PARSE_DONE && parse.used == buf_unread(&text).len);
    ASSERT(slice_eq(again.method_text, head->method_text) && slice_eq(again.target, head->target));
    ASSERT(slice_eq(again.host, head->host) && again.method == head->method);
    ASSERT(again.framing == head->framing && again.content_length == head->content_length);
    ASSERT(again.says_close == head->says_close && again.says_keep_alive == head->says_keep_alive);
    ASSERT(again.expects_continue == head->expects_continue);
    buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct http_head head;
    struct slice input = slice_of((const char *)data, size);
    if (heads_check(http_parse_request, input, &head).kind == HTTP_PARSE_DONE) {
        ASSERT(head.version_minor == 0 || head.host.len > 0);
        check_round_trip(&head);
    }
    return 0;
}
