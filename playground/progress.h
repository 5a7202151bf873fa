/* SPDX-License-Identifier: MIT */
/* What a person sees while a playground runs: a live view on a terminal, otherwise a line at its
 * start and one at its end. */
#ifndef PLAYGROUND_PROGRESS_H
#define PLAYGROUND_PROGRESS_H

#include "playground/result.h"

struct play_progress {
    FILE *out;
    bool live;                /* `out` is a terminal */
    int columns, rows;        /* of it */
    size_t lines;             /* of the live view that stand there */
    struct series_point last; /* for rates */
    size_t index, count;      /* this row among all */
};

void progress_init(struct play_progress *p, FILE *out, size_t count);
void progress_start(struct play_progress *p, const struct playground *row,
                    const struct play_load *load);

/* struct runner's on_sample; `arg` is the progress. */
void progress_sample(void *arg, const struct play_result *so_far, const struct series_point *now);

void progress_done(struct play_progress *p, const struct play_result *result);

/* Takes the live view away, so that something else can be written. */
void progress_clear(struct play_progress *p);

#endif
