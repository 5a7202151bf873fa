/* SPDX-License-Identifier: MIT */
/* Pseudo-random numbers, the same for a seed on every system: SplitMix64 (Steele, Lea, Flood,
 * 2014); hashes. */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t state; /* any value is a good seed */
};

#define RNG_STEP UINT64_C(0x9e3779b97f4a7c15)

static inline uint64_t rng_next(struct rng *rng) {
    uint64_t z = rng->state += RNG_STEP;

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Uniform within (0, 1): neither end, so that it has a logarithm. */
static inline double rng_unit_of(uint64_t word) {
    return ((double)(word >> 12) + 0.5) * 0x1p-52;
}

static inline double rng_unit(struct rng *rng) {
    return rng_unit_of(rng_next(rng));
}

/* The generator of one of many that share a seed: neighbouring seeds and indexes have nothing in
 * common, though their states alone would be a few steps apart in one sequence. */
static inline struct rng rng_stream(uint64_t seed, uint64_t index) {
    struct rng rng = { .state = seed };

    rng.state = rng_next(&rng) + index;
    rng.state = rng_next(&rng);
    return rng;
}

#define HASH_SEED UINT64_C(0xcbf29ce484222325)

/* FNV-1a, to be chained. */
static inline uint64_t hash_bytes(uint64_t hash, const void *data, size_t size) {
    const unsigned char *bytes = data;

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

#endif
