/* SPDX-License-Identifier: MIT */
/* Numbers paths. */
#include "slowapi/paths.h"
#include "base/attr.h"
#include "base/rng.h"
#include "base/robust_mutex.h"
#include <assert.h>
#include <string.h>

#define BUCKETS ARRAY_LEN(((struct paths *)NULL)->buckets)

static_assert(BUCKETS > PATHS_MAX, "a search ends at a free bucket");

static void lock(struct paths *p) {
    (void)robust_mutex_lock(&p->mutex);
}

static void unlock(struct paths *p) {
    pthread_mutex_unlock(&p->mutex);
}

static void clear(struct paths *p) {
    for (size_t i = 0; i < BUCKETS; i++)
        atomic_store_explicit(&p->buckets[i], 0, memory_order_relaxed);
    p->names[0].len = 1;
    p->names[0].text[0] = '/';
    atomic_store(&p->used, 1);
}

void paths_init(struct paths *p) {
    robust_mutex_init(&p->mutex);
    clear(p);
}

struct slice paths_name(const struct paths *p, uint32_t number) {
    return slice_of(p->names[number].text, p->names[number].len);
}

/* The bucket that has the path, or the free one where it would stand. */
static _Atomic uint16_t *bucket_of(struct paths *p, struct slice path) {
    size_t at = hash_bytes(HASH_SEED, path.ptr, path.len) % BUCKETS;

    for (;; at = (at + 1) % BUCKETS) {
        uint16_t number = atomic_load_explicit(&p->buckets[at], memory_order_acquire);
        if (number == 0 || slice_eq(paths_name(p, number), path))
            return &p->buckets[at];
    }
}

static uint32_t find_or_add(struct paths *p, struct slice path, uint32_t *ret_age) {
    lock(p);
    *ret_age = atomic_load(&p->age);
    _Atomic uint16_t *bucket = bucket_of(p, path);
    uint32_t number = atomic_load(bucket), used = atomic_load(&p->used);
    if (number == 0 && used < PATHS_MAX) {
        number = used;
        memcpy(p->names[number].text, path.ptr, path.len);
        p->names[number].len = (uint16_t)path.len;
        atomic_store(&p->used, used + 1);
        atomic_store_explicit(bucket, (uint16_t)number, memory_order_release);
    }
    unlock(p);
    return number != 0 ? number : PATHS_OTHER;
}

/* A name that is read while all are forgotten, and others written, may be any: then the age has
 * changed, and the search is made again under the lock. */
uint32_t paths_find(struct paths *p, struct slice path, uint32_t *ret_age) {
    *ret_age = atomic_load_explicit(&p->age, memory_order_acquire);
    if (path.len == 1 && path.ptr[0] == '/')
        return 0;
    if (path.len == 0 || path.len > PATHS_BYTES)
        return PATHS_OTHER;
    uint32_t number = atomic_load_explicit(bucket_of(p, path), memory_order_acquire);
    bool is_full = atomic_load_explicit(&p->used, memory_order_relaxed) == PATHS_MAX;
    atomic_thread_fence(memory_order_acquire);
    bool is_stale = atomic_load_explicit(&p->age, memory_order_relaxed) != *ret_age;
    if (is_stale || (number == 0 && !is_full))
        return find_or_add(p, path, ret_age);
    return number != 0 ? number : PATHS_OTHER;
}

void paths_forget(struct paths *p) {
    lock(p);
    atomic_fetch_add(&p->age, 1);
    clear(p);
    unlock(p);
}
