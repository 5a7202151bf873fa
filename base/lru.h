/* SPDX-License-Identifier: MIT */
/* A bounded table of keys, of which the one that was not used for longest makes room for a new one.
 * What is kept for a key stands in arrays of the caller, by the number of its place. All of it is
 * numbers, so that processes can share it. */
#ifndef BASE_LRU_H
#define BASE_LRU_H

#include "base/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Places of a bounded table, found by key, in the order of their use. A place is a number from 1;
 * 0 is none.
 *
 *   buckets[hash(key)] -> place -next-> place        newest -older-> place -older-> ... oldest
 */
struct lru {
    uint32_t capacity, used, newest, oldest;
    uint32_t bucket_bits;
    uint32_t *buckets; /* capacity rounded up to a power of two */
    struct lru_place {
        uint64_t key;
        uint32_t next, newer, older;
    } * places; /* capacity + 1: [0] stands for none */
};

/* Bytes that an array of that size takes in shared memory, where each array begins on a cache line
 * of its own. */
size_t lru_part_bytes(size_t size);

/* Takes lru_part_bytes of the memory at *rest, and moves *rest behind it. */
void *lru_part(char **rest, size_t size);

/* Bytes that a table of so many places takes (1 to 2^31). */
size_t lru_bytes(uint32_t capacity);

/* Takes lru_bytes of the memory at *rest, which is zeroed and aligned to 64 bytes, and moves *rest
 * behind it. What is never used is not touched. */
void lru_init(struct lru *lru, uint32_t capacity, char **rest);

/* The place of that key; 0: it has none. */
uint32_t lru_find(const struct lru *lru, uint64_t key);

/* The place of that key, which is the newest then. *ret_is_new: it was not there before.
 * *ret_evicts: the place is that of the key that was not used for longest. */
uint32_t lru_use(struct lru *lru, uint64_t key, bool *ret_is_new, bool *ret_evicts);

/* Drops all keys. */
void lru_forget(struct lru *lru);

/* Links anew whatever holds a key, when the links cannot be trusted because a process died while it
 * changed them. The order of use is lost. */
void lru_mend(struct lru *lru);

#endif
