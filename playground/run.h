/* SPDX-License-Identifier: MIT */
/* A run of srv play: some playgrounds one after the other, then the table. */
#ifndef PLAYGROUND_RUN_H
#define PLAYGROUND_RUN_H

#include "base/attr.h"
#include "playground/row.h"

struct run_config {
    const struct playground *const *rows; /* each is run once, in this order */
    size_t row_count;
    const bool *wanted; /* for each, whether it was asked for by name, and must not be skipped */
    struct play_overrides overrides;
    const char *program;   /* path of srv */
    const char *json_path; /* NULL: no JSON */
    const char *html_path; /* NULL: no page */
    bool keep; /* leave the processes running after the load, until a signal; for one row */
};

#define EXIT_INTERRUPTED 130 /* a shell reports so a program that SIGINT ended */

/* The exit code: 0; EXIT_CANNOT when a row could not run, had failures, or was skipped though
 * it was wanted; EXIT_INTERRUPTED after
 * TERM, or INT, HUP or QUIT unless they were ignored, with the rows that were done in the table.
 * The calling program has one thread. */
int run_playgrounds(const struct run_config *config);

/* From here on TERM, INT, HUP and QUIT, which end a run, only make this descriptor readable; the
 * caller closes it. Those of a terminal stay ignored if they were: by nohup, or by `&` in a script.
 * -1 with errno. */
NODISCARD int run_catch_signals(void);

#endif
