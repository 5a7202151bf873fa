/* SPDX-License-Identifier: MIT */
/* What fuzz targets share: how an input says in which pieces it arrives. A target ASSERTs what must
 * always hold. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "base/assert.h"
#include "base/slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Cuts the first line: each of its bytes is the length of a piece (minus one), in turn. */
static inline struct slice fuzz_cut_steps(struct slice *input) {
    return slice_cut(input, '\n');
}

static inline size_t fuzz_step(struct slice steps, size_t turn) {
    return steps.len > 0 ? (size_t)(uint8_t)steps.ptr[turn % steps.len] + 1 : 1;
}

#endif
