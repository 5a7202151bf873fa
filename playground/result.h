/* SPDX-License-Identifier: MIT */
/* What one run of a playground showed. */
#ifndef PLAYGROUND_RESULT_H
#define PLAYGROUND_RESULT_H

#include "base/error.h"
#include "playground/catalogue.h"
#include "playground/latencies.h"
#include "playground/series.h"
#include <stdio.h>

struct play_result {
    const struct playground *row;
    struct play_load load;
    nsec_t ideal;
    char skipped[160]; /* why it could not be played here; empty: it was, and the rest counts */

    /* From the load generator. */
    double seconds;    /* from the first connect to the last byte */
    uint64_t requests; /* that came to an end, good or bad */
    uint64_t failed;   /* of the load: all that were not answered with a 2xx */
    double requests_per_second;
    int64_t p50_usec, p90_usec, p99_usec, max_usec;
    struct latencies latencies; /* empty for a load of very many requests */

    /* Of the measured processes. */
    uint32_t threads_before; /* at rest, before the first request of the load */
    uint32_t threads_during; /* the most that one sample saw */
    uint32_t sleeping_before;
    double sleeping_during; /* mean over the samples */
    uint32_t samples;
    /* The most calls that waited in the slow API at the same time, as it says; 0: it does not. */
    uint32_t calls_max;
    nsec_t cpu;                             /* spent on the load */
    nsec_t process_cpu[PLAY_PROCESSES_MAX]; /* the same of each process of the row */
    uint64_t memory_peak_bytes;
    struct series series;

    char last_words[300]; /* "NAME: newest line that a server logged", empty when all were quiet */
};

/* Takes in one sample of the run. 0 or -ENOMEM. */
NODISCARD int result_add_point(struct play_result *result, const struct series_point *point);

/* Takes in a reading of the slow API; the highest stays. GAUGE_UNKNOWN is none. */
void result_calls_max(struct play_result *result, uint32_t calls_max);

void result_free(struct play_result *result);

/* Reads what `srv bench --json` wrote, from the start of the file; `load` is set. 0 or -EPROTO with
 * a line. */
NODISCARD int result_read_report(struct play_result *result, int fd, struct error *err);

/* CPU time of the measured processes per request, microseconds; 0 without requests. */
double result_cpu_usec(const struct play_result *result);

/* The same of one process of the row, whether it is measured or not. */
double result_process_cpu_usec(const struct play_result *result, size_t process);

/* The time that the tutorial reports for this very load, or 0. */
double result_tutorial_seconds(const struct play_result *result);

/* The load of most of those that were played, the largest when there are several; NULL when none
 * was. */
const struct play_load *result_usual_load(const struct play_result *results, size_t count);

/* Walks the loads that were played, each once: the usual one, then in the order of the rows. Start
 * with `*at` 0; NULL at the end. */
const struct play_load *result_next_load(const struct play_result *results, size_t count,
                                         size_t *at);

/* Whether the row was played, under this load. */
bool result_has_load(const struct play_result *result, const struct play_load *load);

/* Writes {"playgrounds": [...]}, units in the names. 0 or -errno. */
NODISCARD int result_write_json(const struct play_result *results, size_t count, FILE *out);

#endif
