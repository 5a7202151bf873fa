/* SPDX-License-Identifier: MIT */
/* The playgrounds: a new one is a row in catalogue.c and no code. */
#ifndef PLAYGROUND_CATALOGUE_H
#define PLAYGROUND_CATALOGUE_H

#include "playground/row.h"

#define PLAY_ALL            "all" /* the word that stands for every row of ours */
#define CATALOGUE_FOUND_MAX 32

/* In the order of the tutorial, then ours. */
extern const struct playground catalogue[];
extern const size_t catalogue_count;

/* The originals, in the order of the catalogue's rows that they belong to. */
extern const struct playground peers[];
extern const size_t peer_count;

/* Finds the rows that `word` means: those with this name or alias, or all rows of ours; only its
 * own name means an original. Returns their number; when that is 0, *ret_closest is the name or
 * alias that was probably meant, or NULL when nothing is near. */
size_t catalogue_find(const char *word, const struct playground *found[static CATALOGUE_FOUND_MAX],
                      const char **ret_closest);

#endif
