/* SPDX-License-Identifier: MIT */
/* The conditions of --fail-if and --abort-if against the whole run: a section of the report. */
#ifndef BENCH_CONDITIONS_H
#define BENCH_CONDITIONS_H

#include "loadgen/section.h"

extern const struct section conditions_section;

/* Whether one of them is true of the whole run. */
bool conditions_hold(const struct report *r);

#endif
