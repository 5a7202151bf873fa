/* SPDX-License-Identifier: MIT */
/* The part of a page that tells how a run went. */
#ifndef LOADGEN_PAGE_TIME_H
#define LOADGEN_PAGE_TIME_H

#include "loadgen/page_piece.h"

/* Charts of all runs, on the same axes. 0 or -ENOMEM. */
NODISCARD int page_times(const struct load_page *p);

#endif
