/* SPDX-License-Identifier: MIT */
/* Which row a word means, or was meant to mean. */
#include "playground/peer.h"
#include <string.h>

bool catalogue_matches(const struct playground *row, const char *word) {
    return strcmp(word, PLAY_ALL) == 0 || strcmp(word, row->name) == 0 ||
           (row->alias != NULL && strcmp(word, row->alias) == 0);
}

#define WORD_MAX 40 /* longer words are near nothing */

/* Levenshtein distance with two rows; WORD_MAX when either word is too long. */
static size_t distance(const char *a, const char *b) {
    size_t a_len = strlen(a), b_len = strlen(b);
    if (a_len >= WORD_MAX || b_len >= WORD_MAX)
        return WORD_MAX;

    size_t previous[WORD_MAX], current[WORD_MAX];
    for (size_t j = 0; j <= b_len; j++)
        previous[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        current[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = previous[j - 1] + (a[i - 1] != b[j - 1]);
            if (previous[j] + 1 < best)
                best = previous[j] + 1;
            if (current[j - 1] + 1 < best)
                best = current[j - 1] + 1;
            current[j] = best;
        }
        memcpy(previous, current, sizeof(previous));
    }
    return previous[b_len];
}

static void consider(const char *word, const char *candidate, const char **best,
                     size_t *best_distance) {
    if (candidate == NULL)
        return;
    size_t d = strncmp(candidate, word, strlen(word)) == 0 ? 0 : distance(word, candidate);
    if (d < *best_distance) {
        *best_distance = d;
        *best = candidate;
    }
}

const char *catalogue_closest(const char *word) {
    const char *best = NULL;
    size_t best_distance = strlen(word) / 3 + 2; /* about a third of the letters may be wrong */
    if (*word == '\0')
        return NULL;
    for (size_t i = 0; i < catalogue_count; i++) {
        consider(word, catalogue[i].name, &best, &best_distance);
        consider(word, catalogue[i].alias, &best, &best_distance);
    }
    for (size_t i = 0; i < peer_count; i++)
        consider(word, peers[i].name, &best, &best_distance);
    return best;
}
