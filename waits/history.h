/* SPDX-License-Identifier: MIT */
/* Samples of waits over time: a column for each wait that was seen, and what was counted when. */
#ifndef WAITS_HISTORY_H
#define WAITS_HISTORY_H

#include "waits/sampler.h"

#define HISTORY_COLUMNS_MAX 24  /* waits beyond them are counted in one column, "other waits" */
#define HISTORY_POINTS_MAX  512 /* even; beyond it every second point goes */

struct history_column {
    struct wait_group group; /* `threads`: the most that one sample saw */
    uint64_t sum;            /* over all samples */
};

struct history_point {
    nsec_t elapsed;
    uint32_t threads; /* the sum of the counts */
    uint32_t counts[HISTORY_COLUMNS_MAX];
};

/* Zeroed is empty; history_free. */
struct wait_history {
    struct history_column columns[HISTORY_COLUMNS_MAX];
    size_t column_count;
    struct history_point *points;
    size_t count, capacity;
    size_t stride, skipped;    /* every stride-th sample is a point */
    uint64_t samples, threads; /* all of them, and the sum of their threads */
    nsec_t cost;               /* CPU time that looking took */
    struct wait_tally last;    /* the newest sample's waits */
    char note[SAMPLER_NOTE_BYTES];
};

/* Adds a sample. 0 or -ENOMEM. */
NODISCARD int history_add(struct wait_history *h, nsec_t elapsed, const struct wait_sample *sample);
void history_free(struct wait_history *h); /* frees the points, not `h` */

/* "199.0 recv from upstream (poll), 1.0 epoll": means over the samples, the most threads first,
 * addresses left out where a role is known. Cut to `size` after a whole wait. Returns `text`. */
const char *history_text(const struct wait_history *h, char *text, size_t size);

/* Tells the newest sample alone, in whole threads: "199 recv from upstream (poll), 1 epoll". Order,
 * addresses and `size` are as in history_text. Returns `text`. */
const char *history_text_now(const struct wait_history *h, char *text, size_t size);

/* With `noun` "threads", what is counted: {"samples", "threads_mean", "cost_us", "note",
 * "elapsed_ms": [...], "threads": [...], "groups": [{"kind", "text", ..., "threads_mean",
 * "threads_max", "series": [...]}]}, the most threads first. At each point the series add up to the
 * threads. NULL when out of memory. */
NODISCARD json_t *history_json(const struct wait_history *h, const char *noun);

#endif
