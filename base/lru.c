/* SPDX-License-Identifier: MIT */
/* Keys by their hash, and in the order of their use. */
#include "base/lru.h"
#include <string.h>

/* Each array begins on a cache line of its own. */
#define ALIGN_BYTES 64

size_t lru_part_bytes(size_t size) {
    return (size + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
}

void *lru_part(char **rest, size_t size) {
    void *part = *rest;

    *rest += lru_part_bytes(size);
    return part;
}

static uint32_t bits_for(uint32_t capacity) {
    return capacity > 1 ? 32 - (uint32_t)__builtin_clz(capacity - 1) : 1;
}

size_t lru_bytes(uint32_t capacity) {
    return lru_part_bytes(sizeof(uint32_t) << bits_for(capacity)) +
           lru_part_bytes(sizeof(struct lru_place) * (capacity + 1));
}

void lru_init(struct lru *lru, uint32_t capacity, char **rest) {
    lru->capacity = capacity;
    lru->bucket_bits = bits_for(capacity);
    lru->buckets = lru_part(rest, sizeof(uint32_t) << lru->bucket_bits);
    lru->places = lru_part(rest, sizeof(struct lru_place) * (capacity + 1));
}

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

uint32_t lru_find(const struct lru *lru, uint64_t key) {
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

uint32_t lru_use(struct lru *lru, uint64_t key, bool *ret_is_new, bool *ret_evicts) {
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

void lru_forget(struct lru *lru) {
    lru_unlink_all(lru);
    lru->used = 0;
}

void lru_mend(struct lru *lru) {
    lru_unlink_all(lru);
    for (uint32_t place = 1; place <= lru->used; place++) {
        add_to_bucket(lru, place);
        make_newest(lru, place);
    }
}
