/* SPDX-License-Identifier: MIT */
/* The part of a page that tells how a run went. */
#ifndef BENCH_PAGE_TIME_H
#define BENCH_PAGE_TIME_H

#include "bench/page_piece.h"

/* Charts of all runs, on the same axes. 0 or -ENOMEM. */
NODISCARD int page_times(const struct load_page *p);

#endif
