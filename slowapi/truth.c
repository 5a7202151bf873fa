/* SPDX-License-Identifier: MIT */
/* Counts what happens and sums it over the workers. */
#include "slowapi/truth.h"
#include <string.h>

#define SUB_BITS  4
#define SUB_COUNT (1u << SUB_BITS)

static unsigned bucket_of(uint64_t usec) {
    if (usec < SUB_COUNT)
        return (unsigned)usec;

    unsigned octave = 63 - (unsigned)__builtin_clzll(usec) - SUB_BITS;
    unsigned bucket = ((octave + 1) << SUB_BITS) + (unsigned)((usec >> octave) - SUB_COUNT);
    return bucket < TRUTH_BUCKETS ? bucket : TRUTH_BUCKETS - 1;
}

/* The largest value that the bucket counts. */
static uint64_t bucket_top(unsigned bucket) {
    if (bucket < SUB_COUNT)
        return bucket;

    unsigned octave = (bucket >> SUB_BITS) - 1;
    return (((uint64_t)(bucket & (SUB_COUNT - 1)) + SUB_COUNT + 1) << octave) - 1;
}

void truth_begin(struct truth *t) {
    truth_count(t, TRUTH_REQUESTS);
    atomic_fetch_add_explicit(&t->slot->in_flight, 1, memory_order_relaxed);

    int64_t now = atomic_fetch_add_explicit(&t->total->in_flight, 1, memory_order_relaxed) + 1;
    int64_t max = atomic_load_explicit(&t->total->in_flight_max, memory_order_relaxed);
    while (now > max && !atomic_compare_exchange_weak(&t->total->in_flight_max, &max, now)) {
    }
}

void truth_end(struct truth *t, uint16_t status) {
    atomic_fetch_sub_explicit(&t->slot->in_flight, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&t->total->in_flight, 1, memory_order_relaxed);
    if (status != 0)
        truth_add(&t->slot->classes[status / 100], 1);
}

void truth_time(struct truth *t, enum truth_time which, nsec_t span) {
    struct truth_hist *hist = &t->slot->times[which];
    uint64_t usec = span > 0 ? (uint64_t)(span / NSEC_PER_USEC) : 0;

    truth_add(&hist->buckets[bucket_of(usec)], 1);
    truth_add(&hist->sum_usec, usec);
    if (usec > atomic_load_explicit(&hist->max_usec, memory_order_relaxed))
        atomic_store_explicit(&hist->max_usec, usec, memory_order_relaxed);
}

void truth_adopt(struct truth *t, size_t place) {
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

static void add_times(struct truth_times *to, const struct truth_hist *from) {
    uint64_t max = atomic_load_explicit(&from->max_usec, memory_order_relaxed);

    add_all(to->buckets, from->buckets, TRUTH_BUCKETS);
    to->sum_usec += atomic_load_explicit(&from->sum_usec, memory_order_relaxed);
    if (max > to->max_usec)
        to->max_usec = max;
}

void truth_sum(struct truth_sum *sum, const struct truth_slot *slots,
               const struct truth_total *total) {
    size_t slot_count = atomic_load(&total->slots);

    memset(sum, 0, sizeof(*sum));
    sum->in_flight = atomic_load(&total->in_flight);
    sum->in_flight_max = atomic_load(&total->in_flight_max);
    for (size_t i = 0; i < slot_count; i++) {
        const struct truth_slot *slot = &slots[i];
        sum->open += atomic_load(&slot->open);
        add_all(sum->counters, slot->counters, TRUTH_COUNTERS_MAX);
        add_all(sum->faults, slot->faults, FAULT_KINDS);
        add_all(sum->classes, slot->classes, 6);
        for (size_t k = 0; k < TRUTH_TIMES; k++)
            add_times(&sum->times[k], &slot->times[k]);
    }
    for (size_t k = 0; k < TRUTH_TIMES; k++)
        for (size_t i = 0; i < TRUTH_BUCKETS; i++)
            sum->times[k].count += sum->times[k].buckets[i];
}

uint64_t truth_quantile(const struct truth_times *times, double q) {
    uint64_t seen = 0;

    for (unsigned i = 0; i < TRUTH_BUCKETS; i++) {
        seen += times->buckets[i];
        if (seen > 0 && (double)seen >= q * (double)times->count) {
            uint64_t top = bucket_top(i);
            return top < times->max_usec ? top : times->max_usec;
        }
    }
    return times->max_usec;
}

uint64_t truth_below(const struct truth_times *times, uint64_t usec) {
    uint64_t seen = 0;

    for (unsigned i = 0; i < TRUTH_BUCKETS && bucket_top(i) <= usec; i++)
        seen += times->buckets[i];
    return seen;
}
