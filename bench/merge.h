/* SPDX-License-Identifier: MIT */
/* One report from the JSON files of several runs: generators on several machines, or processes. */
#ifndef BENCH_MERGE_H
#define BENCH_MERGE_H

#include "loadgen/config.h"

/* Reads the files, adds them up and writes what `config` asks for, --fail-if included. They are
 * taken to have run at the same time: rates and connections add up, the time is the longest.
 * Distributions keep three digits. Returns the exit code, as loadgen_run. */
NODISCARD int loadgen_merge(const struct loadgen_config *config, const struct option_strings *paths,
                            struct error *err);

#endif
