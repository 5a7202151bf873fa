/* SPDX-License-Identifier: MIT */
/* Forms: the first line is the Content-Type, and the rest is the body. Parts lie inside it, in
 * their order. */
#include "http/multipart.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>

static void check_inside(struct slice part, struct slice whole) {
    ASSERT(part.len == 0 ||
           (part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len));
}

static void check_unquoting(struct slice raw) {
    char *out = malloc(raw.len + 1);

    ASSERT(out != NULL && http_unquote(raw, out) <= raw.len);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice body = slice_of((const char *)data, size), type = slice_cut(&body, '\n');
    struct http_multipart m;
    struct http_part part;
    const char *at = body.ptr;
    int rc = http_multipart_begin(&m, type, body);

    while (rc >= 0 && (rc = http_multipart_next(&m, &part)) > 0) {
        check_inside(part.name, body);
        check_inside(part.file, body);
        check_inside(part.data, body);
        ASSERT(part.data.ptr >= at);
        at = part.data.ptr + part.data.len;
        check_unquoting(part.name);
    }
    ASSERT((rc < 0) == (m.why != NULL));
    return 0;
}
