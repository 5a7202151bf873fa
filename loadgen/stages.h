/* SPDX-License-Identifier: MIT */
/* The figures of each stage of --stages. A request belongs to the stage of its planned time (closed
 * loop: of its start). What a stage began and ended is counted by the clock, whichever stage had
 * planned it: a server that falls behind is seen in the stage where it does. */
#ifndef LOADGEN_STAGES_H
#define LOADGEN_STAGES_H

#include "base/hist.h"
#include "loadgen/outcome.h"
#include "loadgen/shape.h"

struct stage_counts {
    uint64_t planned;                                          /* in the open model */
    uint64_t begun, ended;                                     /* within the stage's time */
    uint64_t succeeded, failed, unwelcome, in_flight, dropped; /* requests that belong to it */
    struct hist *latency, *ages;                               /* like counters' TIME_TOTAL */
};

struct stages {
    struct load_shape shape;
    char *words;  /* owned, and pointed into by the shape; or NULL: they are not */
    nsec_t start; /* the schedule's */
    struct stage_counts items[];
};

/* NULL when out of memory. The words of `shape` must stay. */
NODISCARD struct stages *stages_new(const struct load_shape *shape);
void stages_free(struct stages *s);

/* A request begins at `now`. */
void stages_begin(struct stages *s, nsec_t planned, nsec_t now, bool is_planned);

/* A request ends at `now`, as counters_end says. */
void stages_end(struct stages *s, int outcome, uint16_t status, const struct timing *timing,
                nsec_t now);

/* Adds all of `from`, which has the same stages. */
void stages_merge(struct stages *to, const struct stages *from);

#endif
