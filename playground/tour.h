/* SPDX-License-Identifier: MIT */
/* A tour: some playgrounds one after the other, then the table. */
#ifndef PLAYGROUND_TOUR_H
#define PLAYGROUND_TOUR_H

#include "playground/catalogue.h"

struct tour_config {
    const struct playground *const *rows; /* each is run once, in this order */
    size_t row_count;
    const bool *wanted; /* of each: whether it was asked for by name, and must not be skipped */
    struct play_overrides overrides;
    const char *program;   /* path of srv */
    const char *json_path; /* NULL: no JSON */
    const char *html_path; /* NULL: no page */
    bool keep; /* leave the processes running after the load, until a signal; for one row */
};

#define EXIT_INTERRUPTED 130 /* as a shell reports a program that SIGINT ended */

/* The exit code: 0; EXIT_CANNOT when a row could not run, had failures, or was skipped though
 * it was wanted; EXIT_INTERRUPTED after
 * TERM, or INT, HUP or QUIT unless they were ignored, with the rows that were done in the table.
 * The calling program has one thread. */
int tour_run(const struct tour_config *config);

#endif
