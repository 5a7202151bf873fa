/* SPDX-License-Identifier: MIT */
/* The jump from one stack to another, the only machine-dependent part of fibers.
 *
 * Assembly on x86-64 and aarch64 (switch.S), ucontext(3) elsewhere or with
 * -Dfiber_switch=ucontext. Neither may be inlined: a compiler would carry thread-local addresses
 * and registers across. Assembly does not save the signal mask, nor the floating point control
 * words (MXCSR, x87 CW, FPCR), which a fiber must leave alone. */
#ifndef FIBER_SWITCH_H
#define FIBER_SWITCH_H

#include <stddef.h>

/* Stores the registers on the running stack and its pointer in *save, then goes on where `to` was
 * saved. Returns when somebody switches to *save. */
__attribute__((visibility("hidden"))) void fiber_switch(void **save, void *to);

/* Lays out a new stack that ends at `top` (16-byte aligned): the first switch to the returned
 * pointer calls entry(arg), which must never return. */
__attribute__((visibility("hidden"))) void *fiber_switch_prepare(void *low, void *top,
                                                                 void (*entry)(void *), void *arg);

#endif
