/* SPDX-License-Identifier: MIT */
/* Whether two groups of runs differ. A sample is a figure of a whole run, never a request: requests
 * of one run share its fate, and are no independent witnesses.
 *
 * The test is exact: were the labels of the runs no more than labels, each split of all runs into
 * groups of these sizes would be as likely as the one there was. Of several metrics the largest
 * statistic of each split is looked at (Westfall and Young's max-T), so that looking at five does
 * not find something five times as often. The interval of a difference holds all differences that
 * the test, on that metric alone, would not refuse. */
#ifndef BENCH_VERDICT_H
#define BENCH_VERDICT_H

#include "base/attr.h"
#include <stdbool.h>
#include <stddef.h>

#define VERDICT_ROUNDS_MAX  64
#define VERDICT_METRICS_MAX 8

/* The probability with which something is found where nothing is; the rest is that of intervals. */
#define VERDICT_LEVEL 0.02

struct verdict_metric {
    double a[2 * VERDICT_ROUNDS_MAX], b[VERDICT_ROUNDS_MAX]; /* a value per run; at most
                                                                VERDICT_ROUNDS_MAX of each */
};

struct verdict_groups {
    size_t a_count, b_count; /* runs of each; at least 1 */
    size_t metric_count;
    struct verdict_metric metrics[VERDICT_METRICS_MAX];
};

struct verdict_finding {
    double difference; /* the mean of b less that of a */
    double low, high;  /* -INFINITY and INFINITY when there are too few runs for an interval */
    double p;          /* adjusted for all metrics; at most 1 */
    bool is_sure;      /* the groups differ in this metric */
};

/* Whether groups of these sizes could differ at all: else there is nothing to tell. */
bool verdict_can_tell(size_t a_count, size_t b_count);

/* Judges all metrics. Splits are taken at random, always the same ones, when there are too many of
 * them. 0 or -ENOMEM. */
NODISCARD int verdict_judge(const struct verdict_groups *g, struct verdict_finding *verdicts);

#endif
