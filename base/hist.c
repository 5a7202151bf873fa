/* SPDX-License-Identifier: MIT */
/* Counts values in buckets whose width is a share of the value. */
#include "base/hist.h"
#include "base/alloc.h"
#include <assert.h>
#include <math.h>
#include <string.h>

/* Values below 2048 have a bucket each. Above, every doubling of the value is cut into 1024
 * buckets:
 *
 *   value         0 .. 2047   2048 .. 4095   4096 .. 8191   ...   2^31 .. 2^32 - 1
 *   width of one  1           2              4                    2^21
 *   index         0 .. 2047   2048 .. 3071   3072 .. 4095         22528 .. 23551
 */
#define SUB_BITS   11
#define SUB_HALF   (UINT64_C(1) << (SUB_BITS - 1))
#define VALUE_BITS 32
#define BUCKETS    ((VALUE_BITS - SUB_BITS + 2) * (1u << (SUB_BITS - 1)))

static_assert(HIST_MAX_USEC < INT64_C(1) << VALUE_BITS, "the largest value has a bucket");

__extension__ typedef unsigned __int128 wide_t; /* sums of squares stay exact */

struct hist {
    uint64_t total;
    int64_t min, max; /* meaningful when total > 0 */
    wide_t sum, sum_squares;
    uint64_t counts[BUCKETS];
};

static uint32_t bucket_of(int64_t usec) {
    uint64_t value = (uint64_t)usec;
    unsigned bits = 64 - (unsigned)__builtin_clzll(value | (2 * SUB_HALF - 1));
    unsigned shift = bits - SUB_BITS;
    return (uint32_t)(shift * SUB_HALF + (value >> shift));
}

/* The largest value that is counted in it. */
static int64_t bucket_last(uint32_t bucket) {
    if (bucket < 2 * SUB_HALF)
        return bucket;
    unsigned shift = (unsigned)(bucket / SUB_HALF) - 1;
    uint64_t first = (bucket % SUB_HALF + SUB_HALF) << shift;
    return (int64_t)(first + (UINT64_C(1) << shift) - 1);
}

static int64_t int64_min(int64_t a, int64_t b) {
    return a < b ? a : b;
}

struct hist *hist_new(void) {
    return mem_calloc(1, sizeof(struct hist));
}

void hist_free(struct hist *h) {
    mem_free(h);
}

void hist_reset(struct hist *h) {
    if (h->total > 0) { /* only what was used: untouched pages stay untouched */
        uint32_t first = bucket_of(h->min), last = bucket_of(h->max);
        memset(&h->counts[first], 0, (last - first + 1) * sizeof(h->counts[0]));
    }
    h->total = 0;
    h->sum = h->sum_squares = 0;
}

static void widen(struct hist *h, int64_t min, int64_t max) {
    if (h->total == 0 || min < h->min)
        h->min = min;
    if (h->total == 0 || max > h->max)
        h->max = max;
}

void hist_record_n(struct hist *h, int64_t usec, uint64_t count) {
    if (UNLIKELY(count == 0))
        return;
    if (UNLIKELY(usec < 0))
        usec = 0;
    if (UNLIKELY(usec > HIST_MAX_USEC))
        usec = HIST_MAX_USEC;

    uint64_t value = (uint64_t)usec;
    widen(h, usec, usec);
    h->counts[bucket_of(usec)] += count;
    h->total += count;
    h->sum += (wide_t)value * count;
    h->sum_squares += (wide_t)(value * value) * count;
}

void hist_record(struct hist *h, int64_t usec) {
    hist_record_n(h, usec, 1);
}

void hist_merge(struct hist *to, const struct hist *from) {
    if (from->total == 0)
        return;
    for (uint32_t i = bucket_of(from->min); i <= bucket_of(from->max); i++)
        if (from->counts[i] > 0) /* a write would make the page resident */
            to->counts[i] += from->counts[i];
    widen(to, from->min, from->max);
    to->total += from->total;
    to->sum += from->sum;
    to->sum_squares += from->sum_squares;
}

uint64_t hist_count(const struct hist *h) {
    return h->total;
}

int64_t hist_min(const struct hist *h) {
    return h->total > 0 ? h->min : 0;
}

int64_t hist_max(const struct hist *h) {
    return h->total > 0 ? h->max : 0;
}

