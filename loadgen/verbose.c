/* SPDX-License-Identifier: MIT */
/* Prints the request and the heads of responses for people who debug a set of options. */
#include "loadgen/verbose.h"
#include <stdio.h>

void verbose_request(const struct request *r) {
    struct slice head = slice_take(buf_unread(&r->bytes), r->head_bytes);
    fprintf(stderr, "request head:\n---\n%.*s---\n", (int)head.len, head.ptr);
}

void verbose_response(const struct http_head *head, int64_t level) {
    if (level >= VERBOSE_STATUS)
        fprintf(stderr, "response code = %u\n", head->status);
    struct slice rest = head->fields, name, value;
    fprintf(stderr, "response head:\n");
    while (http_field_next(&rest, &name, &value))
        fprintf(stderr, "  %.*s: %.*s\n", (int)name.len, name.ptr, (int)value.len, value.ptr);
}
