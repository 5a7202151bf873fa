/* SPDX-License-Identifier: MIT */
/* malloc(3) with a seam for tests: the n-th allocation can be made to fail. All folders allocate
 * through these; the memory is malloc's, so free(3) takes it too. Usage in a test:
 *
 *   for (long n = 0;; n++) {
 *       mem_fail_after(n);                  n allocations succeed, the next one fails, once
 *       rc = work();
 *       bool failed = mem_failed();
 *       mem_fail_after(-1);                 off
 *       if (!failed)
 *           break;                          work() needs no more than n: rc must be 0
 *       assert_int_equal(rc, -ENOMEM);      and nothing leaked, says the sanitizer
 *   }
 */
#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

#include "base/attr.h"
#include <stdbool.h>

void mem_free(void *ptr);

/* NULL when out of memory; the caller frees. A size of 0 gives a pointer that may be freed. */
NODISCARD void *mem_alloc(size_t size_bytes) __attribute__((malloc, alloc_size(1)));
NODISCARD void *mem_calloc(size_t count, size_t size_bytes)
    __attribute__((malloc, alloc_size(1, 2)));

/* `ptr` stays valid when NULL is returned; `size_bytes` is at least 1. */
NODISCARD void *mem_realloc(void *ptr, size_t size_bytes) __attribute__((alloc_size(2)));

/* Zeroed memory that processes forked from now on share. Only touched pages become resident, and
 * none are reserved. NULL when out of memory; mem_unshare, with the size, NULL-safe. mmap(2). */
NODISCARD void *mem_share(size_t size_bytes);
void mem_unshare(void *ptr, size_t size_bytes);

/* For tests, per thread: after `n` more allocations (0 or more) one fails; -1 turns it off. */
void mem_fail_after(long n);

/* Whether that failure has happened since the last mem_fail_after. */
bool mem_failed(void);

#endif
