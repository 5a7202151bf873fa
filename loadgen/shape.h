/* SPDX-License-Identifier: MIT */
/* The shape of a load over time: stages, one after the other, of a rate or of connections.
 *
 *   100/s:1m              goes in a straight line from where the stage before ended (the first from
 *                         0) to 100/s, within one minute
 *   =100/s:1m             steps to 100/s, and stays there for one minute
 *   10/s..100/s:1m        steps to 10/s, and goes in a straight line to 100/s
 *   50c:30s  =50c:30s     the same for connections of a closed loop
 *   0:10s                 down to nothing
 *
 *       rate |            ____________
 *            |          _/            |
 *            |        _/              |________     10/s..40/s:4s, =40/s:12s, =20/s:8s
 *         10 |      _/
 *            +------+---+------------+--------+---> time
 *
 * The planned requests up to a moment are the area below the line: the number k of them is planned
 * where the area is k + 1/2, so that whole seconds get the count that they should, rounded. */
#ifndef LOADGEN_SHAPE_H
#define LOADGEN_SHAPE_H

#include "base/clock.h"
#include "base/error.h"
#include "base/slice.h"

#define SHAPE_STAGES_MAX 32

struct load_stage {
    double from, to;   /* per second, or connections */
    nsec_t span;       /* above 0 */
    struct slice text; /* the user's words */
};

struct load_shape {
    struct load_stage stages[SHAPE_STAGES_MAX];
    size_t count;           /* 0: the load has no stages */
    bool is_of_connections; /* not of a rate */
    const char *text;       /* all of them */
};

/* Limits of a target: per second, and of connections. */
struct shape_limits {
    double rate, connections;
};

/* Parses a list of stages; `text` must stay. 0 or -EINVAL with what is wrong and allowed. */
NODISCARD int shape_parse(const char *text, struct shape_limits limits, struct load_shape *ret,
                          struct error *err);

/* The length of all stages. */
nsec_t shape_span(const struct load_shape *s);

/* The stage of a moment after the start; the last one also for what is later. */
size_t shape_stage_at(const struct load_shape *s, nsec_t at);

/* The place at which a search over the area stands. It only goes forward. Zeroed is the start. */
struct shape_cursor {
    size_t stage;
    double area;  /* the sum of all stages before */
    nsec_t began; /* the stage */
};

/* The moment after the start up to which so many requests are planned; NSEC_NEVER when all stages
 * together plan fewer. `requests` never falls between two calls with one cursor. */
nsec_t shape_when(const struct load_shape *s, struct shape_cursor *c, double requests);

/* The requests that are planned up to a moment. */
double shape_area(const struct load_shape *s, nsec_t at);

/* The connections of a moment, rounded; 0 when the stages are over. *ret_next is when their number
 * changes next; NSEC_NEVER: not any more. */
uint32_t shape_connections(const struct load_shape *s, nsec_t at, nsec_t *ret_next);

/* The most connections that there are at once. */
uint32_t shape_peak(const struct load_shape *s);

#endif
