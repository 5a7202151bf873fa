/* SPDX-License-Identifier: MIT */
/* Reads which part of a load is ours. */
#include "loadgen/shard.h"
#include "base/slice.h"
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

/* A number of digits alone, up to LOADGEN_SHARDS_MAX; -1 otherwise. */
static int64_t shard_number(struct slice text) {
    int64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9' || value > LOADGEN_SHARDS_MAX)
            return -1;
        value = value * 10 + (text.ptr[i] - '0');
    }
    return text.len > 0 && value <= LOADGEN_SHARDS_MAX ? value : -1;
}

/* Some engines count from 0 and some from 1: both give each part to one of N. */
int load_shard_parse(const char *text, const char *index, struct share *ret, struct error *err) {
    struct slice rest = slice_str(text);
    bool has_index = strchr(text, '/') != NULL;
    struct slice first = has_index ? slice_cut(&rest, '/') : slice_str(index != NULL ? index : "");
    int64_t at = shard_number(first), count = shard_number(rest);
    if (count >= 1 && at >= 0 && at <= count) {
        *ret = (struct share){ (uint32_t)(at % count), (uint32_t)count };
        return 0;
    }
    if (has_index || count < 1)
        return error_set(err, -EINVAL,
                         "I/N, as 2/4: one of four, up to %d, counted from 0 or 1 (4/4 is 0/4)",
                         LOADGEN_SHARDS_MAX);
    return error_set(err, -EINVAL,
                     "I/%" PRId64 ", or JOB_COMPLETION_INDEX in the environment, which is %s",
                     count, index != NULL ? index : "not there");
}
