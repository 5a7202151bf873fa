/* SPDX-License-Identifier: MIT */
/* A switch that the checkers can follow: AddressSanitizer, ThreadSanitizer and valgrind each want
 * to know which stack runs. Nothing but fiber_switch is left of it in an ordinary build. Private to
 * fiber/fiber.c. */
#ifndef FIBER_CONTEXT_H
#define FIBER_CONTEXT_H

#include "base/poison.h"
#include "fiber/switch.h"
#include <stdbool.h>

#if defined(__SANITIZE_THREAD__)
#define FIBER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FIBER_TSAN 1
#endif
#endif

#ifdef POISON_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef FIBER_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#ifdef HAVE_VALGRIND
#include <valgrind/valgrind.h>
#endif

/* One of a fiber's stack, or of the loop's own (whose bounds only ASan asks for, and learns). */
struct fiber_context {
    void *sp; /* while it does not run */
    const void *low;
    size_t bytes;
    void *asan_fake_stack;
    void *tsan_fiber;
    unsigned valgrind_id;
};

/* For the stack that is running. */
static inline void context_adopt(UNUSED struct fiber_context *c) {
#ifdef FIBER_TSAN
    c->tsan_fiber = __tsan_get_current_fiber();
#endif
}

/* A mapped stack, and its end. */
static inline void context_map(struct fiber_context *c, const void *low, size_t bytes) {
    c->low = low;
    c->bytes = bytes;
#ifdef HAVE_VALGRIND
    c->valgrind_id = VALGRIND_STACK_REGISTER(low, (const char *)low + bytes - 1);
#endif
}

static inline void context_unmap(UNUSED struct fiber_context *c) {
#ifdef HAVE_VALGRIND
    VALGRIND_STACK_DEREGISTER(c->valgrind_id);
#endif
}

/* One life on that stack. TSan keeps a call stack of its own, which never unwinds when a fiber ends
 * in the middle of a function: it gets a new one for each life. */
static inline void context_begin(UNUSED struct fiber_context *c) {
#ifdef FIBER_TSAN
    c->tsan_fiber = __tsan_create_fiber(0);
#endif
}

/* Called on another stack. Dead frames leave red zones behind. */
static inline void context_end(UNUSED struct fiber_context *c) {
#ifdef FIBER_TSAN
    __tsan_destroy_fiber(c->tsan_fiber);
#endif
#ifdef POISON_ASAN
    ASAN_UNPOISON_MEMORY_REGION(c->low, c->bytes);
#endif
}

/* Dead frames are going to be looked at. */
static inline void context_inspect(UNUSED struct fiber_context *c) {
#ifdef HAVE_VALGRIND
    (void)VALGRIND_MAKE_MEM_DEFINED(c->low, c->bytes);
#endif
}

/* First thing on a new stack that was entered from `from`. */
static inline void context_entered(UNUSED struct fiber_context *from) {
#ifdef POISON_ASAN
    __sanitizer_finish_switch_fiber(NULL, &from->low, &from->bytes);
#endif
}

/* Leaves `from`, which runs, for `to`. `dying`: nobody will come back. */
static inline void context_switch(struct fiber_context *from, struct fiber_context *to,
                                  UNUSED bool dying) {
#ifdef POISON_ASAN
    __sanitizer_start_switch_fiber(dying ? NULL : &from->asan_fake_stack, to->low, to->bytes);
#endif
#ifdef FIBER_TSAN
    __tsan_switch_to_fiber(to->tsan_fiber, 0);
#endif
    fiber_switch(&from->sp, to->sp);
#ifdef POISON_ASAN
    __sanitizer_finish_switch_fiber(from->asan_fake_stack, NULL, NULL);
#endif
}

#endif
