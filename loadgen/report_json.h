/* SPDX-License-Identifier: MIT */
/* The report for programs. */
#ifndef LOADGEN_REPORT_JSON_H
#define LOADGEN_REPORT_JSON_H

#include "loadgen/report.h"

/* The distributions under their keys. */
struct report_time {
    const char *key;
    enum counters_time time;
};
extern const struct report_time report_times[];
extern const size_t report_time_count;

/* Writes schema "srv-bench/1" (docs/bench.md), one object and a newline. 0, -ENOMEM, or -EIO. */
NODISCARD int report_json(FILE *out, const struct report *r);

#endif
