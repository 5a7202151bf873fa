/* SPDX-License-Identifier: MIT */
/* The mapping that the workers share: its lock, the sequences and queues in it, and who of them
 * goes when there are too many. */
#include "slowapi/shared.h"
#include "base/alloc.h"
#include "base/bucket.h"
#include "base/robust_mutex.h"
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/random.h>

static_assert(SHARED_SEQUENCES_MAX < UINT32_MAX, "a place has 32 bits");

/* --- least recently used ---------------------------------------------------------------------- */

static uint32_t *bucket_of(const struct lru *lru, uint64_t key) {
    return &lru->buckets[key * UINT64_C(0x9e3779b97f4a7c15) >> (64 - lru->bucket_bits)];
}

static void make_newest(struct lru *lru, uint32_t place) {
    struct lru_place *p = &lru->places[place];

    p->newer = 0;
    p->older = lru->newest;
    if (lru->newest != 0)
        lru->places[lru->newest].newer = place;
    else
        lru->oldest = place;
    lru->newest = place;
}

static void unlink_place(struct lru *lru, uint32_t place) {
    const struct lru_place *p = &lru->places[place];

    if (p->newer != 0)
        lru->places[p->newer].older = p->older;
    else
        lru->newest = p->older;
    if (p->older != 0)
        lru->places[p->older].newer = p->newer;
    else
        lru->oldest = p->newer;
}

static void add_to_bucket(struct lru *lru, uint32_t place) {
    uint32_t *bucket = bucket_of(lru, lru->places[place].key);

    lru->places[place].next = *bucket;
    *bucket = place;
}

static void remove_from_bucket(struct lru *lru, uint32_t place) {
    uint32_t *at = bucket_of(lru, lru->places[place].key);

    while (*at != place)
        at = &lru->places[*at].next;
    *at = lru->places[place].next;
}

static uint32_t lru_find(const struct lru *lru, uint64_t key) {
    uint32_t place = *bucket_of(lru, key);

    while (place != 0 && lru->places[place].key != key)
        place = lru->places[place].next;
    return place;
}

/* A place for a new key: a free one, else that of the key that was not used for longest. */
static uint32_t lru_claim(struct lru *lru, uint64_t key, bool *ret_evicts) {
    uint32_t place = lru->oldest;

    *ret_evicts = lru->used == lru->capacity;
    if (*ret_evicts) {
        remove_from_bucket(lru, place);
        unlink_place(lru, place);
    } else {
        place = ++lru->used;
    }
    lru->places[place].key = key;
    add_to_bucket(lru, place);
    make_newest(lru, place);
    return place;
}

/* The place of that key, which is the newest then. *ret_is_new: it was not there before. */
static uint32_t lru_use(struct lru *lru, uint64_t key, bool *ret_is_new, bool *ret_evicts) {
    uint32_t place = lru_find(lru, key);

    *ret_evicts = false;
    *ret_is_new = place == 0;
    if (place == 0)
        return lru_claim(lru, key, ret_evicts);
    unlink_place(lru, place);
    make_newest(lru, place);
    return place;
}

static void lru_unlink_all(struct lru *lru) {
    lru->newest = lru->oldest = 0;
    memset(lru->buckets, 0, sizeof(lru->buckets[0]) << lru->bucket_bits);
}

static void lru_forget(struct lru *lru) {
    lru_unlink_all(lru);
    lru->used = 0;
}

/* Links anew whatever holds a key: links that were being changed cannot be trusted. */
static void lru_mend(struct lru *lru) {
    lru_unlink_all(lru);
    for (uint32_t place = 1; place <= lru->used; place++) {
        add_to_bucket(lru, place);
        make_newest(lru, place);
    }
}

/* --- the mapping ------------------------------------------------------------------------------ */

/* Bytes of the arrays behind the struct, each on a cache line of its own. */
#define ALIGN_BYTES 64

