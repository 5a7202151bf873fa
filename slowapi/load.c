/* SPDX-License-Identifier: MIT */
/* The queue model: first come, first served, by servers that are busy for a drawn time each. */
#include "slowapi/shared.h"
#include <string.h>

/* The station of that key, or the one that was not used for the longest time. */
static struct station *find(struct shared *shared, uint64_t key) {
    struct station *oldest = &shared->stations[0];

    for (size_t i = 0; i < SHARED_STATIONS; i++) {
        struct station *station = &shared->stations[i];
        if (station->key == key)
            return station;
        if (station->used_at < oldest->used_at)
            oldest = station;
    }
    memset(oldest->free_at, 0, sizeof(oldest->free_at));
    oldest->key = key;
    oldest->head = 0;
    oldest->waiting = 0;
    return oldest;
}

static void drop_served(struct station *station, nsec_t now) {
    while (station->waiting > 0 && station->starts[station->head] <= now) {
        station->head = (station->head + 1) % SPEC_LOAD_QUEUE_MAX;
        station->waiting--;
    }
}

static nsec_t *first_free(struct station *station, int64_t workers) {
    nsec_t *first = &station->free_at[0];

    for (int64_t i = 1; i < workers; i++)
        if (station->free_at[i] < *first)
            first = &station->free_at[i];
    return first;
}

static struct load_turn take(struct station *station, int64_t workers, int64_t queue,
                             nsec_t service, nsec_t now) {
    nsec_t *server = first_free(station, workers);
    nsec_t start = *server > now ? *server : now;

    drop_served(station, now);
    if (start > now && station->waiting >= (uint64_t)queue) {
        nsec_t room_at = station->waiting > 0 ? station->starts[station->head] : start;
        return (struct load_turn){ .is_full = true, .retry_after = room_at - now };
    }
    if (start > now) {
        station->starts[(station->head + station->waiting) % SPEC_LOAD_QUEUE_MAX] = start;
        station->waiting++;
    }
    *server = deadline_after(start, service);
    return (struct load_turn){ .wait = start - now };
}

struct load_turn load_enter(struct shared *shared, uint64_t key, int64_t workers, int64_t queue,
                            nsec_t service, nsec_t now) {
    shared_lock(shared);
    struct station *station = find(shared, key);
    station->used_at = now;
    struct load_turn turn = take(station, workers, queue, service, now);
    shared_unlock(shared);
    return turn;
}
