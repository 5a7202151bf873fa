/* SPDX-License-Identifier: MIT */
/* Lines of files of requests and of logs: parts inside the text, objects that jansson takes, too,
 * and strings that mean what jansson says. */
#include "loadgen/mix_line.h"
#include "tests/fuzz/fuzz.h"
#include <jansson.h>
#include <stdlib.h>

static void check_inside(struct slice part, struct slice whole) {
    ASSERT(part.len == 0 ||
           (part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len));
}

static void check_text(struct mix_text text, struct slice whole) {
    char *room = malloc(text.raw.len + 1);
    ASSERT(room != NULL);
    check_inside(text.raw, whole);
    ASSERT(mix_text_of(text, room).len <= text.raw.len);
    free(room);
}

static void check_line(struct slice text) {
    struct mix_line line;
    const char *why = NULL;
    int rc = mix_line_parse(text, &line, &why);
    ASSERT((rc < 0) == (why != NULL));
    if (rc <= 0)
        return;
    ASSERT(line.url.raw.len > 0 && line.weight > 0);
    check_inside(line.method, text);
    check_inside(line.headers, text);
    check_inside(line.expect_status, text);
    check_text(line.url, text);
    check_text(line.body, text);
    check_text(line.name, text);
    check_text(line.expect_body, text);
}

static void check_log(struct slice text) {
    struct mix_line line;
    enum mix_unplayable why = MIX_UNPLAYABLES_COUNT;
    int rc = mix_line_parse_log(text, &line, &why);
    ASSERT((rc < 0) == (why != MIX_UNPLAYABLES_COUNT));
    if (rc <= 0)
        return;
    check_inside(line.url.raw, text);
    ASSERT(line.url.raw.ptr[0] == '/');
    for (size_t i = 0; i < line.url.raw.len; i++)
        ASSERT((unsigned char)line.url.raw.ptr[i] > ' ');
}

/* An object that the scanner takes is one for jansson, unless bytes are no UTF-8, a number is too
 * large for a double, or an escape is half of a character. */
static void check_object(struct slice text) {
    struct json_scan scan;
    struct json_member m;
    int rc = json_scan_begin(&scan, text);
    while (rc == 0 && (rc = json_scan_next(&scan, &m)) > 0) {
        check_inside(m.key, text);
        check_inside(m.value, text);
        rc = 0;
    }
    if (rc != 0)
        return;
    json_error_t error;
    json_t *json = json_loadb(text.ptr, text.len, 0, &error);
    ASSERT(json != NULL || json_error_code(&error) == json_error_invalid_utf8 ||
           json_error_code(&error) == json_error_numeric_overflow ||
           memmem(text.ptr, text.len, "\\u", 2) != NULL);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice text = slice_of(size > 0 ? (const char *)data : "", size);
    check_line(text);
    check_log(text);
    check_object(text);
    return 0;
}
