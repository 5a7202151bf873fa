/* SPDX-License-Identifier: MIT */
/* Stages in the report: a line for each, "stages" in JSON. */
#ifndef BENCH_STAGE_REPORT_H
#define BENCH_STAGE_REPORT_H

#include "loadgen/section.h"

extern const struct section stages_section;

#endif
