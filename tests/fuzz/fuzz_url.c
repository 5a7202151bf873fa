/* SPDX-License-Identifier: MIT */
/* URLs, targets and queries: parts inside the text, decoding never longer, in place as well as not.
 */
#include "http/authority.h"
#include "http/url.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>

static void check_inside(struct slice part, struct slice whole) {
    ASSERT(part.len == 0 ||
           (part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len));
}

static void check_url(struct slice text) {
    struct http_url url;
    const char *why = NULL;
    int rc = http_url_parse(text, &url, &why);
    ASSERT((rc == 0) == (why == NULL));
    if (rc != 0)
        return;
    check_inside(url.host, text);
    check_inside(url.userinfo, text);
    ASSERT(url.host.len > 0 && url.target.len > 0 && url.target.ptr[0] == '/');
}

/* A path is decoded as a query is, but for its pluses. */
static void check_path(struct slice raw) {
    char *query = malloc(raw.len + 1), *path = malloc(raw.len + 1);
    ASSERT(query != NULL && path != NULL);
    long query_len = http_percent_decode(raw, query), path_len = http_path_decode(raw, path);
    ASSERT(query_len == path_len);
    for (long i = 0; i < path_len; i++)
        ASSERT(path[i] == query[i] || (path[i] == '+' && query[i] == ' '));
    ASSERT(path_len < 0 || memchr(path, '\0', (size_t)path_len) == NULL ||
           memchr(raw.ptr, '\0', raw.len) != NULL);
    free(query);
    free(path);
}

static void check_decoding(struct slice raw) {
    char *copy = malloc(raw.len + 1), *out = malloc(raw.len + 1);
    ASSERT(copy != NULL && out != NULL);
    if (raw.len > 0)
        memcpy(copy, raw.ptr, raw.len);
    long apart = http_percent_decode(raw, out);
    long in_place = http_percent_decode(slice_of(copy, raw.len), copy);
    ASSERT(apart == in_place && apart <= (long)raw.len);
    if (apart > 0) {
        struct slice found;
        ASSERT(memcmp(copy, out, (size_t)apart) == 0);
        /* A parameter is found by what its name decodes to. */
        if (slice_find(raw, '&') == raw.len && slice_find(raw, '=') == raw.len)
            ASSERT(http_query_find(raw, slice_of(out, (size_t)apart), &found) && found.len == 0);
    }
    free(copy);
    free(out);
}

static void check_target(struct slice target) {
    struct slice path, query, name, value;
    http_target_split(target, &path, &query);
    ASSERT(path.len > 0);
    check_inside(query, target);
    for (struct slice rest = query; http_query_next(&rest, &name, &value);) {
        check_inside(name, query);
        check_inside(value, query);
        check_decoding(value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice text = slice_of((const char *)data, size);
    struct http_authority authority;
    check_url(text);
    check_target(text);
    check_decoding(text);
    check_path(text);
    if (http_authority_parse(text, &authority))
        ASSERT(authority.host.len > 0);
    return 0;
}
