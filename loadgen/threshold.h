/* SPDX-License-Identifier: MIT */
/* Conditions on the outcome, for scripts: 'p99>200ms', 'errors>0.1%', 'rps<500'. */
#ifndef LOADGEN_THRESHOLD_H
#define LOADGEN_THRESHOLD_H

#include "base/error.h"
#include "loadgen/percentile.h"
#include <stdbool.h>

#define THRESHOLDS_MAX 16

enum threshold_metric {
    THRESHOLD_QUANTILE, /* latency; also median, min and max */
    THRESHOLD_MEAN,
    THRESHOLD_ERRORS,
    THRESHOLD_NON_2XX,
    THRESHOLD_DROPPED,
    THRESHOLD_LATE,
    THRESHOLD_RATE,
};

enum threshold_sign {
    THRESHOLD_ABOVE,
    THRESHOLD_AT_LEAST,
    THRESHOLD_BELOW,
    THRESHOLD_AT_MOST,
};

struct threshold {
    const char *text; /* the condition in the user's words */
    enum threshold_metric metric;
    enum threshold_sign sign;
    bool is_share;   /* the value is a share (0..1) of the requests, not a count */
    double quantile; /* 0..1, of THRESHOLD_QUANTILE */
    double value;    /* microseconds of latencies */
};

struct thresholds {
    struct threshold items[THRESHOLDS_MAX];
    size_t count;
};

/* The facts they are compared with. Shares of errors and non2xx are of the requests that came to an
 * end, those of late and dropped ones of the planned requests. */
struct threshold_facts {
    struct times latency;
    uint64_t ended, planned, errors, non_2xx, dropped, late;
    double rate;
};

/* A fact in the unit of the condition's value. */
struct threshold_fact {
    double value;
    bool is_known; /* false: nothing was measured that it could be */
    bool at_least; /* a lower bound */
};

/* Appends one; `text` must stay. 0 or -EINVAL with what is allowed. */
NODISCARD int threshold_parse(const char *text, struct thresholds *to, struct error *err);

/* Whether the condition is about a time, its value in microseconds. */
bool threshold_is_latency(const struct threshold *t);

/* The fact that the condition is about. */
struct threshold_fact threshold_fact(const struct threshold *t,
                                     const struct threshold_facts *facts);

/* Whether the condition surely holds: what it says has happened. */
bool threshold_holds(const struct threshold *t, struct threshold_fact fact);

#endif
