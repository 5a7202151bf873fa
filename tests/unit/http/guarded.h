/* SPDX-License-Identifier: MIT */
/* Copies of input that end, or begin, right at an unreadable page: one byte too far and the test
 * dies. */
#ifndef TESTS_HTTP_GUARDED_H
#define TESTS_HTTP_GUARDED_H

#include "base/assert.h"
#include "base/slice.h"
#include <sys/mman.h>
#include <unistd.h>

/*  | unreadable |  bytes  | unreadable |  */
struct guarded {
    char *begin;
    size_t bytes;
};

static inline size_t guarded_page(void) {
    return (size_t)sysconf(_SC_PAGESIZE);
}

static inline struct guarded guarded_make(size_t at_least) {
    size_t page = guarded_page();
    struct guarded g = { .bytes = (at_least / page + 1) * page };
    char *map = mmap(NULL, g.bytes + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT(map != MAP_FAILED);
    g.begin = map + page;
    ASSERT(mprotect(g.begin, g.bytes, PROT_READ | PROT_WRITE) == 0);
    return g;
}

static inline void guarded_free(struct guarded *g) {
    size_t page = guarded_page();
    ASSERT(munmap(g->begin - page, g->bytes + 2 * page) == 0);
}

static inline struct slice guarded_put(char *at, struct slice s) {
    if (s.len > 0)
        memcpy(at, s.ptr, s.len);
    return slice_of(at, s.len);
}

static inline struct slice guarded_at_end(struct guarded *g, struct slice s) {
    ASSERT(s.len <= g->bytes);
    return guarded_put(g->begin + g->bytes - s.len, s);
}

static inline struct slice guarded_at_start(struct guarded *g, struct slice s) {
    ASSERT(s.len <= g->bytes);
    return guarded_put(g->begin, s);
}

#endif
