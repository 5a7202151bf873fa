/* SPDX-License-Identifier: MIT */
/* Request methods, by name and by number. */
#include "base/attr.h"
#include "http/head.h"

#define HTTP_METHOD_TEXT(name) { #name, sizeof(#name) - 1 },
static const struct slice method_texts[] = { HTTP_METHODS(HTTP_METHOD_TEXT) };
#undef HTTP_METHOD_TEXT

const char *http_method_name(enum http_method method) {
    return method < HTTP_METHOD_OTHER ? method_texts[method].ptr : "OTHER";
}

enum http_method http_method_of(struct slice text) {
    for (size_t i = 0; i < ARRAY_LEN(method_texts); i++) {
        if (slice_eq(text, method_texts[i]))
            return (enum http_method)i;
    }
    return HTTP_METHOD_OTHER;
}
