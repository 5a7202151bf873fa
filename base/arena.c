/* SPDX-License-Identifier: MIT */
/* Cuts a request's allocations from a few chunks that are freed together. */
#include "base/arena.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "base/poison.h"
#include <stdalign.h>
#include <stdio.h>

#define ARENA_FIRST_BYTES 512   /* the first chunk: enough for most; each later one doubles */
#define ARENA_CHUNK_BYTES 32768 /* doubling stops here; a larger allocation gets its own size */
#define ARENA_KEEP_BYTES  4096  /* the largest chunk that survives a reset */

/*   chunk      data              used               cap
 *    | header   | handed out       | poisoned        |     */
struct arena_chunk {
    struct arena_chunk *older;
    size_t used, cap; /* offsets into data */
    alignas(max_align_t) char data[];
};

void arena_init(struct arena *a, size_t max_bytes) {
    *a = (struct arena){ .max_bytes = max_bytes };
}

static void chunk_free(struct arena_chunk *chunk) {
    unpoison_bytes(chunk->data, chunk->cap);
    mem_free(chunk);
}

static void arena_drop(struct arena *a, struct arena_chunk *keep) {
    struct arena_chunk *chunk = a->chunks;
    while (chunk != NULL) {
        struct arena_chunk *older = chunk->older;
        if (chunk != keep)
            chunk_free(chunk);
        chunk = older;
    }
    if (keep != NULL) {
        keep->older = NULL;
        keep->used = 0;
        poison_bytes(keep->data, keep->cap);
    }
    a->chunks = keep;
    a->used_bytes = 0;
}

void arena_free(struct arena *a) {
    arena_drop(a, NULL);
}

void arena_reset(struct arena *a) {
    struct arena_chunk *keep = a->chunks;
    while (keep != NULL && keep->cap > ARENA_KEEP_BYTES)
        keep = keep->older;
    arena_drop(a, keep);
}

static struct arena_chunk *arena_grow(struct arena *a, size_t need_bytes) {
    size_t cap = ARENA_FIRST_BYTES - sizeof(struct arena_chunk);
    if (a->chunks != NULL)
        cap = a->chunks->cap < ARENA_CHUNK_BYTES / 2 ? a->chunks->cap * 2 : ARENA_CHUNK_BYTES;
    if (cap < need_bytes)
        cap = need_bytes;

    struct arena_chunk *chunk = mem_alloc(sizeof(*chunk) + cap);
    if (chunk == NULL)
        return NULL;
    *chunk = (struct arena_chunk){ .older = a->chunks, .cap = cap };
    poison_bytes(chunk->data, cap);
    a->chunks = chunk;
    return chunk;
}

void *arena_alloc(struct arena *a, size_t size_bytes) {
    size_t align = alignof(max_align_t);
    if (size_bytes > a->max_bytes - a->used_bytes)
        return NULL;
    if (size_bytes > PTRDIFF_MAX / 2) /* no object is that large; sums below cannot wrap */
        return NULL;
    size_t span = (size_bytes + (size_bytes == 0) + POISON_GAP_BYTES + align - 1) & ~(align - 1);

    struct arena_chunk *chunk = a->chunks;
    if (chunk == NULL || span > chunk->cap - chunk->used)
        chunk = arena_grow(a, span);
    if (chunk == NULL)
        return NULL;
    void *ptr = chunk->data + chunk->used;
    chunk->used += span;
    a->used_bytes += size_bytes;
    unpoison_bytes(ptr, size_bytes);
    return ptr;
}

char *arena_dup(struct arena *a, struct slice s) {
    ASSERT(s.len < SIZE_MAX);
    char *copy = arena_alloc(a, s.len + 1);
    if (copy == NULL)
        return NULL;
    if (s.len > 0)
        memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return copy;
}

char *arena_vprintf(struct arena *a, const char *fmt, va_list args) {
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    char *text = len < 0 ? NULL : arena_alloc(a, (size_t)len + 1);
    if (text != NULL)
        vsnprintf(text, (size_t)len + 1, fmt, again);
    va_end(again);
    return text;
}

char *arena_printf(struct arena *a, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    char *text = arena_vprintf(a, fmt, args);
    va_end(args);
    return text;
}
