/* SPDX-License-Identifier: MIT */
/* Response heads: split invariance, and a framing that agrees with the fields. */
#include "http/head.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/heads.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct http_head head;
    struct slice input = slice_of((const char *)data, size);
    if (heads_check(http_parse_response, input, &head).kind != HTTP_PARSE_DONE)
        return 0;
    ASSERT(head.status >= 100 && head.status <= 999);
    ASSERT(head.chunked == (head.framing == HTTP_FRAMING_CHUNKED));
    ASSERT(head.has_content_length == (head.framing == HTTP_FRAMING_LENGTH));
    ASSERT(!head.chunked || head.version_minor == 1);
    ASSERT(http_response_framing(&head, HTTP_METHOD_HEAD) == HTTP_FRAMING_NONE);
    return 0;
}
