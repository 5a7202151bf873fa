/* SPDX-License-Identifier: MIT */
/* Conditions on the outcome, for scripts: 'p99>200ms', 'errors>0.1%', 'rps<500'. */
#ifndef LOADGEN_THRESHOLD_H
#define LOADGEN_THRESHOLD_H

#include "base/error.h"
#include "base/hist.h"
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
    const char *text; /* as it was given */
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

/* The facts they are compared with. */
struct threshold_facts {
    const struct hist *latency;
    uint64_t requests, errors, non_2xx, dropped, late; /* `requests`: all that share is of */
    double rate;
};

/* Appends one; `text` must stay. 0 or -EINVAL with what is allowed. */
NODISCARD int threshold_parse(const char *text, struct thresholds *to, struct error *err);

/* The fact that it is about, in the unit of its value. */
double threshold_fact(const struct threshold *t, const struct threshold_facts *facts);

/* Whether the condition holds: what it says has happened. Without any request none does. */
bool threshold_holds(const struct threshold *t, const struct threshold_facts *facts);

/* The fact as people read it: "312.5ms", "0.2 %", "480". Returns `text`, of THRESHOLD_TEXT_BYTES.
 */
#define THRESHOLD_TEXT_BYTES 48
const char *threshold_show(const struct threshold *t, double fact, char *text);

#endif
