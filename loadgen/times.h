/* SPDX-License-Identifier: MIT */
/* A distribution of which some observations are censored: a request that got no answer is known to
 * take longer than the age it reached, and no more.
 *
 * The one definition of a percentile, for every form of the report and every condition: the
 * smallest time t at which the Kaplan-Meier estimate of "answered within t" reaches the share. An
 * age counts as at risk until it was reached, and then leaves, so that its weight goes to those
 * that took longer. Without ages this is the smallest t within which that share of all answers
 * came. Beyond the last answer the estimate ends; what is said there is a lower bound. */
#ifndef LOADGEN_TIMES_H
#define LOADGEN_TIMES_H

#include "base/hist.h"

struct times {
    const struct hist *ended; /* those that came to their end; minimum and mean are of these */
    const struct hist *ages;  /* those that did not; NULL: none */
};

struct times_value {
    int64_t usec;
    bool at_least; /* a lower bound: what it is about had not ended then */
};

/* Ended and censored ones. */
uint64_t times_count(struct times t);
uint64_t times_censored(struct times t);

/* The percentile of a share (0..1), to three digits; 0 when nothing was observed. Monotone in
 * `share`, from the minimum up to times_max. */
struct times_value times_quantile(struct times t, double share);

/* The longest that was seen, ended or not. */
struct times_value times_max(struct times t);

/* The share (0..1) up to which percentiles are known; lower bounds follow. */
double times_known(struct times t);

/* "121 us", "1.21 ms", ">12.1 s": three digits. Returns `text`, of TIMES_TEXT_BYTES. */
#define TIMES_TEXT_BYTES 24
const char *times_format(struct times_value value, char *text);

#endif
