/* SPDX-License-Identifier: MIT */
/* The places that the forms of a report go to: stdout, and the files that were asked for. */
#ifndef BENCH_OUTPUT_H
#define BENCH_OUTPUT_H

#include "base/error.h"
#include "bench/hlog.h"
#include "bench/ticks.h"
#include "loadgen/report.h"
#include <jansson.h>
#include <stdio.h>

enum { OUTPUT_FILES = 10 };

/* The parts of a report that features add, in their order; NULL behind the last one.
 * loadgen/section.h tells how one is added. */
extern const struct section *const output_sections[];

struct load_output {
    FILE *files[OUTPUT_FILES]; /* NULL: not asked for */
    json_t *against;           /* another run, on the page beside this one; or NULL */
    struct hlog hlog;
    struct ticks ticks;
};

/* Creates all files, so that a run whose report could not be written does not begin. 0; or -errno
 * with the file in `err`, and nothing is open. */
NODISCARD int output_open(struct load_output *o, const struct loadgen_config *c, struct error *err);

/* Closes what output_report did not get to. Idempotent. */
void output_close(struct load_output *o);

/* Before the run: what is written while it goes on. */
void output_watch(struct load_output *o, struct live *l);

/* Before the run: the lines above the report. With another output on stdout the text goes to
 * stderr. */
void output_start(const struct loadgen_config *c, const struct target *t);

/* All that was asked for, and closes the files. 0; or -errno, with the file that could not be
 * written in `err`, after all others were. */
NODISCARD int output_report(struct load_output *o, const struct report *r, struct error *err);

/* Makes the page of a run that was written as JSON earlier: page_from, page_path and against_path.
 * Returns the exit code; `err` has the file that is wrong. */
NODISCARD int output_page(const struct loadgen_config *c, struct error *err);

#endif
