/* SPDX-License-Identifier: MIT */
/* Finds reports of runs: in files, in folders, and among the lines of logs, with what engines of
 * containers put before each line. */
#ifndef BENCH_HARVEST_H
#define BENCH_HARVEST_H

#include "base/error.h"
#include <jansson.h>

#define HARVEST_BYTES_MAX (1024u * 1024 * 1024) /* a file's */

/* Takes a report that was found at `where`, "bench.log, line 12". 0, or -errno and the reason. */
typedef int (*harvest_fn)(void *arg, const json_t *report, const char *where, struct error *err);

/* Gives all reports of a path to `each`: a file, "-" for stdin, or a folder, of which the files
 * whose names end in .json, .jsonl or .log are read, in the order of their names; others' logs may
 * be among the last.
 *
 * A file is JSON (one report or a list), or lines of which some hold a report. Before it may stand
 * anything, as in `kubectl logs --prefix`; what `docker service logs` puts before each piece of a
 * long line is taken away. 0; or -errno: nothing was found, a report is cut off, or as `each`. */
NODISCARD int harvest_reports(const char *path, harvest_fn each, void *arg, struct error *err);

#endif
