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
    bool has_seed, has_key, has_body_size;
    bool of_request; /* asked for by a request or a rule, which cannot reach the accept any more */
    uint64_t given;  /* a bit for each row of param.c that the layer at hand has named */
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

    uint16_t fields_len, fields_base; /* of earlier layers are the lines before fields_base */
    char fields[SPEC_FIELDS_BYTES];   /* header lines with their CRLF */
};

void spec_init(struct spec *spec, nsec_t delay);

/* What is parsed from now on belongs to the next layer: within one, the first value of a parameter
 * that is repeated counts, and explicit values win over those of a profile. */
void spec_begin_layer(struct spec *spec);

/* Removes the lines of that name (case-blind) from `size` bytes of header lines, each with its
 * CRLF. How many bytes are left. */
size_t spec_drop_lines(char *lines, size_t size, struct slice name);

struct body;

/* How long the exchange takes that is asked for: the longest delay that a law names (draws of
 * normal, exp, lognormal and pareto may be longer), hangs, pauses, and the pace of `body`, or of
 * the plain one when NULL. What depends on other requests is not in it. NSEC_NEVER: for ever. */
nsec_t spec_longest(const struct spec *spec, const struct body *body);

/* The part of it that begins with the answer: the pace of the body and the hangs. */
nsec_t spec_longest_answer(const struct spec *spec, const struct body *body);

#endif
