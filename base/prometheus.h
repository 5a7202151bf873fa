/* SPDX-License-Identifier: MIT */
/* The text exposition format of Prometheus, version 0.0.4.
 *
 *   struct prometheus p = { .out = &buf, .prefix = "srv" };
 *   prometheus_family(&p, "answers", PROMETHEUS_COUNTER, "Answers sent.");
 *   prometheus_count(&p, &label, 1, 7);          srv_answers_total{worker="1"} 7
 *   if (p.rc < 0) ...                            the first error sticks, and nothing is added to it
 */
#ifndef BASE_PROMETHEUS_H
#define BASE_PROMETHEUS_H

#include "base/buf.h"
#include "base/hist.h"

#define PROMETHEUS_TYPE "text/plain; version=0.0.4" /* the Content-Type */

enum prometheus_kind { PROMETHEUS_COUNTER, PROMETHEUS_GAUGE, PROMETHEUS_HISTOGRAM };

struct prometheus {
    struct buf *out;
    const char *prefix; /* begins all names; without its '_' */
    int rc;             /* 0, or -errno as buf_append */
    const char *name;   /* name of the family and its suffix: kept by the functions */
    const char *suffix;
};

/* Any text may be a value; a name is [a-zA-Z_][a-zA-Z0-9_]*. */
struct prometheus_label {
    const char *name, *value;
};

/* Begins a family: # HELP and # TYPE. The name of a counter ends in "_total", which is added.
 * `name` must stay. */
void prometheus_family(struct prometheus *p, const char *name, enum prometheus_kind kind,
                       const char *help);

/* Adds a sample of the family with those labels. */
void prometheus_count(struct prometheus *p, const struct prometheus_label *labels,
                      size_t label_count, int64_t value);
void prometheus_seconds(struct prometheus *p, const struct prometheus_label *labels,
                        size_t label_count, double value);

/* Adds a histogram in seconds, with those upper bounds in microseconds, ascending. */
void prometheus_hist(struct prometheus *p, const struct prometheus_label *labels,
                     size_t label_count, const struct hist_shared *h, const uint64_t *bounds,
                     size_t bound_count);

/* The same of a histogram of one thread: a bound within a bucket leaves that out. */
void prometheus_hist_alone(struct prometheus *p, const struct prometheus_label *labels,
                           size_t label_count, const struct hist *h, const uint64_t *bounds,
                           size_t bound_count);

#endif
