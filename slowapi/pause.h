/* SPDX-License-Identifier: MIT */
/* Behaviour that changes with time: pauses and brown-outs that come back, and a slow start. */
#ifndef SLOWAPI_PAUSE_H
#define SLOWAPI_PAUSE_H

#include "base/clock.h"
#include "base/slice.h"

/* The last `span` of each period, counted from the start of the server: it begins healthy. */
struct pause {
    nsec_t every, span; /* 0: none */
    nsec_t delay;       /* added within it, when above 0 */
    uint16_t status; /* answered within it, when not 0; else what falls into it waits for its end */
};

/* `every=30s for=3s [status=503 | delay=2s]`, separated by spaces or commas. 0, or -EINVAL with a
 * static text in *ret_why. */
NODISCARD int pause_parse(struct slice text, struct pause *ret, const char **ret_why);

/* How long the pause that `at` (since the start) falls into still lasts; 0 outside. */
nsec_t pause_left(const struct pause *pause, nsec_t at);

/* For the first `span` after the start delays are longer: `factor` times at first, then less and
 * less. */
struct warmup {
    nsec_t span; /* 0: none */
    double factor;
};

/* `30s:20`: 20 times as long at the start. */
NODISCARD int warmup_parse(struct slice text, struct warmup *ret, const char **ret_why);

double warmup_factor(const struct warmup *warmup, nsec_t at);

#endif
