/* SPDX-License-Identifier: MIT */
/* The first frame of a new stack, as fiber_switch.S would have saved it. */
#include "base/attr.h"
#include "fiber/switch.h"
#include <stdint.h>
#include <string.h>

__attribute__((visibility("hidden"))) void fiber_switch_start(void);

#if defined(__x86_64__)

/* From the stack pointer upwards, in the order of the pops. A zero rbp ends frame-pointer walks. */
struct frame {
    uint64_t r15, r14, r13, r12, rbx, rbp, rip;
};

static void fill(struct frame *frame, void (*entry)(void *), void *arg) {
    frame->r12 = (uintptr_t)entry;
    frame->r13 = (uintptr_t)arg;
    frame->rip = (uintptr_t)fiber_switch_start;
}

#elif defined(__aarch64__)

struct frame {
    uint64_t x19, x20, x21_to_x28[8], x29, x30;
    uint64_t d8_to_d15[8];
};

static void fill(struct frame *frame, void (*entry)(void *), void *arg) {
    frame->x19 = (uintptr_t)entry;
    frame->x20 = (uintptr_t)arg;
    frame->x30 = (uintptr_t)fiber_switch_start;
}

#endif

void *fiber_switch_prepare(void *low UNUSED, void *top, void (*entry)(void *), void *arg) {
    struct frame frame = { 0 };
    void *sp = (char *)top - sizeof(frame);

    fill(&frame, entry, arg);
    memcpy(sp, &frame, sizeof(frame));
    return sp;
}
