/* SPDX-License-Identifier: MIT */
/* The streams of a run: a section of the report. */
#ifndef BENCH_STREAM_REPORT_H
#define BENCH_STREAM_REPORT_H

#include "loadgen/section.h"

extern const struct section streams_section;

#endif
