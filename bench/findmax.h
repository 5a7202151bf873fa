/* SPDX-License-Identifier: MIT */
/* --find-max: runs at one load after the other, until the highest one that holds all conditions is
 * known; a table of the steps, and the curve as JSON. */
#ifndef BENCH_FINDMAX_H
#define BENCH_FINDMAX_H

#include "loadgen/config.h"

/* Appends a condition in the grammar of --fail-if that a load can hold: an upper bound of a time,
 * or of a share. 0 or -EINVAL with what is allowed. */
NODISCARD int findmax_parse(const char *text, struct thresholds *to, struct error *err);

/* Searches and prints. `config` is as the command line left it: rate is where to begin (0: where
 * one connection comes), concurrency the most connections (0: a default). Returns the exit code:
 * 0; LOADGEN_EXIT_THRESHOLD when less than at_least was found; those of runs that could not
 * connect, and of signals, after what had been found was printed. */
NODISCARD int findmax_run(const struct loadgen_config *config, struct error *err);

#endif
