/* SPDX-License-Identifier: MIT */
/* All that one run of a playground showed. */
#ifndef PLAYGROUND_RESULT_H
#define PLAYGROUND_RESULT_H

#include "base/error.h"
#include "playground/procstat.h"
#include "playground/row.h"
#include "waits/history.h"

#define SERIES_POINTS_MAX 2048 /* even; beyond it every second point goes */

struct series_point {
    nsec_t elapsed;        /* from the start of the load */
    struct procstat total; /* the measured processes */
    struct procstat of[PLAY_PROCESSES_MAX];
    /* TCP connections that were open to each process of the row. One to the slow API, which is the
     * first process, is a call in flight, or kept for the next call. */
    uint32_t connections[PLAY_PROCESSES_MAX];
    /* Requests that each has yet to answer, or PLAY_UNKNOWN. The slow API says it itself; for the
     * process that takes the load, its clients do. */
    uint32_t in_flight[PLAY_PROCESSES_MAX];
};

/* Each process over the time of the load. Zeroed is empty. */
struct series {
    struct series_point *points;
    size_t count, capacity;
    size_t stride, skipped; /* every stride-th point is kept */
};

#define LATENCIES_POINTS_MAX   400    /* for one load; a chart is not wider */
#define LATENCIES_BINS         40     /* equally wide, from 0 to the slowest */
#define LATENCIES_REQUESTS_MAX 200000 /* a larger load's requests are not kept: 15 MiB of lines */

struct latency {
    int64_t end_usec;   /* the end of the request, since the start of the load */
    int64_t total_usec; /* connecting included */
    bool failed;
};

/* The response time of each request of the load: some of them one by one, all of them counted.
 * Zeroed is empty. */
struct latencies {
    struct latency *points; /* every stride-th request, in the order of their starts */
    size_t count;
    uint64_t requests; /* all that were counted in `bins` */
    uint64_t bins[LATENCIES_BINS];
    int64_t slowest_usec;
};

struct play_result {
    const struct playground *row;
    struct play_load load;
    nsec_t ideal;
    char skipped[160]; /* the reason not to play it here; empty: it was, and the rest counts */

    /* From the load generator. */
    double seconds;    /* from the first connect to the last byte */
    uint64_t requests; /* ended, well or badly */
    uint64_t failed;   /* requests of the load that were not answered with a 2xx */
    double requests_per_second;
    int64_t p50_usec, p90_usec, p99_usec, max_usec;
    struct latencies latencies; /* empty for a load of very many requests */

    /* About the measured processes. */
    uint32_t threads_before; /* at rest, before the first request of the load */
    uint32_t threads_during; /* the most that one sample saw */
    uint32_t sleeping_before;
    double sleeping_during; /* mean over the samples */
    uint32_t samples;
    /* The most calls that waited in the slow API at the same time, as it says; 0: it does not. */
    uint32_t calls_max;
    nsec_t cpu;                             /* spent on the load */
    nsec_t process_cpu[PLAY_PROCESSES_MAX]; /* spent by each process of the row, measured or not */
    uint64_t memory_peak_bytes;
    struct series series;
    struct wait_history *waits;         /* their threads'; NULL: no sample was taken */
    struct wait_history *request_waits; /* the requests'; NULL: not told */

    char last_words[300]; /* "NAME: newest line that a server logged", empty when all were quiet */
};

/* Takes in one sample of the run. 0 or -ENOMEM. */
NODISCARD int result_add_point(struct play_result *result, const struct series_point *point);

/* Takes in what threads, or requests, waited for at one moment of the load: `history` is one of the
 * result's. 0 or -ENOMEM. */
NODISCARD int result_add_waits(struct wait_history **history, nsec_t elapsed,
                               const struct wait_sample *sample);

/* Reads the report that `srv bench --json` wrote to `report_fd` and, unless that is -1, the lines
 * that `--csv` wrote to `requests_fd`, both from the start; `load` is set. A line of no request
 * is left out; a file that cannot be read is as an empty one. 0, or -EPROTO or -ENOMEM with a line.
 */
NODISCARD int result_read(struct play_result *result, int report_fd, int requests_fd,
                          struct error *err);

void result_free(struct play_result *result);

#endif
