/* SPDX-License-Identifier: MIT */
/* The highest load that keeps some conditions, found step by step: after each step a curve is
 * fitted to all of them, and the next step loads where that curve comes to the bound. No clock and
 * no run is in here.
 *
 * A step sees how high each condition is above its bound, as a logarithm: ln(p99 / 200 ms), with
 * the interval in which that surely is. Times grow with the planned rate x as those of a queue
 * before c servers do (M/M/c: Erlang's C formula); shares, and times in a closed loop, as a power:
 *
 *   times, planned rates   height(x) = idle + ln r(c, x / capacity)   r: the time over the idle one
 *   all others             height(x) = ln(x / knee) / bend
 *
 * Each curve of a grid over the unknowns (idle, c, capacity; knee, bend) is weighed by its
 * likelihood, with tails of Student's t, so that a hiccup does not decide. The knee, where the
 * height is 0, so comes with an interval. Overloaded steps say more than that they failed: the
 * number of answers per second is the capacity. */
#ifndef BENCH_KNEE_H
#define BENCH_KNEE_H

#include "base/attr.h"
#include <stdbool.h>
#include <stddef.h>

#define KNEE_STEPS_MAX      64
#define KNEE_CONDITIONS_MAX 8

/* The curves, see above. */
enum knee_law { KNEE_QUEUE, KNEE_POWER };

struct knee_condition {
    enum knee_law law;
    double share; /* the share of requests above a quantile; 0: a mean */
};

/* The height of a condition in a step, 95 % sure to be from `low` to `high`: -INFINITY when only
 * the most is known, INFINITY when only the least is. */
struct knee_sight {
    double height, low, high;
};

struct knee_step {
    double planned, load; /* the load that was asked for, and the one that there was */
    double capacity;      /* answers per second of an overloaded server; 0: it was not */
    double capacity_off;  /* the relative standard error */
    double busy;          /* load times the mean time: the requests at the server at once */
    bool is_brief;        /* too short for a queue to have come to what it will be */
    struct knee_sight sights[KNEE_CONDITIONS_MAX];
};

enum knee_verdict { KNEE_HOLDS, KNEE_FAILS, KNEE_UNCLEAR };

struct knee {
    struct knee_condition conditions[KNEE_CONDITIONS_MAX];
    size_t condition_count;
    double first, least, most; /* loads: where to begin, and what is possible at all */
    bool is_whole;             /* a load is a whole number */
    struct knee_step steps[KNEE_STEPS_MAX];
    size_t step_count;
};

/* The knee with its interval of 90 %. */
struct knee_estimate {
    double load, low, high;
    bool is_above; /* nothing has failed: it is above all loads that were tried */
    bool is_below; /* nothing has held: it is below all of them */
};

/* Adds a step, which is copied; not more than KNEE_STEPS_MAX. */
void knee_add(struct knee *k, const struct knee_step *step);

/* Judges a step by all conditions: it fails when one surely fails, and holds when all surely hold.
 * Times of a server that was overloaded fail, however brief the step was: its queue grows. */
enum knee_verdict knee_judge(const struct knee *k, const struct knee_step *step);

/* Whether the bound has been crossed between two steps, so that the rest is a matter of precision;
 * before that, steps need not be long. */
bool knee_is_bracketed(const struct knee *k);

/* The load to try next; 0: nothing is left to try, since the most holds or the least fails. */
double knee_next(const struct knee *k);

struct knee_estimate knee_estimate(const struct knee *k);

#endif
