/* SPDX-License-Identifier: MIT */
/* The result of a run, and the forms it is printed in. */
#ifndef LOADGEN_REPORT_H
#define LOADGEN_REPORT_H

#include "base/error.h"
#include "loadgen/config.h"
#include "loadgen/request.h"
#include "loadgen/tally.h"
#include "loadgen/target.h"
#include <stdio.h>

struct report {
    const struct loadgen_config *config;
    const struct target *target;
    const struct request *request;
    const struct tally *tally;
    const char
        *stopped_by; /* why the run ended before its plan did: "SIGINT"; NULL when it did not */
};

/* From the first connect to the last ended request. */
double report_seconds(const struct report *r);

/* Successful requests per second; 0 when there were none. */
double report_rate(const struct report *r);

/* The lines above the run: who we are, and whom we load. */
void report_text_start(FILE *out, const struct loadgen_config *c, const struct target *t);

/* ab's report, line for line, followed by our own sections: microseconds, failures by reason. */
void report_text(FILE *out, const struct report *r);

/* Schema "srv-bench/1" (docs/bench.md), one object and a newline. 0, -ENOMEM, or -EIO. */
NODISCARD int report_json(FILE *out, const struct report *r);

#endif
