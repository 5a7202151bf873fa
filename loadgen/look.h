/* SPDX-License-Identifier: MIT */
/* The wishes of the user about what a run shows, apart from text and JSON. */
#ifndef LOADGEN_LOOK_H
#define LOADGEN_LOOK_H

#include "base/clock.h"
#include <stdbool.h>

/* Of paths "-" is stdout, and NULL: none. */
struct load_look {
    const char *page_path;    /* a page for a browser */
    const char *against_path; /* the JSON of another run, which stands beside on it */
    const char *page_from;    /* the JSON that the page is made of: nothing is loaded */
    const char *command;      /* the line that asked for the run, without what is secret */
    const char *series_path, *hlog_path;
    const char *ticks_path;      /* a line for each tenth of a second, as it ends */
    const char *metrics_address; /* for Prometheus; checked */
    nsec_t metrics_hold;         /* after the run, for one more scrape */
    bool live;                   /* the whole screen, on a terminal */
};

#endif
