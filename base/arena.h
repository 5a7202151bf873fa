/* SPDX-License-Identifier: MIT */
/* Memory of one request: many small allocations, freed together. Unused bytes are poisoned under
 * ASan and valgrind, so that a read past an allocation or after a reset is caught. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/slice.h"
#include <stdarg.h>

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* newest first */
    size_t used_bytes, max_bytes;
};

/* `max_bytes` bounds the sum of all allocations. Allocates nothing until the first use. */
void arena_init(struct arena *a, size_t max_bytes);

/* Frees everything that was allocated from it; the arena can be used again. */
void arena_free(struct arena *a);

/* Frees all as arena_free, but keeps one small chunk for the next request. */
void arena_reset(struct arena *a);

/* Aligned for any type, not zeroed. NULL when out of memory or above the maximum. */
NODISCARD void *arena_alloc(struct arena *a, size_t size_bytes);

/* NUL-terminated copies. NULL as arena_alloc. */
NODISCARD char *arena_dup(struct arena *a, struct slice s);
NODISCARD char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
NODISCARD char *arena_vprintf(struct arena *a, const char *fmt, va_list args) PRINTF_LIKE(2, 0);

#endif
