/* SPDX-License-Identifier: MIT */
/* What one run of a playground showed. */
#ifndef PLAYGROUND_RESULT_H
#define PLAYGROUND_RESULT_H

#include "base/error.h"
#include "playground/catalogue.h"
#include "playground/probe.h"
#include <stdio.h>

struct play_result {
    const struct playground *row;
    struct play_load load;
    nsec_t ideal;

    /* From the load generator. */
    double seconds;    /* from the first connect to the last byte */
    uint64_t requests; /* that came to an end, good or bad */
    uint64_t failed;   /* of the load: all that were not answered with a 2xx */
    double requests_per_second;
    int64_t p50_usec, p99_usec, max_usec;

    /* Of the measured processes. */
    uint32_t threads_before; /* at rest, before the first request of the load */
    uint32_t threads_during; /* the most that one sample saw */
    uint32_t sleeping_before;
    double sleeping_during; /* mean over the samples */
    uint32_t samples;
    nsec_t cpu; /* spent on the load */
    uint64_t memory_peak_bytes;

    char last_words[300]; /* "NAME: newest line that a server logged", empty when all were quiet */
};

/* Takes in one sample of the run. */
void result_add_sample(struct play_result *result, const struct probe_sample *sample);

/* Reads what `srv bench --json` wrote, from the start of the file; `load` is set. 0 or -EPROTO with
 * a line. */
NODISCARD int result_read_report(struct play_result *result, int fd, struct error *err);

/* CPU time of the measured processes per request, microseconds; 0 without requests. */
double result_cpu_usec(const struct play_result *result);

/* Writes {"playgrounds": [...]}, units in the names. 0 or -errno. */
NODISCARD int result_write_json(const struct play_result *results, size_t count, FILE *out);

#endif
