/* SPDX-License-Identifier: MIT */
/* Named behaviours: parameters that belong together, as rows. */
#ifndef SLOWAPI_PROFILE_H
#define SLOWAPI_PROFILE_H

#include "base/attr.h"
#include "base/slice.h"

struct profile {
    struct slice name;
    const char *params; /* spelled for param_parse_text */
    const char *help;
};

extern const struct profile profiles[];
extern const size_t profile_count;

#define PROFILE_NAMES "db, s3, payment, flaky, brownout, gc-pause, cold-start, llm"

/* NULL: there is none of that name. */
const struct profile *profile_find(struct slice name);

#endif
