/* SPDX-License-Identifier: MIT */
/* Pages and images that always answer the same. */
#ifndef SLOWAPI_PAGE_H
#define SLOWAPI_PAGE_H

#include "base/slice.h"

struct page {
    struct slice path;
    const char *type;
    const char *text;
    bool is_base64; /* `text` is */
};

/* NULL: there is none. */
const struct page *page_find(struct slice path);

/* The bytes of the page; mem_free. NULL when out of memory. */
NODISCARD char *page_text(const struct page *page, size_t *ret_size);

#endif
