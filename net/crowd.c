/* SPDX-License-Identifier: MIT */
/* Compares the connections of processes that accept from the same sockets. */
#include "net/crowd.h"
#include "base/alloc.h"
#include "base/assert.h"

enum {
    CROWD_LINE_BYTES = 64, /* of the processor's cache: processes do not write to the same one */
    CROWD_LOOK_MAX = 64,   /* others that are looked at before an accept */
    CROWD_CREDIT_MAX = 1024,
};

struct crowd_row {
    _Alignas(CROWD_LINE_BYTES) atomic_uint open;
    atomic_bool accepts;
};

struct crowd {
    unsigned count;
    atomic_uint used; /* rows from the first to the last that was ever taken */
    struct crowd_row rows[];
};

/* What the others have. */
struct others {
    unsigned count, open;
};

static size_t size_of(unsigned count) {
    return sizeof(struct crowd) + count * sizeof(struct crowd_row);
}

struct crowd *crowd_new(unsigned count) {
    struct crowd *crowd = mem_share(size_of(count));

    if (crowd != NULL)
        crowd->count = count;
    return crowd;
}

void crowd_free(struct crowd *crowd) {
    if (crowd != NULL)
        mem_unshare(crowd, size_of(crowd->count));
}

void crowd_enter(struct crowd_place *place, struct crowd *crowd, unsigned index) {
    unsigned used;

    ASSERT(index < crowd->count);
    *place = (struct crowd_place){ .crowd = crowd, .index = index, .credit = 1 };
    atomic_store(&crowd->rows[index].open, 0);
    atomic_store(&crowd->rows[index].accepts, true);
    used = atomic_load(&crowd->used);
    while (used <= index && !atomic_compare_exchange_weak(&crowd->used, &used, index + 1)) {
    }
}

void crowd_leave(const struct crowd_place *place) {
    crowd_accepts(place, false);
}

void crowd_accepts(const struct crowd_place *place, bool accepts) {
    if (place != NULL)
        atomic_store_explicit(&place->crowd->rows[place->index].accepts, accepts,
                              memory_order_relaxed);
}

void crowd_count(const struct crowd_place *place, int change) {
    if (place != NULL)
        atomic_fetch_add_explicit(&place->crowd->rows[place->index].open, (unsigned)change,
                                  memory_order_relaxed);
}

/* Looks at those behind the place, around the end; a large crowd is judged by them. */
static struct others look_around(const struct crowd_place *place) {
    const struct crowd *crowd = place->crowd;
    unsigned used = atomic_load_explicit(&crowd->used, memory_order_relaxed);
    struct others others = { 0 };

    for (unsigned i = 1; i < used && i <= CROWD_LOOK_MAX; i++) {
        const struct crowd_row *row = &crowd->rows[(place->index + i) % used];

        if (!atomic_load_explicit(&row->accepts, memory_order_relaxed))
            continue;
        others.count++;
        others.open += atomic_load_explicit(&row->open, memory_order_relaxed);
    }
    return others;
}

bool crowd_is_still_ahead(const struct crowd_place *place) {
    struct others others;
    unsigned own;

    if (place == NULL)
        return false;
    own = atomic_load_explicit(&place->crowd->rows[place->index].open, memory_order_relaxed);
    if (own <= 2)
        return false;
    others = look_around(place);
    return others.count > 0 && 2 * own * others.count > 3 * others.open + 4 * others.count;
}

bool crowd_is_ahead(struct crowd_place *place, nsec_t now) {
    if (!crowd_is_still_ahead(place))
        return false;
    if (place->free > CROWD_FREE_LATER && now >= place->free_until)
        place->free = CROWD_FREE_LATER;
    if (place->free == 0)
        return true;
    place->free--;
    return false;
}

void crowd_waited(struct crowd_place *place, nsec_t now, bool in_vain) {
    if (place == NULL)
        return;
    if (!in_vain)
        place->credit = 1;
    place->free = place->credit;
    place->free_until = now + CROWD_FREE_NSEC;
    if (in_vain && place->credit < CROWD_CREDIT_MAX)
        place->credit *= 2;
}
