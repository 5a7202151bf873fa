/* SPDX-License-Identifier: MIT */
/* The result of a run, of which every form of the report is made. */
#ifndef LOADGEN_REPORT_H
#define LOADGEN_REPORT_H

#include "base/clock.h"
#include <stdint.h>

struct answers;
struct counters;
struct live;
struct merged_part;
struct load_started;
struct loadgen_config;
struct load_mix;
struct request;
struct samples;
struct section;
struct selfcheck;
struct summary;
struct target;

/* Optional parts are NULL, and then nothing is said about them. */
struct report {
    const struct loadgen_config *config;
    const struct target *target;
    const struct request *request;
    const struct counters *counters;       /* settled */
    const struct answers *answers;         /* optional */
    const struct summary *summary;         /* made from the counters */
    struct samples *samples;               /* optional; sorted as the outputs need it */
    const struct live *live;               /* optional */
    const struct selfcheck *check;         /* optional */
    const struct load_mix *mix;            /* optional */
    const struct load_started *started;    /* optional */
    const struct section *const *sections; /* optional; what features tell: loadgen/section.h */
    nsec_t started_mono, started_wall;     /* start of what is measured, on both clocks */
    const char *stopped_by; /* the reason when it ended before its plan: "SIGINT"; or NULL */

    uint32_t merged;                 /* number of files that it was merged from; 0: a run of ours */
    double merge_skew_s;             /* between the first start of them and the last */
    const struct merged_part *parts; /* the runs that it sums up, in the order of their starts */
    double merge_overlap;            /* share (0..1) of the longest run in which all of them ran */
};

#endif
