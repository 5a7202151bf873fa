/* SPDX-License-Identifier: MIT */
/* Counts requests per client or key, for answers that follow a script: a bounded table of sets. */
#include "slowapi/shared.h"
#include <string.h>

static struct sequence *find(struct shared *shared, uint64_t key) {
    struct sequence *set = &shared->sequences[key % (SHARED_SEQUENCES / SHARED_WAYS) * SHARED_WAYS];
    struct sequence *oldest = set;

    for (size_t i = 0; i < SHARED_WAYS; i++) {
        if (set[i].key == key)
            return &set[i];
        if (set[i].used_at < oldest->used_at)
            oldest = &set[i];
    }
    *oldest = (struct sequence){ .key = key };
    return oldest;
}

uint64_t sequence_next(struct shared *shared, uint64_t key) {
    shared_lock(shared);
    struct sequence *sequence = find(shared, key);
    uint64_t count = sequence->count++;
    sequence->used_at = ++shared->sequence_clock;
    shared_unlock(shared);
    return count;
}

void sequence_forget_all(struct shared *shared) {
    shared_lock(shared);
    memset(shared->sequences, 0, sizeof(shared->sequences));
    shared_unlock(shared);
}
