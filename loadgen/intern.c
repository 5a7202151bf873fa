/* SPDX-License-Identifier: MIT */
/* Keeps texts in a list, and finds them by a hash table with open addressing. */
#include "loadgen/intern.h"
#include "base/alloc.h"
#include "base/rng.h"
#include <errno.h>

enum { SLOTS_FIRST = 16 };

void intern_init(struct intern *in, size_t max) {
    *in = (struct intern){ .max = max };
}

void intern_free(struct intern *in) {
    for (size_t i = 0; i < in->count; i++)
        mem_free(in->texts[i]);
    mem_free(in->texts);
    mem_free(in->slots);
    intern_init(in, in->max);
}

/* The slot that holds the text, or the empty one where it belongs; there are slots. */
static size_t slot_of(const struct intern *in, struct slice text) {
    size_t mask = in->slot_count - 1, slot = hash_bytes(HASH_SEED, text.ptr, text.len) & mask;
    for (; in->slots[slot] != 0; slot = (slot + 1) & mask) {
        const char *there = in->texts[in->slots[slot] - 1];
        if (slice_eq(slice_str(there), text))
            break;
    }
    return slot;
}

/* Makes room for one more. */
static int grow(struct intern *in) {
    if (in->count * 2 < in->slot_count)
        return 0;
    size_t slot_count = in->slot_count > 0 ? in->slot_count * 2 : SLOTS_FIRST;
    char **texts = mem_realloc(in->texts, slot_count / 2 * sizeof(*texts));
    if (texts == NULL)
        return -ENOMEM;
    in->texts = texts;
    uint32_t *slots = mem_calloc(slot_count, sizeof(*slots));
    if (slots == NULL)
        return -ENOMEM;
    mem_free(in->slots);
    in->slots = slots;
    in->slot_count = slot_count;
    for (size_t i = 0; i < in->count; i++)
        in->slots[slot_of(in, slice_str(in->texts[i]))] = (uint32_t)(i + 1);
    return 0;
}

int intern_add(struct intern *in, struct slice text, size_t *ret) {
    if (text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL)
        return -EINVAL;
    long found = intern_find(in, text);
    if (found >= 0) {
        *ret = (size_t)found;
        return 0;
    }
    if (in->count == in->max)
        return -ENOSPC;
    int rc = grow(in);
    char *copy = rc == 0 ? slice_dup(text) : NULL;
    if (copy == NULL)
        return -ENOMEM;
    *ret = in->count++;
    in->texts[*ret] = copy;
    in->slots[slot_of(in, text)] = (uint32_t)in->count;
    return 0;
}

long intern_find(const struct intern *in, struct slice text) {
    if (in->slot_count == 0)
        return -ENOENT;
    uint32_t number = in->slots[slot_of(in, text)];
    return number > 0 ? (long)number - 1 : -ENOENT;
}
