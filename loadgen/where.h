/* SPDX-License-Identifier: MIT */
/* Where the time went: a section of the report. */
#ifndef LOADGEN_WHERE_H
#define LOADGEN_WHERE_H

#include "loadgen/section.h"

extern const struct section where_section;

#endif
