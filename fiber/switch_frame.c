/* SPDX-License-Identifier: MIT */
/* The first frame of a new stack, as switch.S would have saved it. */
#include "base/attr.h"
#include "fiber/switch.h"
#include <stdint.h>
#include <string.h>

__attribute__((visibility("hidden"))) void fiber_switch_start(void);

/* Places of the frame's words, from the stack pointer upwards in the order of the pops. A frame
 * pointer (rbp, x29) of zero ends frame-pointer walks. */
#if defined(__x86_64__)
enum { RETURN = 6, ENTRY = 3, ARG = 2, WORDS = 7 }; /* rip, r12, r13; r15 to rip */
#elif defined(__aarch64__)
enum { RETURN = 11, ENTRY = 0, ARG = 1, WORDS = 20 }; /* x30, x19, x20; x19 to x30, d8 to d15 */
#endif

void *fiber_switch_prepare(void *low UNUSED, void *top, void (*entry)(void *), void *arg) {
    const uintptr_t frame[WORDS] = {
        [RETURN] = (uintptr_t)fiber_switch_start,
        [ENTRY] = (uintptr_t)entry,
        [ARG] = (uintptr_t)arg,
    };
    void *sp = (char *)top - sizeof(frame);

    memcpy(sp, frame, sizeof(frame));
    return sp;
}
