/* SPDX-License-Identifier: MIT */
/* A record of every request, in start order, for the outputs that want one: the only memory of a
 * run that grows with the number of requests. */
#ifndef LOADGEN_SAMPLES_H
#define LOADGEN_SAMPLES_H

#include "base/clock.h"
#include "loadgen/failure.h"
#include "loadgen/tally.h"

enum { SAMPLE_OK = -1, SAMPLE_UNFINISHED = -2, SAMPLE_DROPPED = -3 };

struct sample {
    nsec_t start; /* planned, in the open model */
    uint32_t queue_us, connect_us, send_us, wait_us, receive_us, total_us; /* total: from `start` */
    uint64_t body_bytes;
    uint16_t status; /* 0: none */
    int8_t outcome;  /* SAMPLE_*, or an enum failure */
    bool reused, disturbed;
};

struct samples {
    struct sample *items;
    size_t count, cap;
    bool incomplete; /* memory ran out: later requests are missing */
};

void samples_free(struct samples *s);

/* Begins a record and returns its number, to be given to samples_end. */
size_t samples_begin(struct samples *s, nsec_t start);

/* `outcome` as in struct sample. */
void samples_end(struct samples *s, size_t number, int outcome, uint16_t status,
                 uint64_t body_bytes, const struct timing *timing);

/* Moves all of `from` behind `to`'s; then samples_sort. */
void samples_merge(struct samples *to, struct samples *from);

/* By start; or by total time, as ab does. Equal ones keep their order. */
void samples_sort(struct samples *s, bool by_total);

#endif
