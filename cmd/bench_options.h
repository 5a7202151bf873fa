/* SPDX-License-Identifier: MIT */
/* The options of `srv bench`. */
#ifndef CMD_BENCH_OPTIONS_H
#define CMD_BENCH_OPTIONS_H

#include "loadgen/config.h"

struct bench_options {
    struct loadgen_config run;
    bool version, merge;
    int64_t ramp_msec;
    char first_url[2048]; /* of the file of requests, when no URL is given */
};

extern const struct option_spec bench_spec;

/* Whether an option says something of a load, and so nothing of reports that are merged. */
bool bench_option_loads(const struct option_row *row);

/* Whether an option only adds to what is told of one run, and so nothing to a table of many. */
bool bench_option_tells(const struct option_row *row);

/* Whether an option says nothing of a page that is made of an earlier report. */
bool bench_option_makes_no_page(const struct option_row *row);

#endif
