/* SPDX-License-Identifier: MIT */
/* Tells ASan and valgrind which bytes nobody may touch; costs nothing without them. POISON_ASAN and
 * POISON_TSAN: the build has that sanitizer. */
#ifndef BASE_POISON_H
#define BASE_POISON_H

#include "base/attr.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISON_ASAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define POISON_ASAN 1
#endif

#if defined(__SANITIZE_THREAD__)
#define POISON_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define POISON_TSAN 1
#endif
#endif

#ifdef POISON_ASAN
#include <sanitizer/asan_interface.h>
#define POISON_GAP_BYTES \
    16 /* ASan sees a stray access only if it does not hit the next allocation */
#else
#define POISON_GAP_BYTES 0
#endif

#ifdef HAVE_VALGRIND
#include <valgrind/memcheck.h>
#endif

static inline void poison_bytes(UNUSED void *ptr, UNUSED size_t size_bytes) {
#ifdef POISON_ASAN
    ASAN_POISON_MEMORY_REGION(ptr, size_bytes);
#endif
#ifdef HAVE_VALGRIND
    (void)VALGRIND_MAKE_MEM_NOACCESS(ptr, size_bytes);
#endif
}

/* The bytes may be written now; to valgrind they hold nothing yet. */
static inline void unpoison_bytes(UNUSED void *ptr, UNUSED size_t size_bytes) {
#ifdef POISON_ASAN
    ASAN_UNPOISON_MEMORY_REGION(ptr, size_bytes);
#endif
#ifdef HAVE_VALGRIND
    (void)VALGRIND_MAKE_MEM_UNDEFINED(ptr, size_bytes);
#endif
}

#endif
