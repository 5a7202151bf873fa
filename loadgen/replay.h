/* SPDX-License-Identifier: MIT */
/* The schedule of an access log: its lines by their own times. */
#ifndef LOADGEN_REPLAY_H
#define LOADGEN_REPLAY_H

#include "base/error.h"
#include "loadgen/mix_line.h"

struct replay_line {
    nsec_t at; /* after the first one, at the speed that was asked for */
    uint64_t offset;
};

/* Sixteen bytes per line. All zero: none. */
struct replay {
    struct replay_line *lines; /* sorted by time, and by place where times are equal */
    size_t count, cap;
    uint64_t left_out[MIX_UNPLAYABLES_COUNT];
    size_t first_bad; /* the number of the first malformed line, from 1; 0: there is none */
    bool is_spread;   /* times were whole seconds */
};

struct replay_reason {
    const char *key, *text;
};
extern const struct replay_reason replay_reasons[MIX_UNPLAYABLES_COUNT];

/* Reads the lines of a log whose methods are among `methods` ("GET,HEAD"), which stays. Times of
 * whole seconds are spread evenly over their second. Lines that cannot be replayed are counted.
 * 0; -EINVAL when none is left, or -ENOMEM, with the reason. */
NODISCARD int replay_read(struct replay *r, struct slice text, const char *methods, double speed,
                          struct error *err);
/* The number of lines whose time is at most `after`. */
size_t replay_count(const struct replay *r, nsec_t after);

void replay_free(struct replay *r);

#endif
