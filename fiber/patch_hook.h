/* SPDX-License-Identifier: MIT */
/* The hooks of fiber/patch_*.c share this: whether to park, and libc's own calls.
 *
 *   PATCH_ORIGINAL(recv)
 *
 *   ssize_t recv(int fd, void *data, size_t size, int flags) {
 *       PATCH_QUICKLY(recv, fd, data, size, flags);
 *       struct patch *p = PATCH_HERE;
 *
 *       if (p == NULL)
 *           return original_recv()(fd, data, size, flags);
 *       patch_begin(p, "recv", fd);          from here on calls are libc's
 *       rc = ...                             patch_wait, patch_sleep ...
 *       return patch_end(p, rc);             -errno is -1 and errno
 *   }
 *
 * The name goes into fiber/meson.build, too. */
#ifndef FIBER_PATCH_HOOK_H
#define FIBER_PATCH_HOOK_H

#include "fiber/patch.h"
#include <errno.h>

/* --- whether to park ----------------------------------------------------- */

/* Bounds of the program's own code; of the functions in it that call applications. */
extern const char __executable_start[], etext[];
extern const char __start_patch_callers[] __attribute__((weak));
extern const char __stop_patch_callers[] __attribute__((weak));

static inline bool patch_is_own(const char *caller) {
    return caller >= __executable_start && caller < etext &&
           !(caller >= __start_patch_callers && caller < __stop_patch_callers);
}

/* The patch of the running fiber, or NULL: the call is libc's. */
static inline __attribute__((always_inline)) struct patch *patch_hooked(const void *caller) {
    struct patch *p = fiber_patch;

    return __builtin_expect(p == NULL, 1) || patch_is_own(caller) ? NULL : p;
}

#define PATCH_HERE patch_hooked(__builtin_return_address(0))

/* --- libc's own ---------------------------------------------------------- */

/* Defines original_NAME(). Found at the first call, which may come before any constructor. */
#define PATCH_ORIGINAL(name)                                                             \
    extern __typeof__(name) __interceptor_##name __attribute__((weak));                  \
    static __typeof__(name) *found_##name;                                               \
    static inline __typeof__(name) *original_##name(void) {                              \
        __typeof__(name) *at = __atomic_load_n(&found_##name, __ATOMIC_RELAXED);         \
                                                                                         \
        if (__builtin_expect(at == NULL, 0)) {                                           \
            at = (__typeof__(name) *)patch_find(#name, (uintptr_t)__interceptor_##name); \
            __atomic_store_n(&found_##name, at, __ATOMIC_RELAXED);                       \
        }                                                                                \
        return at;                                                                       \
    }

/* First in a hook that is called often: where nothing is patched, the rest of it costs nothing, not
 * even the registers that it needs. */
#define PATCH_QUICKLY(name, ...)                                                  \
    do {                                                                          \
        __typeof__(name) *at_ = __atomic_load_n(&found_##name, __ATOMIC_RELAXED); \
                                                                                  \
        if (__builtin_expect(fiber_patch == NULL && at_ != NULL, 1))              \
            return at_(__VA_ARGS__);                                              \
    } while (0)

/* --- inside a hook ------------------------------------------------------- */

/* Names the call; all calls are libc's until patch_end. errno is kept. */
static inline void patch_begin(struct patch *p, const char *call, int fd) {
    p->call = call;
    p->fd = fd;
    p->errno_before = errno;
    fiber_patch = NULL;
}

/* Returns what the hook does: `rc` with errno as it was, or -1 with errno for -errno. */
static inline ssize_t patch_end(struct patch *p, ssize_t rc) {
    fiber_patch = p->forked ? NULL : p;
    p->call = NULL;
    errno = rc < 0 ? (int)-rc : p->errno_before;
    return rc < 0 ? -1 : rc;
}

/* The result of a libc call as one. */
static inline ssize_t patch_result(ssize_t rc) {
    return rc < 0 ? -errno : rc;
}

#endif
