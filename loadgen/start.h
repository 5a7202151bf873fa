/* SPDX-License-Identifier: MIT */
/* The moment at which load begins: at once, or one that other machines know, too. */
#ifndef LOADGEN_START_H
#define LOADGEN_START_H

#include "base/clock.h"
#include "base/error.h"
#include <stdbool.h>

enum load_start_kind {
    LOAD_START_AT_ONCE,
    LOAD_START_AT,    /* `time` is since 1970 */
    LOAD_START_AFTER, /* `time` is a span from now */
    LOAD_START_EVERY, /* the next multiple of `time` since 1970 */
};

struct load_start {
    enum load_start_kind kind;
    nsec_t time;
};

/* The moment on both clocks, which were read together and once: a wall clock that is set later
 * moves nothing. */
struct load_moment {
    nsec_t mono, wall;
};

/* Takes "2026-11-23T01:02:03Z" (RFC 3339), seconds since 1970, "+5s", or "*" and "/10s". 0, or
 * -EINVAL with what is allowed. */
NODISCARD int load_start_parse(const char *text, struct load_start *ret, struct error *err);

/* Finds the moment; 0, or -EINVAL when that has passed. */
NODISCARD int load_start_find(const struct load_start *s, struct load_moment *ret,
                              struct error *err);

/* The kernel's knowledge of the wall clock, adjtimex(2). */
struct load_clock {
    bool is_known;        /* false: the kernel does not tell */
    bool is_synchronized; /* somebody sets it, such as NTP */
    nsec_t error_max;     /* from the right time; grows while nobody sets the clock */
};

struct load_clock load_clock_look(void);

/* The start as it came about. */
struct load_started {
    bool was_awaited;
    nsec_t missed; /* all was ready so long after the moment; the start that is told is later */
    nsec_t late;   /* load began so long after the start that is told */
    struct load_clock clock;
};

#endif
