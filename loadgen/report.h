/* SPDX-License-Identifier: MIT */
/* The result of a run, and the forms it is printed in. */
#ifndef LOADGEN_REPORT_H
#define LOADGEN_REPORT_H

#include "base/error.h"
#include "loadgen/answers.h"
#include "loadgen/config.h"
#include "loadgen/live.h"
#include "loadgen/request.h"
#include "loadgen/samples.h"
#include "loadgen/selfcheck.h"
#include "loadgen/tally.h"
#include "loadgen/target.h"
#include <stdio.h>

/* Optional parts are NULL, and then nothing is said about them. */
struct report {
    const struct loadgen_config *config;
    const struct target *target;
    const struct request *request;
    const struct tally *tally;         /* settled */
    const struct answers *answers;     /* optional */
    struct samples *samples;           /* optional; sorted as the outputs need it */
    const struct live *live;           /* optional */
    const struct selfcheck *check;     /* optional */
    nsec_t started_mono, started_wall; /* one moment on both clocks */
    uint32_t merged;                   /* how many files it was merged from; 0: a run of ours */
    const char
        *stopped_by; /* why the run ended before its plan did: "SIGINT"; NULL when it did not */
};

/* From the first connect to the last ended request. */
double report_seconds(const struct report *r);

/* Successful requests per second; 0 when there were none. */
double report_rate(const struct report *r);

/* What --fail-if is compared with. */
struct threshold_facts report_facts(const struct report *r);

/* Whether a condition of --fail-if came true. */
bool report_fails(const struct report *r);

/* The k-th smallest value, 1-based; ab's sorted[floor(n * percent / 100)]. */
int64_t report_ranked(const struct hist *h, uint64_t k);
int64_t report_percentile(const struct hist *h, unsigned percent);

/* The lines above the run: who we are, and whom we load. */
void report_text_start(FILE *out, const struct loadgen_config *c, const struct target *t);

/* ab's report, line for line. */
void report_text(FILE *out, const struct report *r);

/* What ab does not tell: microseconds, phases, failures by reason, the rate, the verdicts. */
void report_details(FILE *out, const struct report *r);

/* ab's -w: the report as HTML tables. */
void report_html(FILE *out, const struct report *r);

/* Schema "srv-bench/1" (docs/bench.md), one object and a newline. 0, -ENOMEM, or -EIO. */
NODISCARD int report_json(FILE *out, const struct report *r);

/* ab's -e: a percentage and milliseconds per line. */
void report_percentages(FILE *out, const struct report *r);

/* The percentile spectrum that HdrHistogram's plotter reads. */
void report_spectrum(FILE *out, const struct report *r);

/* One record per request. ab's -g in milliseconds; CSV and one JSON object per line in
 * microseconds. */
void report_gnuplot(FILE *out, const struct report *r);
void report_csv(FILE *out, const struct report *r);
void report_ndjson(FILE *out, const struct report *r);

#endif
