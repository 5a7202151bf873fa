/* SPDX-License-Identifier: MIT */
/* Numbers for texts: each different text is kept once, and numbered from 0 in the order of its
 * coming. */
#ifndef LOADGEN_INTERN_H
#define LOADGEN_INTERN_H

#include "base/slice.h"

struct intern {
    char **texts; /* NUL-terminated copies */
    uint32_t *slots;
    size_t count, max;
    size_t slot_count; /* a power of two, above twice the count */
};

/* At most `max` texts. Allocates nothing yet. */
void intern_init(struct intern *in, size_t max);
void intern_free(struct intern *in);

/* The number of a text, which is added when it is new. 0, -EINVAL (a NUL), -ENOSPC or -ENOMEM. */
NODISCARD int intern_add(struct intern *in, struct slice text, size_t *ret);

/* The number of a text, or -ENOENT. */
NODISCARD long intern_find(const struct intern *in, struct slice text);

#endif
