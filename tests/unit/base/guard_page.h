/* SPDX-License-Identifier: MIT */
/* Text that ends where memory ends: reading one byte too far is a SIGSEGV. */
#ifndef TESTS_UNIT_BASE_GUARD_PAGE_H
#define TESTS_UNIT_BASE_GUARD_PAGE_H

#include "base/assert.h"
#include "base/slice.h"
#include <sys/mman.h>
#include <unistd.h>

struct guarded {
    char *pages; /* one readable, one not */
    size_t page_bytes;
};

static inline struct guarded guard_open(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT(pages != MAP_FAILED);
    ASSERT(mprotect(pages + page, page, PROT_NONE) == 0);
    return (struct guarded){ pages, page };
}

/* A copy of `text` (at most a page) flush against the unreadable page; valid until the next one. */
static inline struct slice guard_copy(const struct guarded *g, const char *text) {
    size_t len = strlen(text);
    ASSERT(len <= g->page_bytes);
    char *at = g->pages + g->page_bytes - len;
    memcpy(at, text, len);
    return slice_of(at, len);
}

static inline void guard_close(struct guarded *g) {
    munmap(g->pages, 2 * g->page_bytes);
}

#endif
