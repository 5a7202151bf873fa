/* SPDX-License-Identifier: MIT */
/* Bands of latencies, for figures of one second: each doubling is cut into eight.
 *
 *   microseconds  0 1 2 ... 15   16 17   18 19   ...   30 31   32 .. 35   ...
 *   band          0 1 2 ... 15   16      17            23      24
 */
#ifndef LOADGEN_BAND_H
#define LOADGEN_BAND_H

#include <stddef.h>
#include <stdint.h>

#define BANDS_MAX 256 /* more than an hour has */

/* A number of answers, and the largest latency among them or a little more. */
struct band {
    int64_t usec;
    uint64_t count;
};

static inline size_t band_of(int64_t usec) {
    if (usec < 16)
        return usec > 0 ? (size_t)usec : 0;
    unsigned shift = 60 - (unsigned)__builtin_clzll((uint64_t)usec);
    size_t band = shift * 8 + (size_t)(usec >> shift);
    return band < BANDS_MAX ? band : BANDS_MAX - 1;
}

/* The least latency of a band. */
static inline int64_t band_first(size_t band) {
    return band < 16 ? (int64_t)band : (int64_t)(band % 8 + 8) << (band / 8 - 1);
}

#endif
