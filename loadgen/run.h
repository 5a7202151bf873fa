/* SPDX-License-Identifier: MIT */
/* A whole run: look-up, workers, report. */
#ifndef LOADGEN_RUN_H
#define LOADGEN_RUN_H

#include "loadgen/config.h"

/* Runs it and prints the report. Returns the exit code: 0; EXIT_CANNOT (nothing could be connected,
 * a socket error without -r, a file that cannot be read or written); EXIT_USAGE (a value that
 * cannot be sent, too few descriptors); LOADGEN_EXIT_*. `err` is empty, or holds the line that
 * explains the code when the report does not. */
NODISCARD int loadgen_run(const struct loadgen_config *config, struct error *err);

#endif
