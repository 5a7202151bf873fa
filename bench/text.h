/* SPDX-License-Identifier: MIT */
/* The report for people. */
#ifndef BENCH_TEXT_H
#define BENCH_TEXT_H

#include "loadgen/config.h"
#include "loadgen/report.h"
#include <stdio.h>

/* The lines above the run: the program, and the target. */
void text_start(FILE *out, const struct loadgen_config *c, const struct target *t);

/* The report, and below it ab's, line for line; or the HTML tables of ab's -w. */
void text_print(FILE *out, const struct report *r);

#endif
