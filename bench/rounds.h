/* SPDX-License-Identifier: MIT */
/* --rounds and --compare: several runs of one load or of two, whose figures are told and compared
 * as those of whole runs. */
#ifndef BENCH_ROUNDS_H
#define BENCH_ROUNDS_H

#include "loadgen/config.h"

/* "5%". 0 or -EINVAL with what is allowed. */
NODISCARD int rounds_parse_tolerance(const char *text, double *ret, struct error *err);

/* Runs config->rounds rounds of each of the `count` (1 or 2) URLs, interleaved, and compares two,
 * or one with config->compare_path. Prints, and writes JSON. Returns the exit code: 0;
 * LOADGEN_EXIT_THRESHOLD for a regression beyond the tolerance; what runs that could not connect
 * and signals give. */
NODISCARD int rounds_run(const struct loadgen_config *config, const char *const *urls, size_t count,
                         struct error *err);

#endif
