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

int load_shard_parse(const char *text, const char *index, struct share *ret, struct error *err) {
    struct slice rest = slice_str(text);
    bool has_index = strchr(text, '/') != NULL;
    int64_t at = has_index ? shard_number(slice_cut(&rest, '/')) : 0;
    int64_t count = shard_number(rest);
    if (at == 0 && has_index && count > 0)
        return error_set(err, -EINVAL,
                         "1/%" PRId64 " to %" PRId64 "/%" PRId64
                         ": shards count from 1; --shard %" PRId64
                         " alone takes the index, from 0, of JOB_COMPLETION_INDEX",
                         count, count, count, count);
    if (!has_index && count > 0 && index == NULL)
        return error_set(err, -EINVAL,
                         "1/%" PRId64 " to %" PRId64 "/%" PRId64
                         ", or the variable JOB_COMPLETION_INDEX with an index from 0",
                         count, count, count);
    if (!has_index && count > 0)
        at = shard_number(slice_str(index)) + 1;
    if (count < 1 || at < 1 || at > count)
        return error_set(err, -EINVAL, "I/N, as 2/4 for the second of four, up to %d%s%s",
                         LOADGEN_SHARDS_MAX,
                         has_index || index == NULL ? "" : "; JOB_COMPLETION_INDEX is ",
                         has_index || index == NULL ? "" : index);
    *ret = (struct share){ (uint32_t)at - 1, (uint32_t)count };
    return 0;
}
