/* SPDX-License-Identifier: MIT */
/* A load that several machines do together: the part of this one, the common start, and what was
 * merged. A section of the report. */
#ifndef LOADGEN_MACHINES_H
#define LOADGEN_MACHINES_H

#include "loadgen/section.h"

extern const struct section machines_section;

#endif
