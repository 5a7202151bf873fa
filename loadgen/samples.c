/* SPDX-License-Identifier: MIT */
/* A growing array of records. */
#include "loadgen/samples.h"
#include "base/alloc.h"
#include <stdlib.h>
#include <string.h>

enum { SAMPLES_FIRST = 4096 };

void samples_free(struct samples *s) {
    mem_free(s->items);
    *s = (struct samples){ .items = NULL };
}

static bool grow(struct samples *s, size_t least) {
    size_t cap = s->cap > 0 ? s->cap : SAMPLES_FIRST;
    while (cap < least)
        cap *= 2;
    if (cap == s->cap)
        return true;
    struct sample *items = mem_realloc(s->items, cap * sizeof(*items));
    if (items == NULL) {
        s->incomplete = true;
        return false;
    }
    s->items = items;
    s->cap = cap;
    return true;
}

size_t samples_begin(struct samples *s, nsec_t start) {
    if (s->incomplete || !grow(s, s->count + 1))
        return SIZE_MAX;
    s->items[s->count] = (struct sample){ .start = start, .outcome = SAMPLE_UNFINISHED };
    return s->count++;
}

static uint32_t narrow(uint64_t value) {
    return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

void samples_end(struct samples *s, size_t number, int outcome, uint16_t status,
                 uint64_t body_bytes, const struct timing *timing) {
    if (number >= s->count)
        return;
    struct sample *sample = &s->items[number];
    sample->queue_us = narrow((uint64_t)timing->queue);
    sample->connect_us = narrow((uint64_t)timing->connect);
    sample->send_us = narrow((uint64_t)timing->send);
    sample->wait_us = narrow((uint64_t)timing->wait);
    sample->receive_us = narrow((uint64_t)timing->receive);
    sample->total_us = narrow((uint64_t)(timing->queue + timing->total));
    sample->body_bytes = body_bytes;
    sample->status = status;
    sample->outcome = (int8_t)outcome;
    sample->reused = timing->reused;
    sample->disturbed = timing->disturbed;
}

void samples_merge(struct samples *to, struct samples *from) {
    to->incomplete |= from->incomplete;
    if (from->count > 0 && grow(to, to->count + from->count)) {
        memcpy(&to->items[to->count], from->items, from->count * sizeof(*from->items));
        to->count += from->count;
    }
    samples_free(from);
}

static int by_start(const void *a, const void *b) {
    const struct sample *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

static int by_time(const void *a, const void *b) {
    const struct sample *x = a, *y = b;
    return (x->total_us > y->total_us) - (x->total_us < y->total_us);
}

void samples_sort(struct samples *s, bool by_total) {
    if (s->count > 0)
        qsort(s->items, s->count, sizeof(*s->items), by_total ? by_time : by_start);
}
