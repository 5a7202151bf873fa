/* SPDX-License-Identifier: MIT */
/* Allocates by malloc(3) and mmap(2), with a countdown to one failure for tests. */
#include "base/alloc.h"
#include <stdlib.h>
#include <sys/mman.h>

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

void *mem_share(size_t size_bytes) {
    int flags = MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE;
    void *memory =
        must_fail() ? MAP_FAILED : mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, flags, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

void mem_unshare(void *ptr, size_t size_bytes) {
    if (ptr != NULL)
        munmap(ptr, size_bytes);
}

void mem_fail_after(long n) {
    allocations_left = n < 0 ? -1 : n;
    failure_seen = false;
}

bool mem_failed(void) {
    return failure_seen;
}