double hist_mean(const struct hist *h) {
    return h->total > 0 ? (double)h->sum / (double)h->total : 0;
}

/* Squares are taken around the whole part of the mean, in integers: nothing cancels, however large
 * the values are beside their spread. */
double hist_stddev(const struct hist *h) {
    if (h->total < 2)
        return 0;
    wide_t mean = h->sum / h->total;
    double rest = (double)(h->sum % h->total);
    double squares = (double)(h->sum_squares + mean * mean * h->total - 2 * mean * h->sum);
    double n = (double)h->total;
    return sqrt(fmax(squares - rest * rest / n, 0) / (n - 1));
}

/* Number of values that must be at or below the quantile: the smallest rank with rank / total >= q.
 * The product may be off by a rounding error, the division says which side is right. */
static uint64_t rank_of(double q, uint64_t total) {
    uint64_t rank = (uint64_t)ceil(q * (double)total);
    if (rank > 1 && (double)(rank - 1) / (double)total >= q)
        rank--;
    return rank < 1 ? 1 : rank > total ? total : rank;
}

int64_t hist_quantile(const struct hist *h, double q) {
    if (h->total == 0 || !(q > 0))
        return hist_min(h);
    if (q >= 1)
        return h->max;
    uint64_t rank = rank_of(q, h->total), seen = 0;
    for (uint32_t i = bucket_of(h->min); i <= bucket_of(h->max); i++) {
        seen += h->counts[i];
        if (seen >= rank)
            return int64_min(bucket_last(i), h->max);
    }
    return h->max;
}

double hist_share_below(const struct hist *h, int64_t usec) {
    if (h->total == 0 || usec < h->min)
        return 0;
    uint64_t seen = 0;
    for (uint32_t i = bucket_of(h->min); i <= bucket_of(int64_min(usec, h->max)); i++)
        seen += h->counts[i];
    return (double)seen / (double)h->total;
}

bool hist_next(const struct hist *h, uint32_t *cursor, int64_t *ret_usec, uint64_t *ret_count) {
    if (h->total == 0)
        return false;
    uint32_t i = bucket_of(h->min);
    if (i < *cursor)
        i = *cursor;
    for (; i <= bucket_of(h->max); i++) {
        if (h->counts[i] == 0)
            continue;
        *ret_usec = int64_min(bucket_last(i), h->max);
        *ret_count = h->counts[i];
        *cursor = i + 1;
        return true;
    }
    return false;
}

/* --- in memory that threads and processes share ----------------------------------------------- */

/* Values up to 20 have a bucket each. Above, decade d (from 0) has 105, b = 10^d:
 *
 *   value            20b+1 .. 50b   50b+1 .. 200b
 *   width of one     b              2b
 *   how many         30             75
 */
enum { ONES = 21, PER_DECADE = 105, DECADES = (HIST_SHARED_BUCKETS - ONES) / PER_DECADE };

static_assert(ONES + DECADES * PER_DECADE == HIST_SHARED_BUCKETS, "the last decade is whole");

static unsigned shared_bucket_of(uint64_t usec) {
    unsigned first = ONES;
    uint64_t base = 1;

    if (LIKELY(usec < ONES))
        return (unsigned)usec;
    for (; usec > 200 * base; base *= 10) {
        first += PER_DECADE;
        if (first == HIST_SHARED_BUCKETS)
            return HIST_SHARED_BUCKETS - 1;
    }
    if (usec <= 50 * base)
        return first + (unsigned)((usec - 1) / base) - 20;
    return first + 30 + (unsigned)((usec - 1) / (2 * base)) - 25;
}

/* Microseconds: the largest value that the bucket counts. */
static uint64_t shared_bucket_last(unsigned bucket) {
    uint64_t base = 1;

    if (bucket < ONES)
        return bucket;
    for (bucket -= ONES; bucket >= PER_DECADE; bucket -= PER_DECADE)
        base *= 10;
    return bucket < 30 ? base * (bucket + 21) : 2 * base * (bucket - 30 + 26);
}

/* Rounds to the nearest microsecond for the sum, and up for the bucket: what is above a bound by
 * a nanosecond is above it. */
