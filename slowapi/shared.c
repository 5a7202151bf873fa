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

/* --- the mapping ------------------------------------------------------------------------------ */

struct shared *shared_new(uint32_t sequences, uint32_t queues, struct error *err) {
    size_t counts_size = sizeof(uint64_t) * (sequences + 1);
    size_t states_size = sizeof(struct queue) * (queues + 1);
    size_t size = lru_part_bytes(sizeof(struct shared)) + lru_bytes(sequences) + lru_bytes(queues) +
                  lru_part_bytes(counts_size) + lru_part_bytes(states_size);

    struct shared *shared = mem_share(size);
    if (shared == NULL) {
        error_set(err, -ENOMEM, "cannot start: no shared memory: %s", strerrordesc_np(ENOMEM));
        return NULL;
    }
    char *rest = (char *)shared + lru_part_bytes(sizeof(struct shared));
    shared->size_bytes = size;
    lru_init(&shared->sequences, sequences, &rest);
    lru_init(&shared->queues, queues, &rest);
    shared->sequence_counts = lru_part(&rest, counts_size);
    shared->queue_states = lru_part(&rest, states_size);
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

/* Rules that came with the same list have its number. */
static void set_since(struct shared *shared, const struct shared_rule *since, size_t count) {
    shared->rules_put++;
    for (size_t i = 0; i < count; i++) {
        struct shared_rule *rule = &shared->rule_since[i];
        *rule = since[i];
        atomic_store(&shared->rule_counts[i], rule->hits);
        if (rule->put == 0) {
            rule->put = shared->rules_put;
            rule->put_at = clock_now();
        }
    }
    shared->rules_count = (uint32_t)count;
}

bool shared_set_rules(struct shared *shared, struct slice text, const struct shared_rule *since,
                      size_t count, const uint32_t *then) {
    shared_lock(shared);
    bool is_same = *then == atomic_load(&shared->rules_generation);
    if (is_same) {
        memcpy(shared->rules, text.ptr, text.len);
        shared->rules[text.len] = '\0';
        set_since(shared, since, count);
        atomic_fetch_add(&shared->rules_generation, 1);
    }
    shared_unlock(shared);
    return is_same;
}

static struct shared_rule *copy_since(struct shared *shared) {
    struct shared_rule *copy = mem_calloc(shared->rules_count + 1, sizeof(copy[0]));

    for (size_t i = 0; i < shared->rules_count && copy != NULL; i++) {
        copy[i] = shared->rule_since[i];
        copy[i].hits = atomic_load(&shared->rule_counts[i]);
    }
    return copy;
}

char *shared_rules(struct shared *shared, struct shared_rule **ret_since) {
    shared_lock(shared);
    char *text = slice_dup(slice_str(shared->rules));
    if (text != NULL && ret_since != NULL)
        *ret_since = copy_since(shared);
    shared_unlock(shared);
    if (ret_since == NULL || *ret_since != NULL)
        return text;
    mem_free(text);
    return NULL;
}

void shared_forget(struct shared *shared, struct lru *lru) {
    shared_lock(shared);
    lru_forget(lru);
    if (lru == &shared->sequences)
        atomic_store(&shared->forgotten_at, clock_now());
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
    for (size_t i = 0; i < shared->rules_count; i++)
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

bool sequence_change(struct shared *shared, uint64_t key,
                     void (*change)(uint64_t *state, void *arg), void *arg) {
    bool is_new, evicts = false;
    uint64_t state = 0;

    shared_lock(shared);
    uint32_t place = lru_find(&shared->sequences, key);
    if (place != 0)
        state = shared->sequence_counts[place];
    change(&state, arg);
    if (place != 0 || state != 0)
        shared->sequence_counts[lru_use(&shared->sequences, key, &is_new, &evicts)] = state;
    shared_unlock(shared);
    return evicts;
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
    count = shared->queues.used;
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
