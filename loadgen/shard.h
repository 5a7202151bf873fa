/* SPDX-License-Identifier: MIT */
/* The parts of a load: of the workers of a process, and of processes on as many machines. */
#ifndef LOADGEN_SHARD_H
#define LOADGEN_SHARD_H

#include "base/error.h"
#include <stdint.h>

#define LOADGEN_SHARDS_MAX 10000

/* Parts of a whole differ by at most one request or connection. */
struct share {
    uint32_t index, count;
};

static inline uint64_t share_of(struct share share, uint64_t whole) {
    return whole / share.count + (share.index < whole % share.count ? 1 : 0);
}

/* One of several processes that do a load together. */
struct load_shard {
    struct share share;            /* count 0: the load is all ours */
    int64_t requests, concurrency; /* the whole load's; the configuration has our part */
    double rate;
};

/* A worker's place among the workers of all shards: for what goes to them in turns, as planned
 * times do, and for their random numbers. */
static inline struct share load_shard_turn(const struct load_shard *s, struct share worker) {
    if (s->share.count == 0)
        return worker;
    return (struct share){ s->share.index + s->share.count * worker.index,
                           s->share.count * worker.count };
}

/* Takes "2/4", or "4" and the index in `index`, which is NULL when nobody gives it. The index
 * counts from 0, or from 1: N/N is 0/N. 0, or -EINVAL with what is allowed. */
NODISCARD int load_shard_parse(const char *text, const char *index, struct share *ret,
                               struct error *err);

#endif
