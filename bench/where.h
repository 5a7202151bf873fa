/* SPDX-License-Identifier: MIT */
/* Where the time went: a section of the report. */
#ifndef BENCH_WHERE_H
#define BENCH_WHERE_H

#include "loadgen/section.h"

extern const struct section where_section;

#endif
