/* SPDX-License-Identifier: MIT */
/* Checks between options. */
#include "loadgen/config.h"
#include <errno.h>
#include <inttypes.h>

enum { PROGRESS_FROM = 150 };

uint64_t loadgen_config_budget(const struct loadgen_config *c) {
    if (c->requests > 0)
        return (uint64_t)c->requests;
    return c->time_limit > 0 ? UINT64_MAX : 1;
}

bool loadgen_config_shows_progress(const struct loadgen_config *c) {
    return !c->quiet && loadgen_config_budget(c) > PROGRESS_FROM;
}

int loadgen_config_check(const struct loadgen_config *c, struct error *err) {
    uint64_t budget = loadgen_config_budget(c);
    if ((uint64_t)c->concurrency > budget)
        return error_set(err, -EINVAL,
                         "--concurrency %" PRId64 " is more than --requests %" PRIu64
                         "; it is at most the number of requests",
                         c->concurrency, budget);
    if (c->post_file != NULL && c->put_file != NULL)
        return error_set(err, -EINVAL, "--post and --put exclude each other; give one of them");
    if (c->head && (c->post_file != NULL || c->put_file != NULL || c->method != NULL))
        return error_set(err, -EINVAL, "--head excludes --post, --put and --method");
    return 0;
}
