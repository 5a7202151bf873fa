/* SPDX-License-Identifier: MIT */
/* The result of a run, and the forms it is printed in. */
#ifndef LOADGEN_REPORT_H
#define LOADGEN_REPORT_H

#include "base/error.h"
#include "loadgen/answers.h"
#include "loadgen/config.h"
#include "loadgen/counters.h"
#include "loadgen/request.h"
#include "loadgen/selfcheck.h"
#include "loadgen/summary.h"
#include "loadgen/target.h"
#include <stdio.h>

struct live;

/* Optional parts are NULL, and then nothing is said about them. */
struct report {
    const struct loadgen_config *config;
    const struct target *target;
    const struct request *request;
    const struct counters *counters;   /* settled */
    const struct answers *answers;     /* optional */
    const struct summary *summary;     /* made from the counters */
    struct samples *samples;           /* optional; sorted as the outputs need it */
    const struct live *live;           /* optional */
    const struct selfcheck *check;     /* optional */
    nsec_t started_mono, started_wall; /* start of what is measured, on both clocks */
    const char *stopped_by; /* the reason when it ended before its plan: "SIGINT"; or NULL */

    uint32_t merged;      /* number of files that it was merged from; 0: a run of ours */
    double merge_skew_s;  /* between the first start of them and the last */
    double merge_overlap; /* share (0..1) of the longest run in which all of them ran */
};

/* The conditions of --fail-if, then those of --abort-if; NULL behind the last one. */
const struct threshold *report_condition(const struct report *r, size_t i);

/* Whether one of them is true of the whole run. */
bool report_fails(const struct report *r);

/* The lines above the run, in text: the program, and the target. */
void report_start(FILE *out, const struct loadgen_config *c, const struct target *t);

/* The report for people, and below it ab's, line for line; or the HTML tables of ab's -w. */
void report_text(FILE *out, const struct report *r);

#endif
