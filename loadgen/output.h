/* SPDX-License-Identifier: MIT */
/* Where the forms of a report go: stdout, and the files that were asked for. */
#ifndef LOADGEN_OUTPUT_H
#define LOADGEN_OUTPUT_H

#include "loadgen/report.h"

/* Before the run: the lines above the report. With another output on stdout the text goes to
 * stderr. */
void output_start(const struct loadgen_config *c, const struct target *t);

/* All that was asked for. 0; or -errno, with the file that could not be written in `err`, after all
 * others were. */
NODISCARD int output_report(const struct report *r, struct error *err);

#endif
