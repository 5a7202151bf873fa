/* SPDX-License-Identifier: MIT */
/* Patterns of paths, as rules and searches in the journal have them: percent-decoded as paths are,
 * and `*` stands for any text, the empty one too. */
#ifndef SLOWAPI_PATTERN_H
#define SLOWAPI_PATTERN_H

#include "base/attr.h"
#include "base/slice.h"

struct pattern {
    char *text; /* owned; GLOB for each `*` */
    size_t len;
};

/* NULL, or what is wrong, as the end of a sentence: "has a path that ...". pattern_free in any
 * case. */
NODISCARD const char *pattern_parse(struct slice path, struct pattern *ret);
void pattern_free(struct pattern *pattern);

/* `path` is decoded. Takes at most the product of both lengths. */
bool pattern_fits(const struct pattern *pattern, struct slice path);

#endif
