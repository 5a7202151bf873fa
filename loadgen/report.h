/* SPDX-License-Identifier: MIT */
/* The result of a run, and the forms it is printed in. */
#ifndef LOADGEN_REPORT_H
#define LOADGEN_REPORT_H

#include "base/error.h"
#include "loadgen/answers.h"
#include "loadgen/config.h"
#include "loadgen/counters.h"
#include "loadgen/live.h"
#include "loadgen/request.h"
#include "loadgen/selfcheck.h"
#include "loadgen/summary.h"
#include "loadgen/target.h"
#include <stdio.h>

/* Optional parts are NULL, and then nothing is said about them. */
struct report {
    const struct loadgen_config *config;
    const struct target *target;
    const struct request *request;
    const struct counters *counters;   /* settled */
    const struct answers *answers;     /* optional */
    const struct summary *summary;     /* of the counters */
    struct samples *samples;           /* optional; sorted as the outputs need it */
    const struct live *live;           /* optional */
    const struct selfcheck *check;     /* optional */
    nsec_t started_mono, started_wall; /* when what is measured began, on both clocks */
    const char *stopped_by; /* why the run ended before its plan did: "SIGINT"; or NULL */

    uint32_t merged;      /* how many files it was merged from; 0: a run of ours */
    double merge_skew_s;  /* between the first start of them and the last */
    double merge_overlap; /* share (0..1) of the longest run in which all of them ran */
};

/* The conditions of --fail-if, then those of --abort-if; NULL behind the last one. */
const struct threshold *report_condition(const struct report *r, size_t i);

/* Whether one of them is true of the whole run. */
bool report_fails(const struct report *r);

/* The lines above the run: who we are, and whom we load. */
void report_text_start(FILE *out, const struct loadgen_config *c, const struct target *t);

/* Ends the line that report_text_start began. */
void report_text_done(FILE *out, const struct report *r);

/* The report for people: what matters first, then all that ab does not tell. None of its lines is
 * one that a reader of ab's report looks for. */
void report_people(FILE *out, const struct report *r);

/* ab's report, line for line, from "Server Software" on. */
void report_text(FILE *out, const struct report *r);

/* ab's -w: the report as HTML tables. */
void report_html(FILE *out, const struct report *r);

/* The distributions under their keys in JSON. */
struct report_time {
    const char *key;
    enum counters_time time;
};
extern const struct report_time report_times[];
extern const size_t report_time_count;

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
