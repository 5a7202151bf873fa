/* SPDX-License-Identifier: MIT */
/* Patterns: of paths, as rules and searches in the journal have them, and of other texts.
 *
 *   star          stands for                                    matches
 *   *             any text without a slash, the empty one too   a star within /a/x/c, not /a/x/y/c
 *   two stars     any text, also with slashes                   /static, two stars, .js
 *   slash, two stars, then a slash or the end
 *                 any number of segments, none too              /a, /a/ and /a/x/y
 *
 * Paths are percent-decoded, so that %2A is the star itself. */
#ifndef SLOWAPI_PATTERN_H
#define SLOWAPI_PATTERN_H

#include "base/attr.h"
#include "base/slice.h"

#define PATTERN_BYTES_MAX 1024

struct pattern {
    char *text;                 /* owned: literal bytes, each with its kind at `kinds` */
    uint8_t *kinds;             /* part of `text`'s memory */
    size_t len, prefix, suffix; /* bytes at both ends that are literal; len: there are no others */
};

/* NULL, or what is wrong, as the end of a sentence: "has a path that ...". pattern_free in any
 * case. */
NODISCARD const char *pattern_parse(struct slice path, struct pattern *ret);
void pattern_free(struct pattern *pattern);

/* `path` is decoded. Takes at most the product of both lengths. */
bool pattern_fits(const struct pattern *pattern, struct slice path);

/* Whether `text` is as `wanted` says, in which a star stands for any text, and \* and \\ for a star
 * and a backslash. Takes at most the product of both lengths. */
bool pattern_text_fits(struct slice wanted, struct slice text);

/* Does as pattern_text_fits, without regard to the case of ASCII letters. */
bool pattern_text_fits_nocase(struct slice wanted, struct slice text);

#endif
