/* SPDX-License-Identifier: MIT */
/* The timers of a loop: a 4-ary heap, shallower than a binary one and kinder to cache lines.
 *
 * The deadline stands in the heap beside the pointer, so that sifting reads no timer.
 * Entry i has its children at 4i+1 .. 4i+4; timer->slot is i+1. */
#ifndef NET_TIMER_HEAP_H
#define NET_TIMER_HEAP_H

#include "base/attr.h"
#include "base/clock.h"
#include <stdbool.h>
#include <stdint.h>

/* A timer lies in the object that it belongs to; zero it before the first use. It fires once, at
 * `at` or later, never earlier. Its callback may set and cancel any timer, itself included. Cancel
 * an armed one before its memory goes. */
struct timer {
    nsec_t at;
    uint32_t slot; /* 1-based place in the heap, 0 when not armed */
    void (*fire)(struct timer *);
};

static inline bool timer_armed(const struct timer *timer) {
    return timer->slot != 0;
}

struct timer_heap_entry {
    nsec_t at;
    struct timer *timer;
};

struct timer_heap {
    struct timer_heap_entry *entries; /* NULL until the first timer */
    uint32_t count, cap;
};

/* Puts a timer in, or moves it when it is in already. 0 or -ENOMEM (nothing changed). */
NODISCARD int timer_heap_set(struct timer_heap *heap, struct timer *timer, nsec_t at);

/* Takes it out; nothing when it is not in. */
void timer_heap_remove(struct timer_heap *heap, struct timer *timer);

void timer_heap_free(struct timer_heap *heap);

/* The earliest deadline; NSEC_NEVER when empty. */
static inline nsec_t timer_heap_earliest(const struct timer_heap *heap) {
    return heap->count > 0 ? heap->entries[0].at : NSEC_NEVER;
}

#endif
