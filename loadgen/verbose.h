/* SPDX-License-Identifier: MIT */
/* What -v shows while the run goes on, on stderr. */
#ifndef LOADGEN_VERBOSE_H
#define LOADGEN_VERBOSE_H

#include "http/head.h"
#include "loadgen/request.h"

/* The least -v level that shows it, as in ab. */
enum { VERBOSE_HEADS = 2, VERBOSE_STATUS = 3, VERBOSE_MAX = 4 };

void verbose_request(const struct request *r);

/* The fields at VERBOSE_HEADS, the status too at VERBOSE_STATUS. */
void verbose_response(const struct http_head *head, int64_t level);

#endif
