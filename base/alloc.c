/* SPDX-License-Identifier: MIT */
/* Allocation through malloc(3), with a countdown to one failure for tests. */
#include "base/alloc.h"
#include <stdlib.h>

/* The countdown is per thread, so that a test never fails an allocation of a thread beside it. */
static _Thread_local long allocations_left = -1;
static _Thread_local bool failure_seen;

static bool must_fail(void) {
    if (LIKELY(allocations_left < 0))
        return false;
    if (allocations_left-- > 0)
        return false;
    failure_seen = true;
    return true;
}

void *mem_alloc(size_t size_bytes) {
    return must_fail() ? NULL : malloc(size_bytes > 0 ? size_bytes : 1);
}

void *mem_calloc(size_t count, size_t size_bytes) {
    return must_fail() ? NULL : calloc(count > 0 ? count : 1, size_bytes > 0 ? size_bytes : 1);
}

void *mem_realloc(void *ptr, size_t size_bytes) {
    return must_fail() ? NULL : realloc(ptr, size_bytes);
}

void mem_free(void *ptr) {
    free(ptr);
}

void mem_fail_after(long n) {
    allocations_left = n < 0 ? -1 : n;
    failure_seen = false;
}

bool mem_failed(void) {
    return failure_seen;
}
