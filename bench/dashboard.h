/* SPDX-License-Identifier: MIT */
/* The live view of a run on the whole screen of a terminal, drawn anew each second. */
#ifndef BENCH_DASHBOARD_H
#define BENCH_DASHBOARD_H

#include "base/terminal.h"
#include "loadgen/live.h"

struct dashboard {
    struct live_watcher watcher; /* for live_watch */
    struct terminal_view view;
    bool is_utf8, has_colour;
};

/* Takes the screen behind `out`, which is one (live->has_screen), and watches the run. */
void dashboard_open(struct dashboard *d, struct live *l, FILE *out);

/* Gives the screen back. Idempotent. */
void dashboard_close(struct dashboard *d);

#endif
