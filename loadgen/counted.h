/* SPDX-License-Identifier: MIT */
/* What servers counted during the run, beside what was counted here: a section of the report. */
#ifndef LOADGEN_COUNTED_H
#define LOADGEN_COUNTED_H

#include "loadgen/section.h"

extern const struct section counted_section;

#endif