static size_t aligned(size_t size) {
    return (size + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
}

static void *cut(char **rest, size_t size) {
    void *part = *rest;

    *rest += aligned(size);
    return part;
}

static uint32_t bits_for(uint32_t capacity) {
    return capacity > 1 ? 32 - (uint32_t)__builtin_clz(capacity - 1) : 1;
}

static size_t lru_bytes(uint32_t capacity) {
    return aligned(sizeof(uint32_t) << bits_for(capacity)) +
           aligned(sizeof(struct lru_place) * (capacity + 1));
}

static void lru_init(struct lru *lru, uint32_t capacity, char **rest) {
    lru->capacity = capacity;
    lru->bucket_bits = bits_for(capacity);
    lru->buckets = cut(rest, sizeof(uint32_t) << lru->bucket_bits);
    lru->places = cut(rest, sizeof(struct lru_place) * (capacity + 1));
}

struct shared *shared_new(uint32_t sequences, uint32_t queues, struct error *err) {
    size_t counts_size = sizeof(uint64_t) * (sequences + 1);
    size_t states_size = sizeof(struct queue) * (queues + 1);
    size_t size = aligned(sizeof(struct shared)) + lru_bytes(sequences) + lru_bytes(queues) +
                  aligned(counts_size) + aligned(states_size);

    struct shared *shared = mem_share(size);
    if (shared == NULL) {
        error_set(err, -ENOMEM, "cannot start: no shared memory: %s", strerrordesc_np(ENOMEM));
        return NULL;
    }
    char *rest = (char *)shared + aligned(sizeof(struct shared));
    shared->size_bytes = size;
    lru_init(&shared->sequences, sequences, &rest);
    lru_init(&shared->queues, queues, &rest);
    shared->sequence_counts = cut(&rest, counts_size);
    shared->queue_states = cut(&rest, states_size);
    robust_mutex_init(&shared->mutex);
    paths_init(&shared->paths);
    memcpy(shared->rules, "[]", sizeof("[]"));
    shared->started_at = clock_now();
    if (getrandom(&shared->secret, sizeof(shared->secret), 0) < 0)
        shared->secret = (uint64_t)clock_wall();
    return shared;
}

void shared_free(struct shared *shared) {
    if (shared != NULL)
        mem_unshare(shared, shared->size_bytes);
}

/* A worker that died while it held the lock may have left the tables half changed: the next one to
 * lock mends them. The order of use is lost then, the counts and queues stay. */
static void shared_lock(struct shared *shared) {
    if (!robust_mutex_lock(&shared->mutex))
        return;
    lru_mend(&shared->sequences);
    lru_mend(&shared->queues);
}

static void shared_unlock(struct shared *shared) {
    pthread_mutex_unlock(&shared->mutex);
}

bool shared_set_rules(struct shared *shared, struct slice text, const uint64_t *counts,
                      const uint32_t *then) {
    shared_lock(shared);
    bool is_same = then == NULL || *then == atomic_load(&shared->rules_generation);
    if (is_same) {
        memcpy(shared->rules, text.ptr, text.len);
        shared->rules[text.len] = '\0';
        for (size_t i = 0; i < SHARED_RULES_MAX; i++)
            atomic_store(&shared->rule_counts[i], counts != NULL ? counts[i] : 0);
        atomic_fetch_add(&shared->rules_generation, 1);
    }
    shared_unlock(shared);
    return is_same;
}

char *shared_rules(struct shared *shared) {
    shared_lock(shared);
    char *text = slice_dup(slice_str(shared->rules));
    shared_unlock(shared);
    return text;
}

void shared_forget(struct shared *shared, struct lru *lru) {
    shared_lock(shared);
    lru_forget(lru);
    shared_unlock(shared);
}

void shared_sum_stats(struct shared *shared, struct slow_stats_sum *ret) {
    shared_lock(shared);
    slow_stats_sum(ret, shared->slots, &shared->total);
    slow_stats_subtract(ret, &shared->stats_base);
    shared_unlock(shared);
}

void shared_reset_stats(struct shared *shared) {
    shared_lock(shared);
    paths_forget(&shared->paths);
    slow_stats_sum(&shared->stats_base, shared->slots, &shared->total);
    atomic_store(&shared->total.in_flight_max, shared->stats_base.in_flight);
    for (size_t i = 0; i < SHARED_RULES_MAX; i++)
        atomic_store(&shared->rule_counts[i], 0);
    shared_unlock(shared);
}

/* --- sequences -------------------------------------------------------------------------------- */

uint64_t sequence_look(struct shared *shared, uint64_t key) {
    uint64_t count = 0;
    bool is_new, evicts;

    shared_lock(shared);
    if (lru_find(&shared->sequences, key) != 0)
        count = shared->sequence_counts[lru_use(&shared->sequences, key, &is_new, &evicts)];
    shared_unlock(shared);
    return count;
}

uint64_t sequence_next(struct shared *shared, uint64_t key, bool *ret_evicts) {
    bool is_new;

    shared_lock(shared);
    uint64_t *next =
        &shared->sequence_counts[lru_use(&shared->sequences, key, &is_new, ret_evicts)];
    uint64_t count = is_new ? 0 : *next;
    *next = count + 1;
    shared_unlock(shared);
    return count;
}

/* --- queues ----------------------------------------------------------------------------------- */

struct queue_turn queue_enter(struct shared *shared, uint64_t key, const struct queue_ask *ask,
                              nsec_t now) {
    bool is_new, evicts;

    shared_lock(shared);
    struct queue *queue = &shared->queue_states[lru_use(&shared->queues, key, &is_new, &evicts)];
    if (is_new)
        queue_clear(queue);
    struct queue_turn turn = queue_take(queue, ask, now);
    shared_unlock(shared);
    turn.evicts = evicts;
    return turn;
}

size_t queues_look(struct shared *shared, nsec_t now, struct queue_view *views, size_t max) {
    size_t count = 0;

    shared_lock(shared);
    for (uint32_t place = shared->queues.newest; place != 0 && count < max;
         place = shared->queues.places[place].older)
        views[count++] = queue_look(&shared->queue_states[place], now);
    shared_unlock(shared);
    return count;
}

/* --- windows: a key's place holds the window, and below it how many came in it ---------------- */

struct window_turn window_take(struct shared *shared, uint64_t key, uint64_t limit, nsec_t span,
                               nsec_t now) {
    nsec_t at = now - shared->started_at;
    uint64_t window = (uint64_t)(at / span) + 1, count = 0;
    struct window_turn turn = { .reset_after = span - at % span };
    bool is_new;

    shared_lock(shared);
    uint64_t *state =
        &shared->sequence_counts[lru_use(&shared->sequences, key, &is_new, &turn.evicts)];
    if (!is_new && *state >> 24 == window)
        count = *state & 0xffffff;
    turn.fits = count < limit;
    if (turn.fits)
        count++;
    *state = window << 24 | count;
    shared_unlock(shared);
    turn.left = limit - count;
    return turn;
}

/* --- budgets: a key's place holds the time at which its budget will be full ------------------- */

#define BUDGET_SPAN (60 * NSEC_PER_SEC)

struct budget_turn budget_take(struct shared *shared, uint64_t key, uint64_t per_minute,
                               uint64_t cost, nsec_t now) {
    double span = (double)cost / (double)per_minute * (double)BUDGET_SPAN;
    struct budget_turn turn = { .fits = false };
    bool is_new;

    shared_lock(shared);
    uint64_t *full_at =
        &shared->sequence_counts[lru_use(&shared->sequences, key, &is_new, &turn.evicts)];
    double missing = is_new || *full_at <= (uint64_t)now ? 0 : (double)(*full_at - (uint64_t)now);
    turn.fits = missing + span <= (double)BUDGET_SPAN;
    if (!turn.fits)
        turn.retry_after = (nsec_t)fmin(missing + span - (double)BUDGET_SPAN, 1e18);
    else
        missing += span;
    *full_at = (uint64_t)now + (uint64_t)missing;
    shared_unlock(shared);

    turn.full_after = (nsec_t)missing;
    turn.left = (uint64_t)((1 - missing / (double)BUDGET_SPAN) * (double)per_minute + 1e-6);
    return turn;
}

/* --- links: a key's place holds the time until which it carries ------------------------------- */

nsec_t link_carry(struct shared *shared, uint64_t key, uint64_t rate, uint64_t bytes, nsec_t from) {
    bool is_new, evicts;

    shared_lock(shared);
    uint64_t *until = &shared->sequence_counts[lru_use(&shared->sequences, key, &is_new, &evicts)];
    struct bucket link = { .until = is_new ? 0 : (nsec_t)*until };
    nsec_t end = bucket_carry(&link, bytes, rate, from);
    *until = (uint64_t)end;
    shared_unlock(shared);
    return end;
}