static uint64_t round_span(nsec_t span, unsigned *ret_bucket) {
    uint64_t nsec = span > 0 ? (uint64_t)span : 0;
    uint64_t usec = (nsec + NSEC_PER_USEC / 2) / NSEC_PER_USEC;

    *ret_bucket = shared_bucket_of(usec + (usec * NSEC_PER_USEC < nsec));
    return usec;
}

static uint64_t read_shared(const _Atomic uint64_t *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void add_alone(_Atomic uint64_t *counter, uint64_t n) {
    atomic_store_explicit(counter, read_shared(counter) + n, memory_order_relaxed);
}

void hist_shared_record(struct hist_shared *h, nsec_t span) {
    unsigned bucket;
    uint64_t usec = round_span(span, &bucket), max = read_shared(&h->max_usec);

    atomic_fetch_add_explicit(&h->buckets[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_usec, usec, memory_order_relaxed);
    while (usec > max && !atomic_compare_exchange_weak(&h->max_usec, &max, usec)) {
    }
}

static void raise_alone(_Atomic uint64_t *max, uint64_t usec) {
    if (usec > read_shared(max))
        atomic_store_explicit(max, usec, memory_order_relaxed);
}

void hist_shared_record_alone(struct hist_shared *h, nsec_t span) {
    unsigned bucket;
    uint64_t usec = round_span(span, &bucket);

    add_alone(&h->buckets[bucket], 1);
    add_alone(&h->sum_usec, usec);
    raise_alone(&h->max_usec, usec);
}

void hist_shared_merge(struct hist_shared *to, const struct hist_shared *from) {
    for (unsigned i = 0; i < HIST_SHARED_BUCKETS; i++)
        add_alone(&to->buckets[i], read_shared(&from->buckets[i]));
    add_alone(&to->sum_usec, read_shared(&from->sum_usec));
    raise_alone(&to->max_usec, read_shared(&from->max_usec));
}

static uint64_t count_first(const struct hist_shared *h, unsigned buckets) {
    uint64_t count = 0;

    for (unsigned i = 0; i < buckets; i++)
        count += read_shared(&h->buckets[i]);
    return count;
}

uint64_t hist_shared_count(const struct hist_shared *h) {
    return count_first(h, HIST_SHARED_BUCKETS);
}

uint64_t hist_shared_sum(const struct hist_shared *h) {
    return read_shared(&h->sum_usec);
}

uint64_t hist_shared_max(const struct hist_shared *h) {
    return read_shared(&h->max_usec);
}

uint64_t hist_shared_quantile(const struct hist_shared *h, double q) {
    uint64_t count = hist_shared_count(h), max = hist_shared_max(h), seen = 0;
    uint64_t rank = q > 0 ? rank_of(q, count) : 1;

    for (unsigned i = 0; i < HIST_SHARED_BUCKETS - 1; i++) {
        seen += read_shared(&h->buckets[i]);
        if (seen >= rank) {
            uint64_t last = shared_bucket_last(i);
            return last < max ? last : max;
        }
    }
    return max;
}

bool hist_shared_next(const struct hist_shared *h, uint32_t *cursor, uint64_t *ret_usec,
                      uint64_t *ret_count) {
    while (*cursor < HIST_SHARED_BUCKETS) {
        *ret_usec = shared_bucket_last(*cursor);
        *ret_count = read_shared(&h->buckets[(*cursor)++]);
        if (*ret_count > 0)
            return true;
    }
    return false;
}

uint64_t hist_shared_below(const struct hist_shared *h, uint64_t usec) {
    unsigned bucket = shared_bucket_of(usec);

    return count_first(h, bucket + (shared_bucket_last(bucket) <= usec));
}

void hist_shared_subtract(struct hist_shared *h, const struct hist_shared *then) {
    unsigned last = HIST_SHARED_BUCKETS;

    for (unsigned i = 0; i < HIST_SHARED_BUCKETS; i++) {
        add_alone(&h->buckets[i], 0 - read_shared(&then->buckets[i]));
        if (read_shared(&h->buckets[i]) > 0)
            last = i;
    }
    add_alone(&h->sum_usec, 0 - read_shared(&then->sum_usec));
    uint64_t max = read_shared(&h->max_usec);
    uint64_t end = last < HIST_SHARED_BUCKETS ? shared_bucket_last(last) : 0;
    if (max == read_shared(&then->max_usec) && end < max)
        atomic_store_explicit(&h->max_usec, end, memory_order_relaxed);
}
