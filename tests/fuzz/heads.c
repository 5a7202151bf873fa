/* SPDX-License-Identifier: MIT */
/* Checks that a head means the same however it arrives. */
#include "tests/fuzz/heads.h"
#include "http/chars.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>

static const struct http_limits limits[] = {
    HTTP_LIMITS_DEFAULT,
    { .start_line_bytes = 20, .field_bytes = 12, .fields = 3, .head_bytes = 48 },
    { .start_line_bytes = 30, .field_bytes = 100, .fields = 100, .head_bytes = 24 },
};

/* For responses: what is accepted beyond the strict, and noted. */
static const struct http_limits lenient[] = {
    HTTP_LIMITS_LENIENT(&limits[0]),
    HTTP_LIMITS_LENIENT(&limits[1]),
    { .start_line_bytes = 20,
      .field_bytes = 24,
      .fields = 5,
      .head_bytes = 60,
      .usual = &limits[2] },
};

static void check_inside(struct slice part, struct slice whole) {
    ASSERT(part.len == 0 ||
           (part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len));
}

static void check_fields(const struct http_head *head, const struct http_limits *l) {
    struct slice rest = head->fields, name, value;
    size_t count = 0;
    while (http_field_next(&rest, &name, &value)) {
        count++;
        check_inside(name, head->fields);
        check_inside(value, head->fields);
        ASSERT(name.len > 0 && http_span(name.ptr, name.len, HTTP_CHAR_TOKEN) == name.len);
        ASSERT(http_span_value(value.ptr, value.len) == value.len);
        ASSERT(slice_trim(value).len == value.len);
    }
    ASSERT(count <= l->fields && head->fields.len <= l->head_bytes);
}

static void check_done(const struct http_head *head, struct slice input, size_t used,
                       const struct http_limits *l) {
    struct slice whole = slice_take(input, used);
    ASSERT(used > 0 && used <= input.len && used <= l->head_bytes + 2 * HTTP_LEADING_LINES_MAX);
    check_inside(head->method_text, whole);
    check_inside(head->target, whole);
    check_inside(head->reason, whole);
    check_inside(head->host, whole);
    check_inside(head->fields, whole);
    ASSERT(head->version_minor <= 1);
    ASSERT(!(head->chunked && head->has_content_length));
    check_fields(head, l);
}

static bool is_same(struct http_parse a, struct http_parse b) {
    return a.kind == b.kind && a.used == b.used && a.why == b.why;
}

/* Arriving byte by byte, up to the first answer that is not "more". */
static struct http_parse parse_slowly(heads_parse_fn *parse, struct slice input,
                                      const struct http_limits *l) {
    struct http_parse answer = { .kind = HTTP_PARSE_MORE };
    for (size_t len = 1; len <= input.len && answer.kind == HTTP_PARSE_MORE; len++) {
        struct http_head head;
        answer = parse(slice_take(input, len), len - 1, l, &head);
        ASSERT(answer.kind != HTTP_PARSE_DONE || answer.used == len);
    }
    return answer;
}

/* Whatever is strictly right is so leniently, and unnoted; what was forgiven is noted. */
static void check_lenience(struct slice input, const struct http_limits *l) {
    struct http_head strict_head, head;
    char *copy = malloc(input.len + 1); /* folds are written over */
    ASSERT(copy != NULL);
    memcpy(copy, input.ptr, input.len);
    struct slice bytes = slice_of(copy, input.len);
    struct http_parse slowly = parse_slowly(http_parse_response, bytes, l);
    memcpy(copy, input.ptr, input.len);
    struct http_parse answer = http_parse_response(bytes, 0, l, &head);
    struct http_parse strict = http_parse_response(input, 0, l->usual, &strict_head);
    ASSERT(is_same(answer, slowly));
    if (answer.kind == HTTP_PARSE_DONE) {
        check_done(&head, bytes, answer.used, l);
        ASSERT((strict.kind == HTTP_PARSE_DONE) == (head.noted == 0));
        ASSERT(strict.kind != HTTP_PARSE_DONE || strict.used == answer.used);
    }
    ASSERT(strict.kind != HTTP_PARSE_DONE || answer.kind == HTTP_PARSE_DONE);
    free(copy);
}

struct http_parse heads_check(heads_parse_fn *parse, struct slice input, struct http_head *ret) {
    struct http_parse answer = { .kind = HTTP_PARSE_MORE };
    for (size_t i = ARRAY_LEN(limits); i-- > 0;) {
        answer = parse(input, 0, &limits[i], ret);
        ASSERT((answer.kind == HTTP_PARSE_BAD) == (answer.why != NULL));
        if (answer.kind == HTTP_PARSE_DONE)
            check_done(ret, input, answer.used, &limits[i]);
        ASSERT(is_same(answer, parse_slowly(parse, input, &limits[i])));
    }
    for (size_t i = 0; parse == http_parse_response && i < ARRAY_LEN(lenient); i++)
        check_lenience(input, &lenient[i]);
    return answer;
}
