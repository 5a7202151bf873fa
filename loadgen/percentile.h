/* SPDX-License-Identifier: MIT */
/* A distribution of which some observations are censored: a request that got no answer is known to
 * take longer than the age it reached, and no more.
 *
 * The one definition of a percentile, for every form of the report and every condition: the
 * smallest time t at which the Kaplan-Meier estimate of "answered within t" reaches the share. An
 * age counts as at risk until it was reached, and then leaves, so that its weight goes to those
 * that took longer. Without ages this is the smallest t within which that share of all answers
 * came. Beyond the last answer the estimate ends; what is said there is a lower bound. */
#ifndef LOADGEN_PERCENTILE_H
#define LOADGEN_PERCENTILE_H

#include "base/hist.h"

struct times {
    const struct hist *ended; /* observations that came to their end; minimum and mean are theirs */
    const struct hist *ages;  /* observations that did not; NULL: none */
};

struct percentile_value {
    int64_t usec;
    bool at_least; /* a lower bound: what it is about had not ended then */
};

/* Ended and censored ones. */
uint64_t percentile_count(struct times t);
uint64_t percentile_censored(struct times t);

/* The percentile of a share (0..1), to three digits; 0 when nothing was observed. Monotone in
 * `share`, from the minimum up to percentile_max. */
struct percentile_value percentile_of(struct times t, double share);

/* The longest that was seen, ended or not. */
struct percentile_value percentile_max(struct times t);

/* The share (0..1) up to which percentiles are known; lower bounds follow. */
double percentile_known(struct times t);

/* "121 us", "1.21 ms", ">12.1 s": three digits. Returns `text`, of PERCENTILE_TEXT_BYTES. */
#define PERCENTILE_TEXT_BYTES 24
const char *percentile_format(struct percentile_value value, char *text);

#endif
