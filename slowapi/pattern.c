/* SPDX-License-Identifier: MIT */
/* Patterns of paths. */
#include "slowapi/pattern.h"
#include "base/alloc.h"
#include "http/url.h"

#define GLOB '\0' /* no path holds it */

const char *pattern_parse(struct slice path, struct pattern *ret) {
    *ret = (struct pattern){ .text = NULL };
    if (path.len == 0 || (path.ptr[0] != '/' && path.ptr[0] != '*'))
        return "has a path that does not begin with /";
    if (slice_find(path, '?') < path.len)
        return "has a path with ? in it: queries are not matched (as a character it is %3F)";
    ret->text = slice_dup(path);
    if (ret->text == NULL)
        return "out of memory";
    for (size_t i = 0; i < path.len; i++)
        if (ret->text[i] == '*')
            ret->text[i] = GLOB;
    long len = http_path_decode(slice_of(ret->text, path.len), ret->text);
    if (len < 0)
        return "has a path with a bad percent-escape (% itself is %25)";
    ret->len = (size_t)len;
    return NULL;
}

void pattern_free(struct pattern *pattern) {
    mem_free(pattern->text);
    pattern->text = NULL;
}

/* After a mismatch the last GLOB takes one byte more. */
bool pattern_fits(const struct pattern *pattern, struct slice path) {
    const char *text = pattern->text;
    size_t len = pattern->len, p = 0, i = 0, glob = len, retry_at = 0;

    while (i < path.len) {
        if (p < len && text[p] == GLOB) {
            glob = p++;
            retry_at = i;
        } else if (p < len && text[p] == path.ptr[i]) {
            p++;
            i++;
        } else if (glob < len) {
            p = glob + 1;
            i = ++retry_at;
        } else {
            return false;
        }
    }
    while (p < len && text[p] == GLOB)
        p++;
    return p == len;
}
