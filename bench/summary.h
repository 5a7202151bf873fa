/* SPDX-License-Identifier: MIT */
/* The figures that follow from the counts of a run. Each is computed here, once; the forms of the
 * report and the conditions only print and compare. */
#ifndef BENCH_SUMMARY_H
#define BENCH_SUMMARY_H

#include "loadgen/config.h"
#include "loadgen/counters.h"
#include "loadgen/expect.h"
#include "loadgen/selfcheck.h"

struct summary {
    double seconds; /* the run's span; every rate below times it is the count it comes from */
    double rate;    /* succeeded per second; 0 without a span */
    double received_rate, sent_rate;     /* bytes per second */
    double time_each_ms, time_across_ms; /* ab's two "Time per request"; 0: none */
    uint64_t concurrency;                /* open model: the most at once */
    uint64_t ended, failed, errors;      /* `errors`: see loadgen_config_errors */
    struct times times[TIME_COUNT];
    struct times undisturbed;     /* the totals without requests that saw a pause of ours */
    struct hist *apart[2];        /* the histograms of `undisturbed` */
    struct threshold_facts facts; /* for --fail-if */
    bool is_limited;              /* the generator was the limit: `limit` says why */
    char limit[SELFCHECK_TEXT_BYTES];
};

/* The counters are settled, and stays. `check` may be NULL. 0 or -ENOMEM. */
NODISCARD int summary_init(struct summary *s, const struct loadgen_config *c,
                           const struct counters *t, const struct selfcheck *check);
void summary_free(struct summary *s);

#endif
