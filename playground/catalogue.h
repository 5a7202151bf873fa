/* SPDX-License-Identifier: MIT */
/* The playgrounds: a new one is a row in catalogue.c and no code. */
#ifndef PLAYGROUND_CATALOGUE_H
#define PLAYGROUND_CATALOGUE_H

#include "playground/row.h"

#define PLAY_ALL "all" /* the word that stands for every row of ours */

/* In the order of the tutorial, then ours. */
extern const struct playground catalogue[];
extern const size_t catalogue_count;

/* The originals, in the order of the catalogue's rows that they belong to. */
extern const struct playground peers[];
extern const size_t peer_count;

/* Whether `word` is the row's name, its alias, or "all". */
bool catalogue_matches(const struct playground *row, const char *word);

/* The name or alias, of a row or of one of the originals, that `word` was probably meant to be, or
 * NULL when nothing is near. */
const char *catalogue_closest(const char *word);

#endif
