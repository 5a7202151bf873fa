/* SPDX-License-Identifier: MIT */
/* Progress for a person while a playground runs: a live view on a terminal, otherwise a line at its
 * start and one at its end. */
#ifndef PLAYGROUND_PROGRESS_H
#define PLAYGROUND_PROGRESS_H

#include "base/terminal.h"
#include "playground/result.h"
#include <stdio.h>

struct play_progress {
    struct terminal_view view;
    struct series_point last; /* for rates */
    size_t index, count;      /* the row's place among all, from 1 */
};

/* Begins row `index` of `count`, from 1. */
void progress_start(struct play_progress *p, FILE *out, size_t index, size_t count,
                    const struct playground *row, const struct play_load *load);

/* Shows one sample: struct runner's on_sample; `arg` is the progress. */
void progress_sample(void *arg, const struct play_result *so_far, const struct series_point *now);

/* Takes the live view away, so that something else can be written, and says how the row went unless
 * `result` is NULL. */
void progress_end(struct play_progress *p, const struct play_result *result);

#endif
