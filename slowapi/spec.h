/* SPDX-License-Identifier: MIT */
/* What may be asked of an answer: the values of all parameters. Layers fill one in turn: the
 * server's defaults, those of the listening address, a rule, the query, the X-Slowapi header. */
#ifndef SLOWAPI_SPEC_H
#define SLOWAPI_SPEC_H

#include "slowapi/dist.h"
#include "slowapi/fault.h"
#include "slowapi/pause.h"

#define SPEC_FAULTS_MAX     8
#define SPEC_SEQ_MAX        32
#define SPEC_FIELDS_BYTES   512
#define SPEC_LOAD_WORKERS   256
#define SPEC_LOAD_QUEUE_MAX 10000

struct spec {
    struct dist delay;
    bool has_delay; /* asked for by a layer; else it is --delay, which only `/` takes */
    bool has_seed, has_key, has_load, has_body_size;
    uint64_t seed;
    double close_share;
    struct mix status, size;

    struct fault faults[SPEC_FAULTS_MAX];
    uint8_t fault_count;

    uint8_t seq_count;
    uint16_t seq[SPEC_SEQ_MAX];
    int64_t first, every;
    uint64_t key;

    int64_t workers, queue; /* workers 0: no queue model */
    struct dist service;
    uint16_t full;                        /* answered when the queue is */
    double linear;                        /* ns per request in flight */
    double collapse_knee, collapse_power; /* knee 0: none */

    struct pause pause;
    struct warmup warmup;

    int64_t count; /* of stream events; -1: not given, as below */
    nsec_t duration, interval;
    double jitter; /* share of the interval */
    int64_t numbytes, chunk_size;
    double failure_rate;

    uint16_t fields_len;
    char fields[SPEC_FIELDS_BYTES]; /* header lines with their CRLF */
};

void spec_init(struct spec *spec, nsec_t delay);

#endif
