/* SPDX-License-Identifier: MIT */
/* How the rows of a run look while it goes on. */
#ifndef LOADGEN_LIVE_VIEW_H
#define LOADGEN_LIVE_VIEW_H

#include "loadgen/live.h"

/* One line per second; on a terminal it replaces the one before, and ends in a sparkline of the
 * last rates. */
void live_view_row(const struct live *l, const struct live_row *row);

/* Leaves the last line on the terminal. */
void live_view_end(const struct live *l);

#endif
