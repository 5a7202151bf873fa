/* SPDX-License-Identifier: MIT */
/* Counts what happens and sums it over the workers. */
#include "slowapi/stats.h"
#include <string.h>

void slow_stats_adopt(struct slow_stats *t, size_t place) {
    size_t slots = atomic_load(&t->total->slots);

    while (slots <= place && !atomic_compare_exchange_weak(&t->total->slots, &slots, place + 1)) {
    }
    atomic_fetch_sub(&t->total->in_flight, atomic_exchange(&t->slot->in_flight, 0));
    atomic_store(&t->slot->open, 0);
}

/* --- sums ------------------------------------------------------------------------------------- */

static void add_all(uint64_t *to, const _Atomic uint64_t *from, size_t count) {
    for (size_t i = 0; i < count; i++)
        to[i] += atomic_load_explicit(&from[i], memory_order_relaxed);
}

static void sum_paths(struct slow_stats_sum *sum) {
    for (size_t i = 0; i <= PATHS_MAX; i++) {
        sum->counters[SLOW_REQUESTS] += sum->paths[i][SLOW_PATH_REQUESTS];
        for (size_t class = 0; class < ARRAY_LEN(sum->classes); class ++)
            sum->classes[class] += sum->paths[i][class];
    }
    sum->counters[SLOW_UNANSWERED] = sum->classes[SLOW_PATH_UNANSWERED];
}

void slow_stats_sum(struct slow_stats_sum *sum, const struct slow_stats_slot *slots,
                    const struct slow_stats_total *total) {
    size_t slot_count = atomic_load(&total->slots);

    memset(sum, 0, sizeof(*sum));
    sum->in_flight = atomic_load(&total->in_flight);
    sum->in_flight_max = atomic_load(&total->in_flight_max);
    for (size_t i = 0; i < slot_count; i++) {
        const struct slow_stats_slot *slot = &slots[i];
        sum->open += atomic_load(&slot->open);
        add_all(sum->counters, slot->counters, SLOW_COUNTERS_MAX);
        add_all(sum->faults, slot->faults, FAULT_KINDS);
        add_all(sum->paths[0], slot->paths[0], (PATHS_MAX + 1) * SLOW_PATH_COUNTS);
        for (size_t k = 0; k < SLOW_TIMES; k++)
            hist_shared_merge(&sum->times[k], &slot->times[k]);
    }
    sum_paths(sum);
}

static void subtract_all(uint64_t *from, const uint64_t *what, size_t count) {
    for (size_t i = 0; i < count; i++)
        from[i] -= what[i];
}

void slow_stats_subtract(struct slow_stats_sum *sum, const struct slow_stats_sum *then) {
    subtract_all(sum->counters, then->counters, SLOW_COUNTERS_MAX);
    subtract_all(sum->faults, then->faults, FAULT_KINDS);
    subtract_all(sum->paths[0], then->paths[0], (PATHS_MAX + 1) * SLOW_PATH_COUNTS);
    subtract_all(sum->classes, then->classes, ARRAY_LEN(sum->classes));
    for (size_t k = 0; k < SLOW_TIMES; k++)
        hist_shared_subtract(&sum->times[k], &then->times[k]);
}
