/* SPDX-License-Identifier: MIT */
/* The streams of a run: a section of the report. */
#ifndef LOADGEN_STREAM_REPORT_H
#define LOADGEN_STREAM_REPORT_H

#include "loadgen/section.h"

extern const struct section streams_section;

#endif
