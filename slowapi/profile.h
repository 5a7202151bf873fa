/* SPDX-License-Identifier: MIT */
/* Named behaviours: parameters that belong together, as rows. */
#ifndef SLOWAPI_PROFILE_H
#define SLOWAPI_PROFILE_H

#include "base/slice.h"

struct profile {
    struct slice name;
    const char *params; /* as param_parse_text takes them */
    const char *help;
};

extern const struct profile profiles[];
extern const size_t profile_count;

/* NULL when there is none of that name. */
const struct profile *profile_find(struct slice name);

#define PROFILE_NAMES "db, s3, payment, flaky, brownout, gc-pause, cold-start"

#endif
