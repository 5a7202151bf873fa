/* SPDX-License-Identifier: MIT */
/* The page of a search for the most that holds (--find-max, schema "srv-bench-max/1"). */
#ifndef BENCH_PAGE_KNEE_H
#define BENCH_PAGE_KNEE_H

#include "bench/page_piece.h"

/* All that stands in it: the result, the curve and the steps. */
void page_knee(const struct load_page *p, json_t *root);

#endif
