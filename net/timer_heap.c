/* SPDX-License-Identifier: MIT */
/* A 4-ary heap of intrusive timers. */
#include "net/timer_heap.h"
#include "base/alloc.h"
#include "base/assert.h"
#include <errno.h>

enum { HEAP_ARITY = 4, HEAP_CAP_FIRST = 64 };

static void place(struct timer_heap *heap, uint32_t i, struct timer_heap_entry entry) {
    heap->entries[i] = entry;
    entry.timer->slot = i + 1;
}

/* Both sifts move a hole instead of swapping: one store per level. */
static void sift_up(struct timer_heap *heap, uint32_t hole, struct timer_heap_entry entry) {
    while (hole > 0) {
        uint32_t parent = (hole - 1) / HEAP_ARITY;
        if (heap->entries[parent].at <= entry.at)
            break;
        place(heap, hole, heap->entries[parent]);
        hole = parent;
    }
    place(heap, hole, entry);
}

static uint32_t earliest_child(const struct timer_heap *heap, uint32_t i) {
    uint32_t first = HEAP_ARITY * i + 1;
    uint32_t end = heap->count - first > HEAP_ARITY ? first + HEAP_ARITY : heap->count;
    uint32_t best = first;

    for (uint32_t child = first + 1; child < end; child++) {
        if (heap->entries[child].at < heap->entries[best].at)
            best = child;
    }
    return best;
}

static void sift_down(struct timer_heap *heap, uint32_t hole, struct timer_heap_entry entry) {
    while (hole < (heap->count + HEAP_ARITY - 2) / HEAP_ARITY) {
        uint32_t child = earliest_child(heap, hole);
        if (heap->entries[child].at >= entry.at)
            break;
        place(heap, hole, heap->entries[child]);
        hole = child;
    }
    place(heap, hole, entry);
}

static void sift(struct timer_heap *heap, uint32_t hole, struct timer_heap_entry entry) {
    if (hole > 0 && heap->entries[(hole - 1) / HEAP_ARITY].at > entry.at)
        sift_up(heap, hole, entry);
    else
        sift_down(heap, hole, entry);
}

static int grow(struct timer_heap *heap) {
    uint32_t cap = heap->cap > 0 ? heap->cap * 2 : HEAP_CAP_FIRST;
    struct timer_heap_entry *entries = mem_realloc(heap->entries, cap * sizeof(*entries));
    if (entries == NULL)
        return -ENOMEM;

    heap->entries = entries;
    heap->cap = cap;
    return 0;
}

int timer_heap_set(struct timer_heap *heap, struct timer *timer, nsec_t at) {
    uint32_t hole;

    if (timer->slot != 0) {
        hole = timer->slot - 1;
        ASSERT(hole < heap->count && heap->entries[hole].timer == timer);
    } else {
        if (heap->count == heap->cap && grow(heap) < 0)
            return -ENOMEM;
        hole = heap->count++;
    }

    timer->at = at;
    sift(heap, hole, (struct timer_heap_entry){ at, timer });
    return 0;
}

void timer_heap_remove(struct timer_heap *heap, struct timer *timer) {
    if (timer->slot == 0)
        return;

    uint32_t hole = timer->slot - 1;
    ASSERT(hole < heap->count && heap->entries[hole].timer == timer);
    timer->slot = 0;

    struct timer_heap_entry last = heap->entries[--heap->count];
    if (hole < heap->count)
        sift(heap, hole, last);
}

void timer_heap_free(struct timer_heap *heap) {
    for (uint32_t i = 0; i < heap->count; i++)
        heap->entries[i].timer->slot = 0;
    mem_free(heap->entries);
    *heap = (struct timer_heap){ 0 };
}
