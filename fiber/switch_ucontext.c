/* SPDX-License-Identifier: MIT */
/* fiber_switch over ucontext(3), for machines without assembly: portable, some 20 times slower,
 * since it saves the signal mask through a system call. */
#include "fiber/switch.h"
#include <stdint.h>
#include <stdlib.h>
#include <ucontext.h>

/* The saved context lives on the stack that it describes, like a pushed frame. */
__attribute__((noinline)) void fiber_switch(void **save, void *to) {
    ucontext_t here;

    *save = &here;
    if (swapcontext(&here, to) < 0)
        abort();
}

/* makecontext(3) hands over ints only: a pointer travels in two halves. */
static void start(unsigned entry_high, unsigned entry_low, unsigned arg_high, unsigned arg_low) {
    void (*entry)(void *) = (void (*)(void *))(((uintptr_t)entry_high << 32) | entry_low);

    entry((void *)(((uintptr_t)arg_high << 32) | arg_low));
}

void *fiber_switch_prepare(void *low, void *top, void (*entry)(void *), void *arg) {
    uint64_t entry_bits = (uintptr_t)entry;
    uint64_t arg_bits = (uintptr_t)arg;
    ucontext_t *context = (ucontext_t *)top - 1;

    if (getcontext(context) < 0)
        abort();
    context->uc_link = NULL;
    context->uc_stack.ss_sp = low;
    context->uc_stack.ss_size = (size_t)((char *)context - (char *)low);
    makecontext(context, (void (*)(void))start, 4, (unsigned)(entry_bits >> 32),
                (unsigned)entry_bits, (unsigned)(arg_bits >> 32), (unsigned)arg_bits);
    return context;
}
