/* SPDX-License-Identifier: MIT */
/* What servers counted during the run, beside what was counted here: a section of the report. */
#ifndef BENCH_COUNTED_H
#define BENCH_COUNTED_H

#include "loadgen/section.h"

extern const struct section counted_section;

#endif
