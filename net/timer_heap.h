/* SPDX-License-Identifier: MIT */
/* The timers of a loop: a 4-ary heap, shallower than a binary one and kinder to cache lines.
 *
 * The deadline stands in the heap beside the pointer, so that sifting reads no timer.
 * Entry i has its children at 4i+1 .. 4i+4; timer->slot is i+1. */
#ifndef NET_TIMER_HEAP_H
#define NET_TIMER_HEAP_H

#include "net/loop.h"

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
